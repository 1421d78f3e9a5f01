"""Invalid events are left out of columns, and cost no other event."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.columns.drawn import DRAWN, handed_over, known, made, of_columns
from tests.compiled.classes import HUGE_LABEL
from tests.helpers import balanced, examples
from trio_batchmetrics import (
    Batch,
    BatchMetricsConfig,
    CacheMetric,
    Counter,
    Gauge,
    HealthCheck,
    Histogram,
    HistogramPoint,
    HttpRequest,
    MetricEvent,
    collector,
    label,
    measure,
    metric_event,
)
from trio_batchmetrics._events.invalid import InvalidError
from trio_batchmetrics._events.rows import Row, UnusualRow
from trio_batchmetrics._events.validation import valid
from trio_batchmetrics.testing import RecordingSink


@given(first=DRAWN, second=DRAWN, serial=st.integers(0, 10**12))
@settings(max_examples=examples(200))
def test_exactly_the_invalid_events_are_left_out(first: list[Any], second: list[Any], serial: int) -> None:
    """Each is noted once, positions close up, and serial numbers continue from batch to batch."""
    for drawn in (first, second):
        rows = made(drawn)
        notes: list[InvalidError] = []
        kept, ids, columns, timestamps = valid(
            [*rows], notes.append, classes=handed_over([])._origin.classes, first=serial
        )
        wanted = known(rows, serial)
        assert len(kept) == len(wanted)
        assert len(notes) == len(rows) - len(kept)
        assert timestamps is None or len(timestamps) == len(kept)
        assert [*ids.serials] == [*range(serial, serial + len(kept))]
        assert sorted(at for each in columns for at in each.positions) == [*range(len(kept))]
        assert of_columns(handed_over(rows, serial)) == wanted
        serial += len(kept)


BIG = 1.7976931348623157e308
TRAPS: list[tuple[list[Any], Any, bool]] = [
    ([1.0, 2.0], math.nan, False),
    ([1.0, 2.0], math.inf, False),
    ([BIG, BIG], math.nan, False),
    ([BIG, BIG], -1.0, True),
    ([BIG, BIG], 1.0, True),
    ([BIG, -BIG, BIG], math.inf, False),
    ([BIG, BIG], -math.inf, False),
    ([-BIG, -BIG], math.nan, False),
    ([1, 2], math.nan, False),
    ([1, 2.5], 10**400, False),
    ([0.0, 5.0], -5e-324, True),
    ([5.0, 0.0], -0.0, True),
    ([True, False], 1.0, True),
    ([1.0], True, False),
    ([1.0], None, False),
    ([1.0], "1", False),
]
"""Values of a gauge, another one, and whether that is valid."""


@pytest.mark.parametrize("as_event", [False, True], ids=["rows", "events"])
@pytest.mark.parametrize("at", [0, 1, -1])
@pytest.mark.parametrize(("others", "value", "fine"), TRAPS, ids=str)
def test_a_bad_number_is_found_wherever_it_is_in_a_column(
    others: list[Any], value: Any, fine: bool, at: int, as_event: bool
) -> None:
    """Sums of the whole column may be finite, infinite or not a number."""
    place = len(others) if at < 0 else at
    for kind in (Gauge, Histogram):
        values = [*others[:place], value, *others[place:]]
        rows: list[Row] = [(kind, stamp, "g", {}, each) for stamp, each in enumerate(values)]
        if as_event:
            rows = [kind("g", {}, each, timestamp=stamp) for stamp, each in enumerate(values)]
        wanted = [
            float(each) for stamp, each in enumerate(values) if not isinstance(each, bool) and (fine or stamp != place)
        ]
        batch = handed_over(rows)
        assert [number for columns in batch.columns() for number in columns.values[0]] == wanted


@pytest.mark.parametrize("bad", [-1.0, -5e-324, -1, math.nan, math.inf, -math.inf, None, True])
@pytest.mark.parametrize("place", [0, 250, 499])
def test_a_bad_duration_is_found_wherever_it_is_in_a_long_column(place: int, bad: Any) -> None:
    """All other events of the column stay."""
    for good in (0.5, 1, 1.7e308):
        rows: list[Row] = [(HttpRequest, at, "GET", "/", 200, good) for at in range(500)]
        rows[place] = (HttpRequest, place, "GET", "/", 200, bad)
        (columns,) = handed_over(rows).columns()
        assert [*columns.timestamps] == [at for at in range(500) if at != place]
        assert [*columns.values[0]] == [float(good)] * 499
        assert [*columns.positions] == [*range(499)]


@pytest.mark.parametrize("bad", [HUGE_LABEL, -HUGE_LABEL], ids=["positive", "negative"])
@pytest.mark.parametrize("place", [0, 7, 14])
def test_a_label_that_has_no_text_is_found_wherever_it_is_in_a_column(place: int, bad: int) -> None:
    """An int of more digits than Python prints costs its own event only; large ints that can be printed stay."""
    codes: list[Any] = [200] * 13 + [2**63, -(2**63) - 1]
    codes[place] = bad
    numbered: list[Row] = [(HttpRequest, at, "GET", "/", code, 0.5) for at, code in enumerate(codes)]
    named: list[Row] = [(Counter, at, "c", {"code": code}, 1) for at, code in enumerate(codes)]
    kept = [str(code) for at, code in enumerate(codes) if at != place]
    (columns,) = handed_over(numbered).columns()
    assert [*map(str, columns.labels[2])] == kept
    (columns,) = handed_over(named).columns()
    assert [str(pairs[0][1]) for pairs in columns.labels[1]] == kept


POINTS: list[tuple[Any, ...]] = [
    (2, math.nan, (1.0,), (1, 1)),
    (2, 1.0, (math.nan,), (1, 1)),
    (3, 1.0, (1.0, math.nan), (1, 1, 1)),
    (3, 1.0, (2.0, 1.0), (1, 1, 1)),
    (3, 1.0, (1.0, 1.0), (1, 1, 1)),
    (5, 1.0, (1.0, 3.0, 2.0, 4.0), (1, 1, 1, 1, 1)),
    (4, 1.0, (1.0, math.nan, 2.0), (1, 1, 1, 1)),
    (3, 1.0, (1.0, 2), (1, 2)),
    (3, 1.0, (1.0,), (1, 1)),
    (1, 1.0, (1.0,), (2, -1)),
    (True, 1.0, (1.0,), (1, 0)),
    (2, 1.0, (math.inf,), (1, 1)),
    (2, 1.0, (1.0,), (1, 1, 0)),
    (10**400, 1.0, (1.0,), (10**400, 0)),
]


@pytest.mark.parametrize("point", POINTS, ids=lambda point: str(point)[:40])
def test_a_bad_point_is_found_among_good_ones(point: tuple[Any, ...]) -> None:
    """The others stay as they are."""
    good = (2, 1.5, (1.0,), (1, 1))
    for at in range(3):
        values = [good, good]
        values.insert(at, point)
        rows: list[Row] = [(HistogramPoint, stamp, "h", {}, *each) for stamp, each in enumerate(values)]
        (columns,) = handed_over(rows).columns()
        assert [*zip(*columns.values, strict=True)] == [good, good]


async def test_a_large_batch_with_invalid_events_keeps_ids_in_order(autojump_clock: MockClock) -> None:
    """It is validated in several chunks; a sink gets one batch with the columns of all of them."""
    found: list[Batch] = []

    async def sink(batch: Batch) -> None:
        found.append(batch)

    wanted: list[tuple[type[MetricEvent], str, float]] = []
    async with collector(BatchMetricsConfig(batch_size=3000, buffer_size=10_000), sinks=[sink]) as metrics:
        for number in range(2345):
            bad = number % 97 in {5, 6} or 1100 <= number < 1180
            made_of: tuple[type[MetricEvent], str, float]
            match number % 5:
                case 0:
                    metrics.record_counter("c", {"id": number}, math.nan if bad else number)
                    made_of = Counter, str(number), float(number)
                case 1:
                    metrics.record(HealthCheck(str(number), True, None if bad else 0.5))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
                    made_of = HealthCheck, str(number), 1.0
                case 2:
                    metrics.record_http_request("GET", "/", HUGE_LABEL if bad else number, 1)
                    made_of = HttpRequest, str(number), 1.0
                case _:
                    metrics.record_gauge("g", {"id": number, "x": None}, "no number" if bad else -number)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
                    made_of = Gauge, str(number), float(-number)
            if not bad:
                wanted.append(made_of)
    assert balanced(metrics.stats()).dropped == {"invalid": 2345 - len(wanted)}
    (batch,) = found
    run = batch.ids.run_id
    got = of_columns(batch)
    assert [each.id for each in got] == [f"{run}:{at}" for at in range(len(wanted))]
    identified: dict[type[MetricEvent], str] = {
        Counter: "id",
        Gauge: "id",
        HealthCheck: "backend",
        HttpRequest: "http.response.status_code",
    }
    assert [(each.kind, each.labels[identified[each.kind]], each.values[0]) for each in got] == wanted


@metric_event
class Pair(MetricEvent):
    """An event that can be iterated over."""

    model: Any = label("model")
    tokens: Any = measure(Counter, "pair.tokens")

    def __iter__(self) -> Any:
        """Iterate over the fields."""
        return iter((self.model, self.tokens))


@metric_event
class Closed(MetricEvent):
    """An event that raises when it is iterated over."""

    model: Any = label("model")

    def __iter__(self) -> Any:
        """Raise an error."""
        raise RuntimeError("no iteration")


@metric_event
class Posing(MetricEvent):
    """An event that looks like the row of another class when it is iterated over."""

    model: Any = label("model")

    def __iter__(self) -> Any:
        """Iterate over the row of a cache metric."""
        return iter((3, 1, "redis", "hit"))


@pytest.mark.parametrize(
    "event", [Pair("gpt", 3), Pair([1], 3), Closed("gpt"), Posing("gpt")], ids=["pair", "list", "closed", "posing"]
)
async def test_an_event_that_can_be_iterated_over_is_like_any_other(
    event: MetricEvent, autojump_clock: MockClock
) -> None:
    """It is recorded after the row of a recorder; nothing of the application's runs, and no event is lost."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        metrics.record_cache_metric("redis", "hit")
        metrics.record(event)
        await metrics.arecord(event)
        metrics.from_thread().record(event)
        metrics.record_cache_metric("redis", "miss")
    assert balanced(metrics.stats()).processed_events == 5
    assert [type(each) for each in sink.events] == [CacheMetric, *[type(event)] * 3, CacheMetric]
    assert [type(event) for event in sink.batches[0]] == [each.kind for each in of_columns(sink.batches[0])]


def test_an_unusual_row_is_unwrapped_even_where_nothing_else_is_valid() -> None:
    """No sink ever sees the wrapper."""
    rows: list[Row] = [(CacheMetric, 1.5, "redis", "hit"), UnusualRow((CacheMetric, 7, "redis", b"x"))]
    batch = handed_over(rows)
    assert [*batch] == [CacheMetric("redis", b"x", timestamp=7)]  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert [each.labels["cache.operation"] for each in of_columns(batch)] == ["b'x'"]
