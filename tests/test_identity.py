"""Series that a back-end can't distinguish are one: in a plain store, and in line protocol, for every reader."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.helpers import balanced
from tests.sinks.line_parsers import PARSERS
from trio_batchmetrics import (
    Batch,
    BatchMetricsConfig,
    CacheMetric,
    Counter,
    Gauge,
    HealthCheck,
    Histogram,
    HistogramPoint,
    MetricEvent,
    collector,
    measure,
    metric_event,
)
from trio_batchmetrics.abc import Limits, Payload, SeriesSink, SeriesStore, SinkContext
from trio_batchmetrics.sinks import InfluxDBSeriesSink, PrometheusSink, PushgatewaySink
from trio_batchmetrics.sinks._influxdb.line_protocol import DIALECTS, REPLACEMENT, Dialect, series_key

# -- a plain store


def test_a_plain_store_distinguishes_series_that_differ_as_text() -> None:
    """Kinds and units count, too, and it refuses nothing."""
    store = SeriesStore()
    events = [Counter("c", {"a": None}, 1), Counter("c", {"a": ""}, 2), Gauge("c", {}, 3), Counter("c", {"a.b": 1}, 4)]
    assert store.merge([*events, Counter("c", {"a_b": 1}, 5), Counter("c", {"a_b": "1"}, 6)]) is None
    assert [(metric.kind.value, [point.value for point in metric.points]) for metric in store.snapshot()] == [
        ("counter", [1, 2, 4, 11]),
        ("gauge", [3]),
    ]


def test_events_that_lost_their_labels_are_counted_by_instrument() -> None:
    """Recorders, classes and points are tried, without events that a bound instrument has counted itself."""
    store = SeriesStore(SinkContext(max_series=2))
    overflown = {"otel.metric.overflow": "true"}
    for _ in range(2):
        store.merge([
            *(Counter("c", {"n": n}, 1) for n in range(5)),
            *(HistogramPoint("h", {"n": n}, 3, 3.0, (1.0,), (3, 0)) for n in range(4)),
            *(HealthCheck(str(n), True, 0.1) for n in range(3)),
            *(Gauge("g", {"n": n}, 1) for n in range(2)),
            Counter("c", overflown, 7),
        ])  # fmt: skip
    assert store.overflowed == {"c": 6, "h": 4, "backend.health": 2, "backend.health_check.duration": 2}
    [counter] = [metric for metric in store.snapshot() if metric.name == "c"]
    assert [(dict(point.labels), point.value) for point in counter.points] == [
        ({"n": "0"}, 2),
        ({"n": "1"}, 2),
        (overflown, 20),
    ]


# -- which events are refused


@metric_event
class Two(MetricEvent):
    """A class that measures twice."""

    seconds: float = measure(Histogram, "taken", unit="s")
    jobs: int = measure(Counter, "clash")


def prometheus() -> PrometheusSink:
    """Create a sink that has a gauge with the same name as the counter of `Two`."""
    sink = PrometheusSink()
    sink.bind(SinkContext())
    assert sink.merge([Gauge("clash.total", {}, 1)]) is None
    return sink


@pytest.mark.parametrize("as_batch", [False, True])
def test_refused_events_are_named_by_their_position_among_all_events(as_batch: bool) -> None:
    """A batch of several classes, and a list with invalid events are tried; their other measures stay."""
    sink = prometheus()
    events: list[MetricEvent] = [
        CacheMetric("redis", "hit"),
        Two(1.5, 1),
        *([] if as_batch else [Counter("c", {}, math.nan), Two(math.nan, 1)]),
        Counter("clash", {"a": 1}, 2),
        Two(2.5, 1),
        Counter("fine", {}, 2),
        HistogramPoint("clash.total", {}, 1, 1.0, (1.0,), (1, 0)),
    ]
    places = [at for at, event in enumerate(events) if "clash" in repr(event) or isinstance(event, Two)]
    if not as_batch:
        places.remove(3)
    refused = sink.merge(Batch(events) if as_batch else events)
    assert list(refused or {}) == places or set(refused or {}) == set(places)
    page = sink.render()[0].decode()
    assert "taken_seconds_sum 4.0\n" in page
    assert "fine_total 2.0\n" in page
    assert "clash_total 1.0\n" in page


async def test_refused_events_are_rejected_and_the_others_delivered(autojump_clock: MockClock) -> None:
    """The ledger balances for batches of any size."""
    sink = PrometheusSink()
    async with collector(BatchMetricsConfig(batch_size=1500), sinks=[sink]) as metrics:
        metrics.record_gauge("clash.total", {}, 1)
        for number in range(2999):
            if number % 3:
                metrics.record_counter("fine", {}, 1)
            else:
                metrics.record_counter("clash", {}, 1)
        report = await metrics.flush()
        assert (report.processed, report.failed) == (2000, 1000)
    account = balanced(metrics.stats()).sinks["prometheus"]
    assert (account.delivered, account.rejected, account.failed) == (2000, 1000, 0)
    assert "500 of 1500 events refused: 'clash.total' of another kind or unit has the name" in str(account.last_error)
    assert b"fine_total 1999.0\n" in sink.render()[0]


@pytest.mark.parametrize("refused", [True, False])
def test_huge_labels_without_a_series_of_their_own_are_not_remembered(refused: bool) -> None:
    """Their events are rejected, or join the overflow series; the bytes kept of these labels are bounded."""
    sink = PrometheusSink(limits=Limits(label_value_bytes=1000) if refused else None)
    sink.bind(SinkContext(max_series=1))
    sink.merge([Counter("c", {}, 1)])
    for number in range(40):
        answer = sink.merge([Counter("c", {"a": f"{number} {'x' * 1_000_000}"}, 1), Counter("c", {}, 1)])
        assert answer == ({0: "limits"} if refused else None)
        assert sink.store.remembered <= 10
    assert b"c_total 41.0\n" in sink.render()[0]
    assert sink.overflowed == ({} if refused else {"c": 40})


# -- line protocol


def parts_of(sink: SeriesSink[Any]) -> Any:
    """Return the parts of a snapshot."""
    return sink.snapshot()


def made(dialect: Dialect | None = None, **context: Any) -> InfluxDBSeriesSink:
    """Create a sink that writes series as lines."""
    sink = InfluxDBSeriesSink("http://127.0.0.1:1", database="db", dialect=dialect)
    sink.bind(SinkContext(**context))
    return sink


def lines(sink: InfluxDBSeriesSink) -> list[str]:
    """Return the written lines without times."""
    return [line.rpartition(" ")[0] for line in b"".join(sink.snapshot()).decode().splitlines()]


def test_lines_that_would_overwrite_each_other_become_one() -> None:
    """None, empty and missing labels, names that get an underscore, and texts that can't be carried are tried."""
    sink = made("influxdb")
    assert sink.merge([Counter("hits", {"user": None}, 7), Counter("hits", {"user": ""}, 2)]) is None
    assert lines(sink) == ["hits value=9.0"]
    sink.merge([Counter("hits", {"time": 1}, 1), Counter("hits", {"time_": "1"}, 2), Counter("hits", {"b": True}, 4)])
    sink.merge(
        [Counter("a\n", {"x\\": "y\n"}, 1), Counter(f"a{REPLACEMENT}", {f"x{REPLACEMENT}": f"y{REPLACEMENT}"}, 2)]
    )
    sink.merge([Gauge("g", {"a": "", "b": 1}, 1, timestamp=1), Gauge("g", {"b": 1}, 2, timestamp=2)])
    sink.merge([Histogram("h", {"sum": 1}, 1), Histogram("h", {"sum_": 1}, 1)])
    assert [line for line in lines(sink) if not line.startswith("h,")] == [
        "hits value=9.0",
        "hits,time_=1 value=3.0",
        "hits,b=true value=4.0",
        f"a{REPLACEMENT},x{REPLACEMENT}=y{REPLACEMENT} value=3.0",
        "g,b=1 value=2.0",
    ]
    assert sum(line.startswith("h,sum_=1 count=2,sum=2.0,") for line in lines(sink)) == 1


def test_a_counter_and_a_gauge_with_the_same_name_would_overwrite_each_other() -> None:
    """The later one is refused, and so is another unit; a histogram has other fields, an annotation isn't a unit."""
    sink = made("influxdb")
    sink.merge([Counter("x", {}, 1), Counter("cache.operations", {}, 5)])
    refused = sink.merge(
        [Gauge("x", {}, 2), Histogram("x", {}, 3), CacheMetric("redis", "hit"), Gauge("x", {"a": 1}, 2)]
    )
    assert refused == dict.fromkeys([0, 3], "'x' of another kind or unit has the name")
    assert sorted(line.partition("=")[0] for line in lines(sink)) == [
        "cache.operations value",
        "cache.operations,cache.operation",
        "x count",
        "x value",
    ]


texts = st.text(st.sampled_from('a\\,= "\n\t\0#_'), max_size=4)
reserved = st.sampled_from(["time", "time_", "_field", "value", "value_", "__name__", "__name___", ""])
label_sets = st.dictionaries(texts | reserved, texts, max_size=3)


@settings(deadline=None)
@given(st.lists(st.tuples(texts.filter(bool), label_sets, st.integers(1, 99)), max_size=8))
@example([("m", {"__name__": "a"}, 1), ("m", {"__name___": "a"}, 2)])
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("known", [True, False])
def test_no_line_is_written_twice_and_nothing_is_lost(
    dialect: Dialect, known: bool, series: Sequence[tuple[str, dict[str, str], int]]
) -> None:
    """Any texts are tried, whether the dialect is known at first or detected later."""
    sink = made(dialect if known else None)
    assert sink.merge([Counter(name, labels, value) for name, labels, value in series]) is None
    sink._dialect = dialect
    sink._start_writer()
    found = PARSERS[dialect](b"".join(sink.snapshot()).decode())
    assert len({(line.measurement, *sorted(line.tags.items())) for line in found}) == len(found)
    assert sum(line.fields["value"] for line in found) == sum(value for *_, value in series)


@settings(deadline=None)
@given(names=st.tuples(texts, texts), labels=st.tuples(label_sets, label_sets))
def test_series_that_are_equal_in_one_dialect_are_equal_while_none_is_known(
    names: tuple[str, str], labels: tuple[dict[str, str], dict[str, str]]
) -> None:
    """No series has to be split or joined later because of this."""
    pairs = [*zip(names, labels, strict=True)]
    for dialect in DIALECTS:
        one, other = (series_key(name, tags, dialect, ["value"]).text for name, tags in pairs)
        if one == other:
            first, second = (series_key(name, tags, None, ["value"]).text for name, tags in pairs)
            assert first == second


# -- everywhere


@pytest.mark.parametrize("name", ["prometheus", "pushgateway", "influxdb"])
async def test_bound_instruments_and_recorders_meet_in_one_series(name: str, autojump_clock: MockClock) -> None:
    """Recorders and bound instruments share a series however their labels are written."""
    sinks: dict[str, SeriesSink[Any]] = {
        "prometheus": PrometheusSink(),
        "pushgateway": PushgatewaySink("http://127.0.0.1:1", job="j"),
        "influxdb": InfluxDBSeriesSink("http://127.0.0.1:1", database="db"),
    }
    sink = sinks[name]

    class Shown(type(sink)):  # type: ignore[misc]
        """A sink that doesn't push."""

        async def send(self, payload: Payload[Any]) -> None:
            """Report success."""

    sink.__class__ = Shown
    async with collector(BatchMetricsConfig(static_labels={"empty": ""}), sinks=[sink]) as metrics:
        metrics.counter("hits", labels={"user": None, "b": 1, "a": 2}).add(1)
        metrics.counter("hits", labels={"a": 2, "b": 1, "user": ""}).add(2)
        metrics.record_counter("hits", {"a": "2", "b": 1}, 4)
        await metrics.flush()
        text = sink.render()[0] if isinstance(sink, PrometheusSink) else b"".join(parts_of(sink))
        [line] = [line for line in bytes(text or b"").decode().splitlines() if line.startswith("hits")]
        assert ("value=7.0" if name == "influxdb" else " 7.0") in line
