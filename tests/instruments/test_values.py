"""A collection hands on one point per updated instrument, with exactly the values of the updates."""

import math
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.fakes import TimedSink
from tests.helpers import balanced
from tests.instruments.points import TEN, plain
from trio_batchmetrics import BatchMetricsConfig, HistogramPoint, MetricEvent, collector
from trio_batchmetrics.testing import RecordingSink


async def test_additions_are_handed_on_as_one_event_per_flush_interval(autojump_clock: MockClock) -> None:
    """They leave exactly at the interval; a counter's point holds the additions since the last collection."""
    sink = TimedSink()
    async with collector(TEN, sinks=[sink]) as metrics:
        requests = metrics.counter("requests", labels={"region": "eu"})
        requests.add()
        requests.add(2.5)
        await trio.sleep(11)
        requests.add(4)
        await trio.sleep(20)
        requests.add(8)
    assert [plain(event) for event in sink.events] == [
        ("counter", "requests", {"region": "eu"}, 3.5),
        ("counter", "requests", {"region": "eu"}, 4),
        ("counter", "requests", {"region": "eu"}, 8),
    ]
    assert sink.arrivals == [(10.0, 1), (20.0, 1), (31.0, 1)]
    assert balanced(metrics.stats()).processed_events == 3


async def test_an_untouched_instrument_hands_on_nothing(autojump_clock: MockClock) -> None:
    """No point arrives, not even a zero, also for an instrument that is only created."""
    sink = TimedSink()
    async with collector(TEN, sinks=[sink]) as metrics:
        metrics.counter("never")
        metrics.gauge("never.either")
        metrics.histogram("nor.this")
        touched = [metrics.counter("a"), metrics.counter("b")]
        for one in touched:
            one.add()
        await trio.sleep(100)
    assert [plain(event) for event in sink.events] == [("counter", "a", {}, 1), ("counter", "b", {}, 1)]
    assert sink.arrivals == [(10.0, 2)]
    assert metrics.stats().total_events == 2
    assert metrics.stats().batch_count == 1


async def test_zero_is_data(autojump_clock: MockClock) -> None:
    """Adding, setting or observing 0 touches the instrument."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        metrics.counter("c").add(0)
        metrics.gauge("g").set(0)
        metrics.histogram("h", bounds=[1]).observe(0)
    assert [plain(event) for event in sink.events] == [
        ("counter", "c", {}, 0),
        ("gauge", "g", {}, 0),
        ("histogram", "h", {}, 1, 0, (1, 0)),
    ]


async def test_a_gauge_keeps_its_value_and_is_handed_on_when_touched(autojump_clock: MockClock) -> None:
    """Setting the same value again touches it."""
    sink = TimedSink()
    async with collector(TEN, sinks=[sink]) as metrics:
        gauge = metrics.gauge("queue")
        gauge.set(5)
        gauge.inc(2)
        gauge.dec()
        await trio.sleep(15)
        gauge.inc()
        await trio.sleep(20)
        gauge.set(7)
        gauge.dec(0.5)
        gauge.inc(0.5)
    assert [plain(event)[3] for event in sink.events] == [6, 7, 7]
    assert sink.times == [10.0, 20.0, 35.0]


async def test_a_gauge_starts_at_zero_and_may_go_below(autojump_clock: MockClock) -> None:
    """A gauge may go below zero, whatever it counts."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        metrics.gauge("balance").dec(3)
        metrics.gauge("other").set(-0.5)
    assert [plain(event)[3] for event in sink.events] == [-3, -0.5]


async def test_track_counts_what_is_in_flight_however_the_block_ends(autojump_clock: MockClock) -> None:
    """It adds one inside, and subtracts it after a return, an exception or a cancellation."""
    sink = TimedSink()
    async with collector(TEN, sinks=[sink]) as metrics:
        in_flight = metrics.gauge("in_flight")

        async def request() -> None:
            with in_flight.track():
                await trio.sleep_forever()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(request)
            nursery.start_soon(request)
            await trio.sleep(11)
            with in_flight.track(), in_flight.track():
                await trio.sleep(10)
            with pytest.raises(KeyError), in_flight.track():
                raise KeyError
            await trio.sleep(10)
            nursery.cancel_scope.cancel()
    assert [plain(event)[3] for event in sink.events] == [2, 4, 2, 0]


async def test_observations_are_handed_on_counted_by_bucket(autojump_clock: MockClock) -> None:
    """Counts aren't cumulative, there is one more than bounds, and a value equal to a bound is in its bucket."""
    sink = TimedSink()
    async with collector(TEN, sinks=[sink]) as metrics:
        sizes = metrics.histogram("size", labels={"a": "b"}, unit="By", bounds=[1, 2, 5])
        for value in (0, 1, 1.5, 2, 2.1, 5, 5.1, -1, 1e9):
            sizes.observe(value)
        await trio.sleep(11)
        sizes.observe(2)
        sizes.observe(2)
    first, second = sink.events
    assert isinstance(first, HistogramPoint)
    assert (first.name, first.labels, first.bounds) == ("size", {"a": "b"}, (1.0, 2.0, 5.0))
    assert (first.count, first.counts) == (9, (3, 2, 2, 2))
    assert first.sum == sum((0, 1, 1.5, 2, 2.1, 5, 5.1, -1, 1e9))
    assert plain(second) == ("histogram", "size", {"a": "b"}, 2, 4, (0, 2, 0, 0))


@settings(deadline=None)
@given(
    bounds=st.lists(st.floats(-100, 100), min_size=1, max_size=6, unique=True).map(sorted),
    rounds=st.lists(st.lists(st.floats(-200, 200), max_size=12), min_size=1, max_size=3),
    data=st.data(),
)
def test_bucket_counts_agree_with_an_independent_count(
    bounds: list[float], rounds: list[list[float]], data: st.DataObject
) -> None:
    """Arbitrary values are tried, bounds themselves included, over any number of collections."""
    observed = [values + data.draw(st.lists(st.sampled_from(bounds), max_size=4)) for values in rounds]

    async def main() -> list[MetricEvent]:
        sink = RecordingSink()
        async with collector(TEN, sinks=[sink]) as metrics:
            histogram = metrics.histogram("h", bounds=bounds)
            await trio.sleep(5)  # between two collections
            for values in observed:
                for value in values:
                    histogram.observe(value)
                await trio.sleep(10)
        return sink.events

    points = trio.run(main, clock=MockClock(autojump_threshold=0))
    touched = [values for values in observed if values]
    assert len(points) == len(touched)
    for point, values in zip(points, touched, strict=True):
        assert isinstance(point, HistogramPoint)
        edges = [-math.inf, *bounds, math.inf]
        expected = [sum(low < value <= high for value in values) for low, high in pairwise(edges)]
        assert list(point.counts) == expected
        assert point.count == len(values)
        assert point.sum == pytest.approx(math.fsum(values), abs=1e-9)
        assert point.bounds == tuple(bounds)


async def test_a_timer_observes_seconds_by_trios_clock_however_the_block_ends(autojump_clock: MockClock) -> None:
    """It observes after a return and after an exception."""
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(flush_interval=100), sinks=[sink]) as metrics:
        duration = metrics.histogram("duration", unit="s", bounds=[1, 2, 4])
        with duration.time():
            await trio.sleep(1.5)

        async def fail() -> None:
            with duration.time():
                await trio.sleep(2.0)
                raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            await fail()
        with trio.move_on_after(3), duration.time():
            await trio.sleep_forever()
    assert [plain(event) for event in sink.events] == [("histogram", "duration", {}, 3, 6.5, (0, 2, 1, 0))]


async def test_durations_may_be_timedeltas_where_the_unit_is_seconds(autojump_clock: MockClock) -> None:
    """They count as float seconds; in another unit they are invalid."""
    sink = RecordingSink()
    span: Any = timedelta(milliseconds=1500)
    async with collector(sinks=[sink]) as metrics:
        metrics.histogram("h", unit="s", bounds=[1]).observe(span)
        metrics.counter("c", unit="s").add(span)
        metrics.gauge("g", unit="s").set(span)
        metrics.histogram("h.ms", unit="ms").observe(span)
        metrics.counter("c.ms", unit="ms").add(span)
    assert [plain(event)[3:] for event in sink.events] == [(1, 1.5, (0, 1)), (1.5,), (1.5,)]
    assert metrics.stats().dropped == {"invalid": 2}


async def test_updates_never_checkpoint(autojump_clock: MockClock) -> None:
    """Updates never checkpoint, just like recorders."""
    async with collector(sinks=[]) as metrics:
        with trio.testing.assert_no_checkpoints():
            metrics.counter("c").add()
            metrics.gauge("g").set(1)
            with metrics.gauge("g").track():
                metrics.histogram("h").observe(1)
