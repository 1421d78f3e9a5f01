"""The JSON form written by column is that of each event by itself, byte for byte, and what is kept is bounded."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings

from tests.columns.drawn import DRAWN, ORIGIN, STATIC, handed_over, known, made
from tests.helpers import examples
from trio_batchmetrics import Batch, CacheMetric, Counter, Gauge, HealthCheck, HttpRequest, MetricEvent
from trio_batchmetrics._events import numbers as _numbers
from trio_batchmetrics._events.batch import Origin, join
from trio_batchmetrics.abc import JSONWriter, Limits, SinkContext, by_second, json_line, json_lines

NS = 10**9
NOON = 1_795_489_500 * NS


@pytest.fixture(params=["with msgspec", "without msgspec"], autouse=True)
def _way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Simulate that msgspec is absent, or require it."""
    if request.param == "with msgspec":
        pytest.importorskip("msgspec")
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_numbers, "_encode", None)
        yield


def one_by_one(events: Any, static: dict[str, str] | None = None) -> bytes:
    """Return the JSON form of each event by itself, one per line."""
    return "".join(f"{json_line(event, static)}\n" for event in events).encode()


@given(drawn=DRAWN)
@settings(max_examples=examples(300))
def test_lines_of_a_batch_are_those_of_its_events(drawn: list[Any]) -> None:
    """Twice, since texts are kept; for slices and joined slices, too."""
    rows = made(drawn)
    batch, everything = handed_over(rows), known(rows)
    wanted = [one_by_one([each.event], {**STATIC, **each.added}) for each in everything]
    for _ in range(2):
        assert json_lines(batch) == b"".join(wanted)
    middle = len(wanted) // 2
    assert json_lines(batch[middle:]) == b"".join(wanted[middle:])
    if wanted:
        parts = [(batch, middle, len(wanted)), (batch, 0, len(wanted)), (batch, 0, middle)]
        joined = join([(each, start, stop) for each, start, stop in parts if start < stop])
        assert json_lines(joined) == b"".join(wanted[middle:] + wanted + wanted[:middle])


VALUES: list[Any] = [
    1e-5,
    1e16,
    1e22,
    5e-324,
    -0.0,
    0.0,
    1e-4,
    9999999999999998.0,
    0.1,
    1 / 3,
    -1e-5,
    -1e16,
    -123.456,
    2**70,
]


def test_floats_are_written_as_for_each_event() -> None:
    """They are alone in their column, and next to all others."""
    for values in ([each] for each in VALUES):
        events = [Gauge("g", {}, value, timestamp=NOON) for value in values]
        assert json_lines(Batch(events)) == one_by_one(events)
    events = [Gauge("g", {}, value, timestamp=NOON) for value in VALUES]
    checks = [HealthCheck("db", value, abs(value), timestamp=NOON) for value in VALUES]
    mixed = [each for pair in zip(events, checks, strict=True) for each in pair]
    for some in (events, checks, mixed):
        assert json_lines(Batch(some)) == one_by_one(some)


STAMPS = [NOON, NOON - 1, NOON + 1, NOON + NS - 1, NOON + NS, 0, -1, 1, -NS, -NS - 1, -NS + 1, 10**18 + 1_000_001, NOON]


def test_timestamps_are_written_as_for_each_event() -> None:
    """They are in different seconds, at both ends of one, before 1970, and beyond the year 9999."""
    for stamps in (STAMPS, [-1, 0], [NS - 1, NS], [-NS, -1], [-NS - 1, -NS], [10**21, NOON], STAMPS[::-1]):
        events = [Counter("c", {"at": at}, 1, timestamp=stamp) for at, stamp in enumerate(stamps)]
        assert json_lines(Batch(events)) == one_by_one(events)
        mixed: list[MetricEvent] = [
            each for event in events for each in (event, CacheMetric("a", "b", timestamp=event.timestamp))
        ]
        assert json_lines(Batch(mixed)) == one_by_one(mixed)


def test_timestamps_are_divided_into_runs_within_a_second() -> None:
    """A second's last nanosecond belongs to it, and the next one doesn't; before 1970, too."""
    for stamps in (STAMPS, STAMPS[::-1], [-1], [-1, 0], [NS - 1, NS], [-NS - 1, -NS], [-NS, -1], []):
        runs = [*by_second(stamps)]
        assert [at for _, run in runs for at in range(len(stamps))[run]] == [*range(len(stamps))]
        for second, run in runs:
            assert {stamp // NS for stamp in stamps[run]} == {second}
        assert all(one[0] != other[0] for one, other in pairwise(runs))


@pytest.mark.parametrize("stamp", [10**30, -(10**30)])
def test_a_timestamp_beyond_the_calendar_raises(stamp: int) -> None:
    """It is alone, or among others; those can still be written."""
    good = CacheMetric("redis", "hit", timestamp=NOON)
    bad = CacheMetric("redis", "hit", timestamp=stamp)
    for events in ([bad], [good, bad], [bad, good]):
        with pytest.raises(OverflowError):
            json_lines(Batch(events))
    assert json_lines(Batch([good])) == one_by_one([good])


def test_no_events_have_no_lines() -> None:
    """There is no line end either."""
    assert json_lines(Batch([])) == b""


def test_texts_of_different_classes_and_labels_are_never_mixed_up() -> None:
    """Equal label sets of two classes, and similar labels in one place, are written in all orders."""
    similar: list[Any] = [True, 1, 1.0, "1", "true", None, False, 0, 0.0, -0.0, "x"]
    events: list[MetricEvent] = []
    for value in (*similar, *similar[::-1]):
        events += [
            CacheMetric("p", value, timestamp=1),
            HttpRequest("p", "m", value, 0.5, timestamp=1),
            Counter("p", {"m": value}, 1, timestamp=1),
            Gauge("p", {"m": value}, 1, timestamp=1),
            Gauge("m", {"p": value}, 1, timestamp=1),
        ]
    batch = Batch(events, origin=Origin("run", STATIC))
    assert json_lines(batch) == one_by_one(events, STATIC)
    for at in range(len(events)):
        assert json_lines(batch[at : at + 1]) == one_by_one(events[at : at + 1], STATIC)


def test_all_sinks_of_a_collector_share_what_is_kept() -> None:
    """Limits are part of what it is kept for."""
    context = SinkContext(run_id="run", static_labels=STATIC)
    assert context.json_writer() is context.json_writer()
    tight = Limits(label_value_bytes=3)
    assert context.json_writer(tight) is context.json_writer(Limits(label_value_bytes=3))
    assert context.json_writer(tight) is not context.json_writer()
    batch = Batch([Counter("c", {"k": "long"}, 1, timestamp=1)], origin=context._origin)
    before = len(context.json_writer())
    assert json_lines(batch) == one_by_one(batch, STATIC)
    assert len(context.json_writer()) > before
    for _ in range(2):
        with pytest.raises(ValueError, match="limits"):
            context.json_writer(Limits(label_value_bytes=3, labels=9)).lines(batch)


# ------------------------------------------------------------------------------------------------------------- memory

MOST = 8_000_000


@pytest.mark.parametrize(
    ("sets", "text"),
    [(1_000, "x" * 100_000), (12_000, "x" * 1_500), (30_000, "x"), (1_000, "é" * 50_000)],
    ids=["1 000 of 100 kB", "12 000 of 1.5 kB", "30 000 of 1 byte", "1 000 of 100 kB, not ASCII"],
)
def test_the_memory_of_texts_is_bounded_in_bytes(sets: int, text: str) -> None:
    """It is measured, too; what was forgotten is written again as before."""
    writer = JSONWriter(STATIC)
    sizes: list[int] = []
    samples = [Counter("c", {"id": number, "k": text}, 1, timestamp=NOON) for number in (0, sets // 2, sets - 1)]
    wanted = one_by_one(samples, STATIC)
    tracemalloc.start()
    try:
        for start in range(0, sets, 100):
            events = [Counter("c", {"id": start + at, "k": text}, 1, timestamp=NOON) for at in range(100)]
            writer.lines(Batch(events))
            sizes.append(len(writer))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert max(sizes) <= MOST
    assert held <= 2 * MOST
    assert writer.lines(Batch(samples)) == wanted
    assert writer.lines(Batch(samples)) == wanted
    if sets > 10_000:
        assert min(sizes[len(sizes) // 2 :]) < max(sizes) / 2, "all are forgotten at once"


def test_texts_of_labels_and_of_documents_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sink that asks for labels, and one that asks for documents, share the limit."""
    monkeypatch.setitem(JSONWriter.keep.__globals__, "_CACHE_MAX_BYTES", 50_000)
    writer = JSONWriter({})
    for start in range(0, 600, 20):
        events = [Counter("c", {"id": number}, 1, timestamp=NOON) for number in range(start, start + 20)]
        batch = Batch(events)
        (columns,) = batch.columns()
        assert writer.labels(columns) == [f'{{"id":"{number}"}}' for number in range(start, start + 20)]
        assert writer.lines(batch) == one_by_one(events)
        assert writer.labels(columns) == [f'{{"id":"{number}"}}' for number in range(start, start + 20)]
        assert 0 <= len(writer) <= 50_000


def test_the_collectors_origin_is_that_of_its_batches() -> None:
    """Static labels are in the lines without being given."""
    assert handed_over([(CacheMetric, 1, "redis", "hit")])._origin is ORIGIN
