"""Labels and names of any size and number leave a bounded amount of memory behind."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

import pytest
from trio.testing import MockClock

from trio_batchmetrics import Batch, BatchMetricsConfig, CacheMetric, Counter, HistogramPoint, MetricEvent, collector
from trio_batchmetrics.abc import SeriesStore, SinkContext, json_lines
from trio_batchmetrics.sinks import InfluxDBSink, PrometheusSink

LABELS, NAMES = 1_010, 100_000
MB = 1_000_000


@contextmanager
def retaining_at_most(limit: int) -> Generator[None]:
    """Assert that the block retains at most so many bytes."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield
        gc.collect()
        retained = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert retained <= limit, f"{retained / MB:.1f} MB"


def named(number: int, text: str) -> MetricEvent:
    """Create a counter with a large label."""
    return Counter("c", {"user": text, "n": number}, 1)


def declared(number: int, text: str) -> MetricEvent:
    """Create an event with a large declared label."""
    return CacheMetric(text, str(number))


def point(number: int, text: str) -> MetricEvent:
    """Create a point with a large label."""
    return HistogramPoint("h", {"user": text, "n": number}, 1, 1.0, (1.0,), (1, 0))


@pytest.mark.parametrize("make", [named, declared, point])
@pytest.mark.parametrize("size", [1, 100])
@pytest.mark.parametrize("rounds", [1, 3])
def test_large_labels_beyond_max_series_are_not_kept(
    make: Callable[[int, str], MetricEvent], size: int, rounds: int
) -> None:
    """Ten series of 100 kB take a megabyte; a thousand others take no more than that, and nothing is lost."""
    store = SeriesStore(SinkContext(max_series=10))
    with retaining_at_most(2 * MB):
        for _ in range(rounds):
            for start in range(0, LABELS, size):
                numbers = range(start, min(start + size, LABELS))
                store.merge([make(number, f"{number:09}" + "x" * 100_000) for number in numbers])
    [metric] = store.snapshot()
    assert sum(each.count or each.value for each in metric.points) == rounds * LABELS
    assert store.overflowed == {metric.name: rounds * (LABELS - 10)}
    assert len(metric.points) == 11


def test_large_labels_of_a_series_in_another_order_are_not_kept_twice() -> None:
    """A store remembers the order in which labels come only if it costs little."""
    store = SeriesStore(SinkContext(max_series=10))
    with retaining_at_most(2 * MB):
        for number in range(10):
            for _ in range(20):
                large = f"{number:09}" + "x" * 100_000
                store.merge([Counter("c", {"user": large, "n": 1}, 1), Counter("c", {"n": 1, "user": large}, 1)])
    assert len(store) == 10


def test_labels_of_medium_size_are_forgotten_together() -> None:
    """Label sets of 10 kB without a series of their own are remembered, until they take a megabyte."""
    store = SeriesStore(SinkContext(max_series=10))
    with retaining_at_most(2 * MB):
        for number in range(LABELS):
            store.merge([Counter("c", {"user": f"{number:09}" + "x" * 10_000}, 1)])
    assert store.overflowed == {"c": LABELS - 10}


def names(count: int) -> Iterator[list[MetricEvent]]:
    """Yield counters of as many instruments, some at a time."""
    for start in range(0, count, 500):
        yield [Counter(f"requests.of.customer.{number}", {"n": number}, 1) for number in range(start, start + 500)]


def test_a_store_keeps_at_most_max_instruments() -> None:
    """Events of further instruments are refused, each of them, and take no memory."""
    store = SeriesStore(SinkContext())
    refused = 0
    with retaining_at_most(20 * MB):
        for events in names(NAMES):
            refused += len(store.merge(events) or {})
    assert (len(store), refused) == (1000, NAMES - 1000)
    assert store.remembered == 1000


def test_instruments_that_clash_with_one_another_take_little_memory() -> None:
    """A name that the back-end refuses is remembered, too; but not all such names."""
    sink = PrometheusSink()
    sink.bind(SinkContext(max_instruments=10))
    sink.merge([Counter("clash", {}, 1)])
    with retaining_at_most(2 * MB):
        for start in range(0, 20_000, 500):
            points = [HistogramPoint(f"clash{'.' * n}total", {}, 1, 1.0, (1.0,), (1, 0)) for n in range(1, 5)]
            sink.merge(points)
            sink.merge([Counter(f"a.{number}", {}, 1) for number in range(start, start + 500)])
    assert sink.store.remembered <= 200


def test_names_do_not_fill_the_caches_of_event_sinks() -> None:
    """Line protocol and JSON keep text per label set, with the name in it; both caches are bounded."""
    influxdb = InfluxDBSink("http://127.0.0.1:8086", database="app", dialect="influxdb")
    influxdb.bind(SinkContext())
    origin = Batch([])._origin
    with retaining_at_most(20 * MB):
        for events in names(NAMES):
            influxdb.encode(Batch(events))
    with retaining_at_most(20 * MB):
        for events in names(NAMES):
            json_lines(Batch(events, origin=origin))


async def test_bound_instruments_keep_at_most_max_instruments(autojump_clock: MockClock) -> None:
    """Instruments of further names are usable, and belong to the caller alone."""
    async with collector(BatchMetricsConfig(), sinks=[]) as metrics:
        with retaining_at_most(20 * MB):
            for number in range(NAMES):
                metrics.counter(f"requests.of.customer.{number}").add()
        assert metrics.stats().dropped == {"too_many_instruments": NAMES - 1000}
