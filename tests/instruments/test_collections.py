"""A collection loses nothing, and its points neither take room in the buffer nor are evicted from it."""

import math
from typing import Any, Literal

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.fakes import GatedSink, TimedSink, numbered, numbers
from tests.helpers import balanced, report_balanced
from tests.instruments.points import TEN, plain
from trio_batchmetrics import BatchMetricsConfig, CacheMetric, Counter, collector
from trio_batchmetrics.testing import RecordingSink


@settings(deadline=None)
@given(st.lists(st.none() | st.integers(0, 2**70) | st.sampled_from([-1, True, math.nan, "x"]), max_size=20))
def test_nothing_added_is_lost_between_collections(steps: list[Any]) -> None:
    """The points add up to the valid values, the others are counted, and a flush counts the points it collects."""
    good = [step for step in steps if type(step) is int and step >= 0]
    bad = sum(step is not None for step in steps) - len(good)

    async def main() -> None:
        sink = RecordingSink()
        async with collector(sinks=[sink]) as metrics:
            counter = metrics.counter("c")
            touched = False
            for step in steps:
                if step is None:  # a flush
                    report_balanced(await metrics.flush(), int(touched))
                    touched = False
                else:
                    counter.add(step)
                    touched |= type(step) is int and step >= 0
        assert sum(event.value for event in sink.events if isinstance(event, Counter)) == sum(good)
        assert balanced(metrics.stats()).dropped == ({"invalid": bad} if bad else {})
        assert metrics.stats().processed_events == len(sink.events)

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_instruments_are_collected_at_a_flush_and_at_the_end(autojump_clock: MockClock) -> None:
    """The flush reports their points as part of its sum."""
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


async def test_points_take_no_room_in_the_buffer_and_are_never_evicted(autojump_clock: MockClock) -> None:
    """Under either policy, a buffer that recorders find full was filled by recorders."""
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


async def test_points_that_the_flush_task_has_taken_are_never_evicted(autojump_clock: MockClock) -> None:
    """Behind a stuck sink, the oldest event makes room, not an older point."""
    sink = GatedSink()
    config = BatchMetricsConfig(on_full="drop_oldest", batch_size=2, buffer_size=2, flush_interval=10)
    async with collector(config, sinks=[sink]) as metrics:
        for number in (1, 2, 3, 4):  # 1 and 2 in flight, 3 and 4 in the sink's queue
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
    """A sink that is down costs a bounded number of points, and none of the added values."""
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
        # One is in flight, one in the sink's queue, and one waits for room there.
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


async def test_a_point_has_the_wall_clock_time_of_its_collection(autojump_clock: MockClock) -> None:
    """The timestamp is an int of nanoseconds, and never earlier than that of an earlier collection."""
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
