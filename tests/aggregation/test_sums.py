"""A store's sums equal those of plain counting, for any stream of events."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.aggregation.streams import LABEL, STREAMS, C, H, value_of
from tests.bad_values import NOT_COUNTS, NOT_DURATIONS, NOT_LABELS, NOT_NAMES
from tests.fakes import StoreSink
from tests.helpers import balanced
from tests.tally import Job, Tally, points
from trio_batchmetrics import (
    BackendRequest,
    BatchMetricsCollector,
    BatchMetricsConfig,
    CacheMetric,
    Counter,
    Gauge,
    HealthCheck,
    Histogram,
    HttpRequest,
    MetricEvent,
    collector,
    measure,
    metric_event,
)
from trio_batchmetrics.abc import SeriesStore, SinkContext

STATICS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(["x", "queue", "region"]), LABEL, max_size=2
)


def record_as_row(metrics: BatchMetricsCollector, event: Any) -> None:
    """Record an event's content through the recorder that makes a row of it."""
    recorders: dict[type, Callable[..., None]] = {
        HttpRequest: metrics.record_http_request,
        BackendRequest: metrics.record_backend_request,
        HealthCheck: metrics.record_health_check,
        CacheMetric: metrics.record_cache_metric,
        Counter: metrics.record_counter,
        Histogram: metrics.record_histogram,
        Gauge: metrics.record_gauge,
        Job: metrics.make_recorder(Job),
    }
    recorders[type(event)](*(getattr(event, name) for name in event.__metric_schema__.fields))


def context_of(static: dict[str, Any], **settings: Any) -> SinkContext:
    """Create a context with static labels as text, leaving out those whose value is None."""
    tally = Tally(static)
    tally.add(Counter("c", {}, 1))
    ((labels, _),) = tally.series[C].items()
    return SinkContext(static_labels=dict(labels), **settings)


@given(stream=STREAMS, static=STATICS, batch_size=st.integers(1, 9), dice=st.randoms(use_true_random=False))
def test_a_collectors_rows_add_up_as_counted_by_hand(
    stream: list[MetricEvent], static: dict[str, Any], batch_size: int, dice: random.Random
) -> None:
    """The events are recorded by recorders or as objects, in batches of any size."""
    sink = StoreSink()

    async def main() -> None:
        config = BatchMetricsConfig(batch_size=batch_size, static_labels=static)
        async with collector(config, sinks=[sink]) as metrics:
            for event in stream:
                if dice.random() < 0.7:
                    record_as_row(metrics, event)
                else:
                    metrics.record(event)
                if dice.random() < 0.1:
                    await metrics.flush()
        assert balanced(metrics.stats()).processed_events == len(stream)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    tally = Tally(static)
    for event in stream:
        tally.add(event)
    tally.assert_told_by(sink.store.snapshot())
    assert len(sink.store) == sum(map(len, tally.series.values()))


@given(stream=STREAMS, static=STATICS, size=st.integers(1, 50))
def test_a_list_of_events_adds_up_as_counted_by_hand(
    stream: list[MetricEvent], static: dict[str, Any], size: int
) -> None:
    """The store is used by itself and gets plain lists."""
    store = SeriesStore(context_of(static))
    tally = Tally(static)
    for start in range(0, len(stream), size):
        store.merge(stream[start : start + size])
        for event in stream[start : start + size]:
            tally.add(event)
        tally.assert_told_by(store.snapshot())


@given(stream=STREAMS, sizes=st.lists(st.integers(1, 12), min_size=40, max_size=40))
def test_takes_add_up_to_the_total(stream: list[MetricEvent], sizes: list[int]) -> None:
    """Each delta has exactly the events since the last one, in their series, and no other series."""
    store, rest = SeriesStore(), [*stream]
    sums: dict[Any, float] = {}
    buckets: dict[Any, tuple[int, ...]] = {}
    lasts: dict[Any, float] = {}
    for size in sizes:
        part, rest = rest[:size], rest[size:]
        store.merge(part)
        taken = store.take()
        tally = Tally()
        for event in part:
            tally.add(event)
        tally.assert_told_by(taken)
        for instrument, family in points(taken).items():
            for labels, point in family.items():
                key = instrument, labels
                lasts[key] = point.value
                sums[key] = sums.get(key, 0) + point.value
                buckets[key] = tuple(
                    map(sum, zip(buckets.get(key, [0] * len(point.counts)), point.counts, strict=True))
                )
    whole = Tally()
    for event in stream:
        whole.add(event)
    for instrument, counted in whole.series.items():
        for labels, expected in counted.items():
            told = lasts if instrument[1] == "gauge" else sums
            assert told[instrument, labels] == pytest.approx(
                float(expected.last if instrument[1] == "gauge" else expected.total), rel=1e-9
            )
            assert buckets[instrument, labels] == tuple(expected.counts)
    assert sum(map(len, whole.series.values())) == len(sums)


def test_values_on_a_bound_belong_to_its_bucket_at_every_bound() -> None:
    """A value equal to a bound is in that bound's bucket, and a value one step above it is in the next."""
    store = SeriesStore(SinkContext(bounds={"h": (-1.0, 0.0, 2.5)}))
    store.merge([Histogram("h", {}, value) for value in (-1, -1.0, -0.5, -0.0, 0, 5e-324, 2.5, 2.5000000000000004, 9)])
    (metric,) = store.snapshot()
    assert metric.bounds == (-1.0, 0.0, 2.5)
    assert metric.points[0].counts == (2, 3, 2, 2)
    assert metric.points[0].count == 9


def test_a_gauges_value_is_the_last_one_recorded() -> None:
    """A bool counts as 1 or 0."""
    store = SeriesStore()
    store.merge([HealthCheck("b", healthy, 0.1) for healthy in (False, True, False, True)])
    assert value_of(store, ("backend.health", "gauge", ""), backend="b") == 1
    store.merge([HealthCheck("b", False, 0.1)])
    assert value_of(store, ("backend.health", "gauge", ""), backend="b") == 0


@metric_event
class Opened(MetricEvent):
    """One more connection."""

    active: int = measure(Gauge, "pool.active")


@metric_event
class Closed(MetricEvent):
    """One connection less."""

    active: int = measure(Gauge, "pool.active")


@given(order=st.lists(st.sampled_from([Opened, Closed, Gauge]), min_size=1, max_size=6))
def test_a_gauge_that_several_classes_measure_has_the_last_value_recorded(order: list[type[MetricEvent]]) -> None:
    """The last value counts, whichever class it came with."""
    events: list[MetricEvent] = []
    for value, kind in enumerate(order):
        make: Any = kind
        events.append(Gauge("pool.active", {}, value) if kind is Gauge else make(value))
    store = SeriesStore()
    store.merge(events)
    assert value_of(store, ("pool.active", "gauge", "")) == len(order) - 1


def test_classes_that_share_an_instrument_share_its_series() -> None:
    """The snapshot has one metric of that name, with the sums of both classes."""

    @metric_event
    class Sent(MetricEvent):
        """Bytes sent."""

        size: int = measure(Counter, "io", unit="By")

    @metric_event
    class Received(MetricEvent):
        """Bytes received, measured twice."""

        size: int = measure(Counter, "io", unit="By")
        again: int = measure(Counter, "io", unit="By")

    store = SeriesStore()
    store.merge([Sent(1), Received(20, 300), Sent(4000)])
    assert value_of(store, ("io", "counter", "By")) == 4321


def test_instruments_that_share_a_name_but_differ_in_kind_or_unit_do_not_mix() -> None:
    """Four instruments share a name, and each has its own sum."""

    @metric_event
    class In(MetricEvent):
        """A measure in bytes."""

        size: int = measure(Counter, "x", unit="By")

    @metric_event
    class Took(MetricEvent):
        """A measure in seconds."""

        time: float = measure(Histogram, "x", unit="s")

    store = SeriesStore()
    store.merge(
        [In(3), Took(0.5), Counter("x", {}, 7), Gauge("x", {}, 11), In(4), Histogram("x", {}, 2), Counter("x", {}, 1)]
    )
    assert {key: family[()].value for key, family in points(store).items()} == {
        ("x", "counter", "By"): 7,
        ("x", "histogram", "s"): 0.5,
        ("x", "counter", ""): 8,
        ("x", "gauge", ""): 11,
        ("x", "histogram", ""): 2,
    }


def test_invalid_events_are_skipped() -> None:
    """The rest of a plain list is merged."""
    store = SeriesStore()
    request: Any = HttpRequest
    counter: Any = Counter
    bad: list[Any] = [
        *(counter("c", {}, value) for value in NOT_COUNTS),
        *(Counter("c", labels, 1) for labels in NOT_LABELS),
        *(Counter(name, {}, 1) for name in NOT_NAMES),
        *(request("GET", "/", 200, value) for value in NOT_DURATIONS),
        *(MetricEvent(), "no event", None, 3, object(), Counter),
        *(counter("c", {}, 1, timestamp=stamp) for stamp in (True, 1.0, None)),
    ]
    dice = random.Random(3)
    dice.shuffle(bad)
    for event in bad:
        store.merge([Counter("c", {}, 1), event, Counter("c", {}, 1)])
    store.merge([*bad, Counter("c", {}, 1)])
    assert value_of(store, C) == 2 * len(bad) + 1
    assert len(store) == 1


@pytest.mark.parametrize("taken", [False, True])
def test_sums_of_huge_ints_do_not_stop_a_series(taken: bool) -> None:
    """Each int is valid by itself, and the series goes on, even where the sums have started anew."""
    store = SeriesStore()
    huge = int(1.7e308)
    if taken:
        store.merge([Counter("c", {}, 1), Counter("other", {}, 1), Histogram("h", {}, 1)])
        store.take()
    for value in (huge, huge, 0.5):
        store.merge([Counter("c", {}, value), Counter("other", {}, 1), Histogram("h", {}, value)])
    assert value_of(store, ("other", "counter", "")) == 3
    assert float(value_of(store, C)) >= 1.7e308
    assert points(store)[H][()].count == 3


def test_an_empty_store_has_no_series() -> None:
    """Merging nothing doesn't add any either."""
    store = SeriesStore()
    store.merge([])
    assert (store.snapshot(), store.take(), len(store), store.expire(2**63)) == ((), (), 0, 0)
