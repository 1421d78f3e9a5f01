"""Bound instruments: one object a name and label set, aggregated in place, collected every flush interval."""

import logging
import math
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any, Literal

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.bad_values import EVIL, NOT_COUNTS, NOT_DURATIONS, NOT_VALUES, RaisingMapping, shown
from tests.fakes import GatedSink, TimedSink, numbered, numbers
from tests.helpers import balanced, report_balanced
from tests.threads import restless
from trio_batchmetrics import (
    BatchMetricsCollector,
    BatchMetricsConfig,
    BoundCounter,
    BoundGauge,
    BoundHistogram,
    CacheMetric,
    Counter,
    Gauge,
    HistogramPoint,
    MetricEvent,
    collector,
)
from trio_batchmetrics.testing import RecordingSink, StuckSink

TEN = BatchMetricsConfig(flush_interval=10)


def plain(event: MetricEvent) -> tuple[object, ...]:
    """Return what an event says, without its timestamp."""
    if isinstance(event, HistogramPoint):
        return ("histogram", event.name, event.labels, event.count, event.sum, event.counts)
    assert isinstance(event, Counter | Gauge)
    return (type(event).__name__.lower(), event.name, event.labels, event.value)


# -- collecting


async def test_additions_are_handed_on_as_one_event_each_flush_interval(autojump_clock: MockClock) -> None:
    """At the interval exactly; a counter's points hold what came since the last collection."""
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


async def test_what_was_not_touched_hands_on_nothing(autojump_clock: MockClock) -> None:
    """Not even a zero; an instrument that is only made is untouched."""
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
    """To add, set or observe 0 is to touch."""
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
    """Whatever it counts."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        metrics.gauge("balance").dec(3)
        metrics.gauge("other").set(-0.5)
    assert [plain(event)[3] for event in sink.events] == [-3, -0.5]


async def test_track_counts_what_is_in_flight_however_the_block_ends(autojump_clock: MockClock) -> None:
    """One more inside, one less after a return, an exception, or a cancellation."""
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
    """Not cumulative; one count more than bounds; a value equal to a bound belongs to that bound's bucket."""
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
    """Whatever is observed, bounds themselves included, over any number of collections."""
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


@settings(deadline=None)
@given(st.lists(st.none() | st.integers(0, 2**70) | st.sampled_from([-1, True, math.nan, "x"]), max_size=20))
def test_nothing_added_is_lost_between_collections(steps: list[Any]) -> None:
    """The points' sum is the sum of what was valid; what was not is counted; a flush counts what it collects."""
    good = [step for step in steps if type(step) is int and step >= 0]
    bad = sum(step is not None for step in steps) - len(good)

    async def main() -> None:
        sink = RecordingSink()
        async with collector(sinks=[sink]) as metrics:
            counter = metrics.counter("c")
            touched = False
            for step in steps:
                if step is None:  # flush
                    report_balanced(await metrics.flush(), int(touched))
                    touched = False
                else:
                    counter.add(step)
                    touched |= type(step) is int and step >= 0
        assert sum(event.value for event in sink.events if isinstance(event, Counter)) == sum(good)
        assert balanced(metrics.stats()).dropped == ({"invalid": bad} if bad else {})
        assert metrics.stats().processed_events == len(sink.events)

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_a_timer_observes_seconds_by_trios_clock_however_the_block_ends(autojump_clock: MockClock) -> None:
    """After a return and after an exception."""
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


async def test_instruments_are_collected_at_a_flush_and_at_the_end(autojump_clock: MockClock) -> None:
    """And the flush reports their points as part of its sum."""
    sink = TimedSink()
    async with collector(TEN, sinks=[sink]) as metrics:
        counter, gauge = metrics.counter("c"), metrics.gauge("g")
        counter.add()
        gauge.set(3)
        metrics.record(numbered(1))
        await trio.sleep(4)
        report = await metrics.flush()
        assert (report.processed, report.ok) == (3, True)
        counter.add(2)
        await trio.sleep(1)
    assert set(sink.times) == {4.0, 5.0}
    assert numbers(sink.events) == [1]
    assert [plain(event)[3] for event in sink.events if not isinstance(event, CacheMetric)] == [1, 3, 2]
    assert balanced(metrics.stats()).processed_events == 4


async def test_a_point_counts_as_one_event_from_the_moment_a_collection_takes_it(autojump_clock: MockClock) -> None:
    """Before that there is nothing to count, however often the instrument was updated."""
    async with collector(TEN, sinks=[GatedSink()]) as metrics:
        counter = metrics.counter("c")
        other = metrics.histogram("h")
        for _ in range(100):
            counter.add()
            other.observe(1)
        assert metrics.stats().total_events == 0
        await trio.sleep(11)
        assert (metrics.stats().total_events, metrics.stats().pending_events) == (2, 2)
        balanced(metrics.stats())
    assert metrics.stats().failed_events == 2


async def test_points_take_no_room_in_the_buffer_and_are_never_pushed_out(autojump_clock: MockClock) -> None:
    """Under either policy: what recorders find full was filled by recorders."""
    policies: list[Literal["drop_newest", "drop_oldest"]] = ["drop_newest", "drop_oldest"]
    for policy in policies:
        sink = RecordingSink()
        config = BatchMetricsConfig(on_full=policy, buffer_size=2, flush_interval=10)
        async with collector(config, sinks=[sink]) as metrics:
            for number in range(5):
                metrics.counter("c", labels={"n": number}).add(number)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(metrics.flush)
                await trio.testing.wait_all_tasks_blocked()
            for number in range(5):
                metrics.counter("c", labels={"n": number}).add(number)
            metrics.record(numbered(1))
            metrics.record(numbered(2))
            metrics.record(numbered(3))
        assert metrics.stats().dropped == {"buffer_full": 1}
        assert numbers(sink.events) == ([1, 2] if policy == "drop_newest" else [2, 3])
        assert sum(event.value for event in sink.events if isinstance(event, Counter)) == 20
        assert balanced(metrics.stats()).processed_events == 12


async def test_points_in_the_flush_tasks_hand_are_never_pushed_out(autojump_clock: MockClock) -> None:
    """Behind a sink that is stuck, the oldest event makes room, not an older point."""
    sink = GatedSink()
    config = BatchMetricsConfig(on_full="drop_oldest", batch_size=2, buffer_size=2, flush_interval=10)
    async with collector(config, sinks=[sink]) as metrics:
        for number in (1, 2, 3, 4):  # 1 and 2 under way, 3 and 4 in the sink's queue
            metrics.record(numbered(number))
            await trio.testing.wait_all_tasks_blocked()
        metrics.counter("c").add(7)
        with trio.move_on_after(1):
            await metrics.flush()  # the point waits for room in the queue
        for number in (5, 6, 7):
            metrics.record(numbered(number))
            await trio.testing.wait_all_tasks_blocked()
        assert balanced(metrics.stats()).dropped == {"buffer_full": 1}
        sink.gate.set()
    assert numbers(sink.events) == [1, 2, 3, 4, 6, 7]
    assert [event.value for event in sink.events if isinstance(event, Counter)] == [7]


async def test_collection_is_skipped_while_points_wait_for_the_flush_task(autojump_clock: MockClock) -> None:
    """A sink that is down costs a bounded number of points, and nothing that was added."""
    sink = GatedSink()
    config = BatchMetricsConfig(flush_interval=10, buffer_size=1, shutdown_timeout=1000)
    async with collector(config, sinks=[sink]) as metrics:
        counter = metrics.counter("c")
        seen: list[int] = []
        await trio.sleep(5)  # between two collections
        for _ in range(20):
            counter.add()
            await trio.sleep(10)
            seen.append(metrics.stats().total_events)
        # one under way, one in the sink's queue, one that waits for it to have room
        assert seen == [1, 2, *([3] * 18)]
        sink.gate.set()
    assert [event.value for event in sink.events if isinstance(event, Counter)] == [1, 1, 1, 17]
    assert balanced(metrics.stats()).failed_events == 0


async def test_points_come_after_what_was_recorded_before_them(autojump_clock: MockClock) -> None:
    """The open batch leaves with them, not after them."""
    sink = TimedSink()
    async with collector(TEN, sinks=[sink]) as metrics:
        metrics.counter("c").add()
        await trio.sleep(9)
        metrics.record(numbered(1))
        metrics.record(numbered(2))
        await trio.sleep(2)
        assert numbers(sink.events) == [1, 2]
        assert isinstance(sink.events[-1], Counter)
        assert set(sink.times) == {10.0}


async def test_a_point_bears_the_wall_clock_of_its_collection(autojump_clock: MockClock) -> None:
    """An int of nanoseconds, never before that of what was collected earlier."""
    sink = RecordingSink()
    async with collector(TEN, sinks=[sink]) as metrics:
        counter = metrics.counter("c")
        await trio.sleep(5)
        for _ in range(2):
            counter.add()
            await trio.sleep(10)
    first, second = (event.timestamp for event in sink.events)
    assert type(first) is int
    assert first <= second


# -- which object


async def test_the_same_name_labels_and_unit_give_the_same_object(autojump_clock: MockClock) -> None:
    """Whatever the order of the labels; none is the same as empty."""
    async with collector(sinks=[]) as metrics:
        one = metrics.counter("c", labels={"a": "1", "b": "2"}, unit="By")
        assert metrics.counter("c", labels={"b": "2", "a": "1"}, unit="By") is one
        assert metrics.counter("c", labels={"a": "1", "b": "2"}, unit="By", description="Later.") is one
        assert metrics.gauge("g") is metrics.gauge("g", labels={})
        histogram = metrics.histogram("h", bounds=[1, 2])
        assert metrics.histogram("h", bounds=(1.0, 2.0)) is histogram
        assert metrics.histogram("h") is histogram


async def test_other_labels_give_another_object_of_the_same_instrument(autojump_clock: MockClock) -> None:
    """Each with its own sum."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        one, other = metrics.counter("c", labels={"a": "1"}), metrics.counter("c", labels={"a": "2"})
        assert one is not other
        assert metrics.counter("c") is not one
        one.add(1)
        other.add(2)
    assert sorted(map(plain, sink.events), key=str) == [
        ("counter", "c", {"a": "1"}, 1),
        ("counter", "c", {"a": "2"}, 2),
    ]


async def test_label_values_are_the_same_if_they_are_equal_and_of_one_type(autojump_clock: MockClock) -> None:
    """1, 1.0, True and "1" are four, though most of them are equal to Python; each has its own sum."""
    sink = RecordingSink()
    values: list[Any] = [1, 1.0, True, "1"]
    async with collector(sinks=[sink]) as metrics:
        made = [metrics.counter("c", labels={"a": value}) for value in values]
        assert len({id(one) for one in made}) == 4
        for number, value in enumerate(values, start=1):
            assert metrics.counter("c", labels={"a": value}) is made[number - 1]
            metrics.counter("c", labels={"a": value}).add(number)
        assert metrics.counter("c", labels={"a": -0.0}) is metrics.counter("c", labels={"a": 0.0})
        assert metrics.counter("c", labels={"a": math.nan}) is metrics.counter("c", labels={"a": float("nan")})
    added = [(event.labels["a"], event.value) for event in sink.events if isinstance(event, Counter)]
    assert [(type(value), value, total) for value, total in added] == [
        (int, 1, 1),
        (float, 1.0, 2),
        (bool, True, 3),
        (str, "1", 4),
    ]


# Deviation reported: `None is left out` (spec §3), so these are one series, but two objects.
async def test_a_label_whose_value_is_none_is_no_label(autojump_clock: MockClock) -> None:
    """It is left out wherever labels become text, so two objects would be one series."""
    async with collector(sinks=[]) as metrics:
        assert metrics.gauge("g", labels={"a": None}) is metrics.gauge("g")


async def test_an_instruments_labels_are_captured_by_value(autojump_clock: MockClock) -> None:
    """What becomes of the caller's dict afterwards does not matter."""
    sink = RecordingSink()
    labels = {"region": "eu"}
    async with collector(sinks=[sink]) as metrics:
        counter = metrics.counter("c", labels=labels)
        labels["region"] = "us"
        counter.add()
        assert counter.labels == {"region": "eu"}
        assert metrics.counter("c", labels={"region": "eu"}) is counter
    assert [plain(event) for event in sink.events] == [("counter", "c", {"region": "eu"}, 1)]


Maker = Callable[[BatchMetricsCollector, str, str], object]

MAKERS: dict[str, Maker] = {
    "counter": lambda metrics, name, unit: metrics.counter(name, unit=unit),
    "gauge": lambda metrics, name, unit: metrics.gauge(name, unit=unit),
    "histogram": lambda metrics, name, unit: metrics.histogram(name, unit=unit),
    "observable": lambda metrics, name, unit: metrics.observable_gauge(name, lambda: 1, labels={"o": 1}, unit=unit),
}


@pytest.mark.parametrize("first", MAKERS)
@pytest.mark.parametrize("second", MAKERS)
async def test_a_name_belongs_to_one_kind_and_unit(first: str, second: str, autojump_clock: MockClock) -> None:
    """Anything else is an error that names both, and leaves the first as it was."""
    async with collector(sinks=[]) as metrics:
        MAKERS[first](metrics, "size", "By")
        same_kind = {first, second} <= {"gauge", "observable"} or first == second
        if not same_kind:
            with pytest.raises(ValueError, match=r"'size' is a .* in 'By' already"):
                MAKERS[second](metrics, "size", "By")
        with pytest.raises(ValueError, match=r"'size' is a .* in 'By' already .* in 'ms'\)"):
            MAKERS[second](metrics, "size", "ms")
        MAKERS[second](metrics, "other", "ms")
        if first != "observable":
            MAKERS[first](metrics, "size", "By")


async def test_two_collectors_share_no_instruments(autojump_clock: MockClock) -> None:
    """There is no global state."""
    async with collector(sinks=[]) as one, collector(sinks=[]) as other:
        assert one.counter("c") is not other.counter("c")
        other.gauge("only here")
        one.histogram("only here")


async def test_what_is_no_name_unit_or_label_set_is_an_error_at_once(autojump_clock: MockClock) -> None:
    """Declaring is not recording: mistakes are to be seen; none of them leaves something behind."""
    async with collector(sinks=[]) as metrics:
        nothing: Any = None
        names: list[Any] = ["", None, 3]
        for name in names:
            with pytest.raises(ValueError, match=r"name must be a non-empty str \(got "):
                metrics.counter(name)
        with pytest.raises(ValueError, match="unit and description must be str"):
            metrics.gauge("g", unit=nothing)
        with pytest.raises(ValueError, match="unit and description must be str"):
            metrics.gauge("g", description=nothing)
        label_sets: list[Any] = ["a=b", [("a", "b")], RaisingMapping()]
        for labels in label_sets:
            with pytest.raises(ValueError, match="labels must be a mapping"):
                metrics.gauge("g", labels=labels)
        with pytest.raises(ValueError, match="bounds must be finite numbers, strictly increasing"):
            metrics.histogram("g", bounds=[2, 1])
        with pytest.raises(ValueError, match="callback must be callable"):
            metrics.observable_gauge("g", nothing)
        metrics.counter("g", unit="By")


# -- bounds


async def test_bounds_are_the_configurations_else_the_calls_else_those_that_suit_the_unit(
    autojump_clock: MockClock,
) -> None:
    """In this order."""
    config = BatchMetricsConfig(bounds={"configured": [7]})
    async with collector(config, sinks=[]) as metrics:
        assert metrics.histogram("configured", bounds=[1, 2]).bounds == (7.0,)
        assert metrics.histogram("own", bounds=[1, 2]).bounds == (1.0, 2.0)
        assert metrics.histogram("seconds", unit="s").bounds == (
            *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10),
        )
        assert metrics.histogram("other", unit="ms").bounds == (
            *(0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000),
        )


async def test_a_name_has_one_set_of_bounds(autojump_clock: MockClock) -> None:
    """Buckets of one instrument must add up across label sets."""
    async with collector(sinks=[]) as metrics:
        one = metrics.histogram("h", labels={"a": "1"}, bounds=[1, 2])
        with pytest.raises(ValueError, match="'h' has other bounds already"):
            metrics.histogram("h", labels={"a": "2"}, bounds=[1, 3])
        assert metrics.histogram("h", labels={"a": "3"}).bounds == one.bounds


# -- observable gauges


async def test_a_callback_is_read_at_each_collection_and_only_then(autojump_clock: MockClock) -> None:
    """At the interval and at a flush; never after the body has ended."""
    sink = TimedSink()
    reads: list[float] = []

    def read() -> float:
        reads.append(trio.current_time())
        return len(reads)

    async with collector(TEN, sinks=[sink]) as metrics:
        metrics.observable_gauge("depth", read, labels={"queue": "in"})
        await trio.sleep(25)
        assert reads == [10.0, 20.0]
        await metrics.flush()
    assert reads == [10.0, 20.0, 25.0]
    assert [plain(event) for event in sink.events] == [
        ("gauge", "depth", {"queue": "in"}, value) for value in (1, 2, 3)
    ]
    await trio.sleep(100)
    assert len(reads) == 3


async def test_nothing_is_collected_once_the_block_is_being_left(autojump_clock: MockClock) -> None:
    """Not by the interval while the last flush goes on, nor by a flush() after it."""
    reads: list[float] = []

    def read() -> float:
        reads.append(trio.current_time())
        return 1

    config = BatchMetricsConfig(flush_interval=10, shutdown_timeout=100)
    async with collector(config, sinks=[StuckSink()]) as metrics:
        metrics.observable_gauge("one", read)
        metrics.counter("c").add()
        await trio.sleep(1)
    with trio.fail_after(1):
        await metrics.flush()
    assert reads == []
    stats = balanced(metrics.stats())
    assert (stats.total_events, stats.failed_events) == (1, 1)


async def test_a_collection_that_comes_late_does_not_delay_the_next(autojump_clock: MockClock) -> None:
    """Here each takes 3 s of every 10: they stay 10 s apart."""
    reads: list[float] = []

    def read() -> float:
        reads.append(trio.current_time())
        autojump_clock.jump(3)
        return 1

    async with collector(TEN, sinks=[]) as metrics:
        metrics.observable_gauge("g", read)
        await trio.sleep(45)
        assert reads == [10.0, 20.0, 30.0, 40.0]


async def test_a_callback_that_raises_is_logged_and_skipped(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are read, and nothing is counted for it."""
    sink = RecordingSink()
    calls = [0]

    def broken() -> float:
        calls[0] += 1
        if calls[0] == 1:
            raise RuntimeError("sensor is gone")
        return 5

    async with collector(TEN, sinks=[sink]) as metrics:
        metrics.observable_gauge("broken", broken)
        metrics.observable_gauge("fine", lambda: 1)
        metrics.counter("c").add()
        await trio.sleep(11)
        assert sorted(str(plain(event)[1]) for event in sink.events) == ["c", "fine"]
        (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert record.name == "trio_batchmetrics"
        assert "'broken'" in record.getMessage()
        assert "sensor is gone" in record.getMessage()
        await trio.sleep(10)
    assert ("gauge", "broken", {}, 5) in [plain(event) for event in sink.events]
    assert balanced(metrics.stats()).dropped_events == 0


@pytest.mark.parametrize("value", NOT_VALUES, ids=shown)
async def test_a_callback_that_returns_no_number_counts_as_invalid(value: Any, autojump_clock: MockClock) -> None:
    """Once a collection; the others are read."""
    sink = RecordingSink()
    async with collector(TEN, sinks=[sink]) as metrics:
        metrics.observable_gauge("bad", lambda: value)
        metrics.observable_gauge("fine", lambda: 1)
        await trio.sleep(11)
        await metrics.flush()
        assert metrics.stats().dropped == {"invalid": 2}
        assert metrics.stats().processed_events == 2
    assert {plain(event)[1] for event in sink.events} == {"fine"}


async def test_the_same_observable_gauge_twice_is_an_error(autojump_clock: MockClock) -> None:
    """Which of the two would be read?"""
    async with collector(sinks=[]) as metrics:
        metrics.observable_gauge("g", lambda: 1, labels={"a": "1"})
        metrics.observable_gauge("g", lambda: 1, labels={"a": "2"})
        with pytest.raises(ValueError, match="'g' with these labels is observed already"):
            metrics.observable_gauge("g", lambda: 2, labels={"a": "1"})


async def test_a_callback_may_record_and_update(autojump_clock: MockClock) -> None:
    """It runs in the application's thread, in the middle of a collection; nothing is lost."""
    sink = RecordingSink()
    async with collector(TEN, sinks=[sink]) as metrics:
        counter = metrics.counter("reads")

        def read() -> float:
            metrics.record(numbered(1))
            counter.add()
            metrics.counter(f"new.{len(sink.events)}").add()
            return 1

        metrics.observable_gauge("g", read)
        await trio.sleep(11)
        await metrics.flush()
        await metrics.flush()
    events = [event for event in sink.events if isinstance(event, Counter)]
    reads = sum(isinstance(event, Gauge) for event in sink.events)
    assert reads == 3
    # The last collection, at the end, takes what the last callback added.
    assert sum(event.value for event in events if event.name == "reads") == reads
    balanced(metrics.stats())


# -- values that are not taken


Update = Callable[[BatchMetricsCollector, Any], object]

UPDATES: dict[str, tuple[Update, list[Any]]] = {
    "counter.add": (lambda metrics, value: metrics.counter("c").add(value), NOT_COUNTS),
    "gauge.set": (lambda metrics, value: metrics.gauge("g").set(value), NOT_VALUES),
    "gauge.inc": (lambda metrics, value: metrics.gauge("g").inc(value), NOT_VALUES),
    "gauge.dec": (lambda metrics, value: metrics.gauge("g").dec(value), NOT_VALUES),
    "histogram.observe": (lambda metrics, value: metrics.histogram("h").observe(value), NOT_VALUES),
    "timer.observe": (lambda metrics, value: metrics.histogram("t", unit="s").observe(value), NOT_DURATIONS),
}


@pytest.mark.parametrize("update", UPDATES)
async def test_a_bad_value_counts_as_one_invalid_event_and_leaves_the_sum_alone(
    update: str, autojump_clock: MockClock
) -> None:
    """Each of them, at once, and never raises."""
    call, bad = UPDATES[update]
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        call(metrics, 2)
        for count, value in enumerate(bad, start=1):
            call(metrics, value)
            assert metrics.stats().dropped == {"invalid": count}
        call(metrics, 3)
        assert balanced(metrics.stats()).total_events == len(bad)
    (event,) = sink.events
    value = event.sum if isinstance(event, HistogramPoint) else plain(event)[3]
    assert value == {"gauge.set": 3, "gauge.dec": -5}.get(update, 5)
    if isinstance(event, HistogramPoint):
        assert event.count == 2


async def test_only_bad_values_leave_an_instrument_untouched(autojump_clock: MockClock) -> None:
    """It hands on nothing."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        for call, bad in UPDATES.values():
            call(metrics, bad[0])
    assert sink.events == []
    assert metrics.stats().dropped == {"invalid": len(UPDATES)}


# Deviation reported: the value's own exception leaves the update.
@pytest.mark.parametrize("make", EVIL, ids=["int", "float", "class"])
@pytest.mark.parametrize("update", UPDATES)
async def test_a_value_that_raises_when_it_is_looked_at_counts_as_invalid(
    update: str, make: Callable[[], Any], autojump_clock: MockClock
) -> None:
    """An update never raises for a bad value."""
    async with collector(sinks=[]) as metrics:
        UPDATES[update][0](metrics, make())
        assert metrics.stats().dropped == {"invalid": 1}


# Deviation reported: the sum becomes infinite, the point invalid, and with it all that was added before.
async def test_a_sum_that_no_float_can_hold_loses_only_what_made_it_so(autojump_clock: MockClock) -> None:
    """Values that are valid one by one; what cannot be added is a bad value and leaves the sum alone."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        counter, histogram, gauge = metrics.counter("c"), metrics.histogram("h", bounds=[1]), metrics.gauge("g")
        for update in (counter.add, histogram.observe, gauge.inc):
            update(1e308)
            update(1e308)
    assert metrics.stats().dropped == {"invalid": 3}
    assert len(sink.events) == 3
    assert sorted(map(plain, sink.events), key=str) == [
        ("counter", "c", {}, 1e308),
        ("gauge", "g", {}, 1e308),
        ("histogram", "h", {}, 1, 1e308, (0, 1)),
    ]


# -- after the block, off the thread, disabled


async def test_after_the_block_an_update_counts_as_one_closed_event(autojump_clock: MockClock) -> None:
    """A bad value too; nothing raises, nothing arrives."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        counter, gauge, histogram = metrics.counter("c"), metrics.gauge("g"), metrics.histogram("h", unit="s")
        counter.add()
    bad: Any = None
    for update in (counter.add, gauge.set, gauge.inc, gauge.dec, histogram.observe):
        update(1)
        update(bad)
    assert metrics.stats().dropped == {"closed": 10}
    with gauge.track():
        pass
    with histogram.time():
        await trio.sleep(1)
    assert metrics.stats().dropped == {"closed": 13}
    metrics.counter("late").add()
    metrics.observable_gauge("late.too", lambda: 1)
    assert balanced(metrics.stats()).dropped == {"closed": 14}
    assert len(sink.events) == 1


# Deviation reported: `.time()` asks for Trio's clock, and there is none any more: RuntimeError.
def test_after_the_run_a_timer_counts_as_closed_and_raises_nothing() -> None:
    """As every other update after the block."""

    async def main() -> tuple[BatchMetricsCollector, BoundHistogram, BoundCounter]:
        async with collector(sinks=[]) as metrics:
            return metrics, metrics.histogram("h", unit="s"), metrics.counter("c")

    metrics, histogram, counter = trio.run(main)
    counter.add()
    assert metrics.stats().dropped == {"closed": 1}
    with histogram.time():
        pass
    assert metrics.stats().dropped == {"closed": 2}


async def test_updates_from_many_threads_all_count() -> None:
    """Without a lock, switching threads as often as can be, while the Trio thread updates and collects too."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        counter, gauge, histogram = metrics.counter("c"), metrics.gauge("g"), metrics.histogram("h", bounds=[1, 2])

        def update(times: int) -> None:
            for _ in range(times):
                counter.add()
                counter.add(0.5)
                gauge.inc(2)
                gauge.dec()
                histogram.observe(1.5)
                histogram.observe(3)

        async def in_a_thread() -> None:
            await trio.to_thread.run_sync(update, 5000)

        with restless():
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(in_a_thread)
                for _ in range(50):
                    update(10)
                    await metrics.flush()
    times = 4 * 5000 + 50 * 10
    counters = [event.value for event in sink.events if isinstance(event, Counter)]
    gauges = [event.value for event in sink.events if isinstance(event, Gauge)]
    points = [event for event in sink.events if isinstance(event, HistogramPoint)]
    assert sum(counters) == 1.5 * times
    assert gauges[-1] == times
    assert [sum(column) for column in zip(*(point.counts for point in points), strict=True)] == [0, times, times]
    assert sum(point.sum for point in points) == 4.5 * times


async def test_an_update_after_the_body_counts_as_closed(autojump_clock: MockClock) -> None:
    """Also while the last flush goes on: no collection comes after it, so it is counted, and not lost."""
    async with trio.open_nursery() as nursery:
        async with collector(BatchMetricsConfig(shutdown_timeout=10), sinks=[StuckSink()]) as metrics:
            counter = metrics.counter("c")
            counter.add()

            async def update_later() -> None:
                await trio.sleep(5)
                counter.add()
                metrics.counter("late").add()

            nursery.start_soon(update_later)
    stats = balanced(metrics.stats())
    assert (stats.failed_events, stats.dropped) == (1, {"closed": 2})


async def test_an_update_that_is_overtaken_by_the_end_of_the_block_counts_as_closed(autojump_clock: MockClock) -> None:
    """As where another thread is in the middle of one when the block is left."""
    async with collector(sinks=[]) as metrics:
        instruments: list[Any] = [metrics.counter("c"), metrics.gauge("g"), metrics.histogram("h")]

        class Overtaken(float):
            """Looked at for as long as it takes to leave."""

            def __float__(self) -> float:
                instruments[0].close()
                return 1.0

        for update in ("add", "set", "observe"):
            getattr(instruments[0], update)(Overtaken(1))
            instruments.pop(0)
        await metrics.flush()
        assert balanced(metrics.stats()).dropped == {"closed": 3}
    assert metrics.stats().processed_events == 0


async def test_a_disabled_collectors_instruments_do_nothing(autojump_clock: MockClock) -> None:
    """Nothing is counted, no callback is read."""
    sink = RecordingSink()
    reads: list[int] = []
    bad: Any = None
    async with collector(BatchMetricsConfig(enabled=False), sinks=[sink]) as metrics:

        def read() -> float:
            reads.append(1)
            return 1

        metrics.observable_gauge("o", read)
        counter, gauge, histogram = metrics.counter("c"), metrics.gauge("g"), metrics.histogram("h", unit="s")
        for update in (counter.add, gauge.set, gauge.inc, gauge.dec, histogram.observe):
            update(1)
            update(bad)
        with gauge.track(), histogram.time():
            await trio.sleep(20)
        await metrics.flush()
    counter.add()
    assert metrics.stats().total_events == 0
    assert sink.events == []
    assert reads == []


# Deviation reported: a disabled collector's timer asks for Trio's clock all the same.
def test_a_disabled_collectors_timer_does_nothing_anywhere() -> None:
    """`enabled=False`: every call is accepted and does nothing."""

    async def main() -> BoundHistogram:
        async with collector(BatchMetricsConfig(enabled=False), sinks=[]) as metrics:
            return metrics.histogram("h", unit="s")

    histogram = trio.run(main)
    with histogram.time():
        pass


# -- max_series


@pytest.mark.parametrize("kind", ["counter", "gauge", "histogram"])
async def test_label_sets_beyond_max_series_share_one_series(kind: str, autojump_clock: MockClock) -> None:
    """Labelled as OpenTelemetry has it; those that were there first keep their own, and other instruments theirs."""
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(max_series=3), sinks=[sink]) as metrics:

        def make(number: int) -> BoundCounter | BoundGauge | BoundHistogram:
            instrument: BoundCounter | BoundGauge | BoundHistogram = getattr(metrics, kind)("x", labels={"n": number})
            return instrument

        def update(instrument: BoundCounter | BoundGauge | BoundHistogram) -> None:
            if isinstance(instrument, BoundCounter):
                instrument.add()
            elif isinstance(instrument, BoundGauge):
                instrument.inc()
            else:
                instrument.observe(1)

        made = [make(number) for number in range(6)]
        for instrument in made:
            update(instrument)
        assert len({id(instrument) for instrument in made}) == 4
        assert made[3] is made[4] is made[5]
        assert make(0) is made[0]
        assert make(99) is made[3]
        assert made[3].labels == {"otel.metric.overflow": "true"}
        assert metrics.counter("y", labels={"n": 1}).labels == {"n": 1}
    points = [(plain(event)[2], plain(event)[3]) for event in sink.events]
    assert points == [({"n": 0}, 1), ({"n": 1}, 1), ({"n": 2}, 1), ({"otel.metric.overflow": "true"}, 3)]


# -- the rest


async def test_an_instrument_prints_its_kind_name_and_labels(autojump_clock: MockClock) -> None:
    """For debugging."""
    async with collector(sinks=[]) as metrics:
        assert repr(metrics.counter("c", labels={"a": 1})) == "<BoundCounter 'c' {'a': 1}>"
        assert repr(metrics.gauge("g")) == "<BoundGauge 'g' {}>"
        assert repr(metrics.histogram("h")) == "<BoundHistogram 'h' {}>"


async def test_updates_are_no_checkpoints(autojump_clock: MockClock) -> None:
    """Like recorders."""
    async with collector(sinks=[]) as metrics:
        with trio.testing.assert_no_checkpoints():
            metrics.counter("c").add()
            metrics.gauge("g").set(1)
            with metrics.gauge("g").track():
                metrics.histogram("h").observe(1)


async def test_a_sum_of_huge_ints_stays_what_a_float_can_hold(autojump_clock: MockClock) -> None:
    """The value that would make it more is invalid; what was added before stays, and nothing raises."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        counter = metrics.counter("c")
        counter.add(5)
        counter.add(2**1023)
        counter.add(2**1023)
        counter.add(0.5)
    assert balanced(metrics.stats()).dropped == {"invalid": 1}
    (event,) = sink.events
    assert plain(event)[3] == 5 + 2**1023 + 0.5


async def test_a_collector_that_is_not_enabled_takes_instruments_from_any_thread() -> None:
    """Every call is accepted and does nothing."""
    async with collector(BatchMetricsConfig(enabled=False), sinks=[]) as metrics:
        await trio.to_thread.run_sync(lambda: metrics.counter("q").add())
        await trio.to_thread.run_sync(lambda: metrics.gauge("g").set(1))
    assert metrics.stats().total_events == 0
