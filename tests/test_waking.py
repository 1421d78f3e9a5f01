"""Recording from odd places: in another record, another thread, Trio's own code. No wake-up is lost, and no place."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Literal

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests import helpers
from tests.fakes import GatedSink, numbered, numbers
from tests.helpers import balanced, interrupted_at
from trio_batchmetrics import BatchMetricsConfig, CacheMetric, Counter, collector
from trio_batchmetrics._waking import Waker
from trio_batchmetrics.testing import RecordingSink

Policy = Literal["drop_newest", "drop_oldest"]


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
def test_what_is_recorded_in_the_middle_of_a_record_is_counted_at_once(policy: Policy) -> None:
    """At each place the books grow by one, to whoever looks inside the handler."""

    async def play(point: int) -> int:
        config = BatchMetricsConfig(batch_size=2, buffer_size=6, on_full=policy)
        async with collector(config, sinks=[RecordingSink()]) as metrics:

            def record_and_count() -> None:
                before = balanced(metrics.stats()).total_events
                metrics.record(numbered(99))
                assert balanced(metrics.stats()).total_events == before + 1

            metrics.record(numbered(1))
            with interrupted_at(point, record_and_count) as passed:
                metrics.record(numbered(2))  # fills a batch
        assert balanced(metrics.stats()).total_events == (3 if passed[0] > point else 2)
        return passed[0]

    point = 0
    while trio.run(play, point, clock=MockClock(autojump_threshold=0)) > point:
        point += 1
    assert point > 10


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


def test_a_thread_in_the_middle_of_a_record_does_not_cost_arecord_its_place() -> None:
    """A thread takes the last place; arecord does too, before the thread shuts the gate."""

    async def play(point: int) -> int:
        sink = RecordingSink()
        passed = [0]
        async with collector(BatchMetricsConfig(batch_size=5, buffer_size=2), sinks=[sink]) as metrics:
            metrics.record(numbered(1))
            recorder = metrics.from_thread()
            stopped = threading.Event()

            def stop() -> None:
                before = metrics.stats().total_events
                stopped.set()
                end = time.monotonic() + 0.1  # arecord cannot come that far where it waits for the lock before it
                while metrics.stats().total_events == before and time.monotonic() < end:
                    time.sleep(0.001)

            def record() -> None:
                nonlocal passed
                with interrupted_at(point, stop) as passed:
                    recorder.record(numbered(2))
                stopped.set()

            thread = threading.Thread(target=record)
            thread.start()
            assert stopped.wait(10)
            await metrics.arecord(numbered(3))  # it waits where the thread was first
            thread.join()
        assert {1, 3} <= set(numbers(sink.events))
        stats = balanced(metrics.stats())
        assert stats.total_events == 3 == len(sink.events) + stats.dropped.get("buffer_full", 0)
        return passed[0]

    point = 0
    while trio.run(play, point, clock=MockClock(autojump_threshold=0)) > point:
        point += 1
    assert point > 5


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
def test_a_thread_in_the_middle_of_a_record_when_the_block_is_left_leaves_nothing_pending(policy: Policy) -> None:
    """At each place: the event arrives, or counts as closed or as full."""

    async def play(point: int) -> int:
        sink = RecordingSink()
        left, stopped = threading.Event(), threading.Event()
        passed = [0]
        async with collector(BatchMetricsConfig(batch_size=9, buffer_size=1, on_full=policy), sinks=[sink]) as metrics:
            metrics.record(numbered(1))
            recorder = metrics.from_thread()

            def stop() -> None:
                stopped.set()
                left.wait(0.02)  # the block cannot be left meanwhile where the lock is held

            def record() -> None:
                nonlocal passed
                with interrupted_at(point, stop) as passed:
                    recorder.record(numbered(2))
                stopped.set()

            thread = threading.Thread(target=record)
            thread.start()
            assert stopped.wait(10)
        left.set()
        thread.join()
        stats = balanced(metrics.stats())
        assert (stats.total_events, stats.pending_events) == (2, 0)
        assert stats.processed_events == len(sink.events)
        return passed[0]

    point = 0
    while trio.run(play, point, clock=MockClock(autojump_threshold=0)) > point:
        point += 1
    assert point > 5


async def test_an_arecord_that_is_cancelled_once_it_has_recorded_returns(autojump_clock: MockClock) -> None:
    """Cancelled is what has recorded nothing, whatever the order of tasks."""
    returned = 0
    async with collector(sinks=[]) as metrics:
        for number in range(40):  # Trio shuffles the tasks of a round
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_cancel, scope)
                    await metrics.arecord(CacheMetric("redis", str(number)))
                    returned += 1
        assert balanced(metrics.stats()).total_events == returned


async def _cancel(scope: trio.CancelScope) -> None:
    scope.cancel()


async def test_a_task_of_another_run_in_another_thread_records_with_from_thread() -> None:
    """Its own run is not the one that must be woken."""
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(batch_size=1), sinks=[sink]) as metrics:
        recorder = metrics.from_thread()

        async def other() -> None:
            for number in (1, 2, 3):
                recorder.record(numbered(number))
                await trio.lowlevel.checkpoint()

        with trio.fail_after(10):
            await trio.to_thread.run_sync(trio.run, other)
            assert (await metrics.flush()).ok
    assert numbers(sink.events) == [1, 2, 3]


async def test_a_waker_makes_calls_in_order_never_two_at_a_time() -> None:
    """At once from a task; one asked for in the middle of another comes after it."""
    waker = Waker()
    made: list[str] = []

    def first() -> None:
        made.append("first begins")
        waker(lambda: made.append("second"))
        made.append("first ends")

    waker(first)
    assert made == ["first begins", "first ends", "second"]


def test_a_waker_asked_after_the_run_or_in_a_child_does_nothing() -> None:
    """It neither raises nor calls."""
    made: list[str] = []

    async def main() -> Waker:
        child = Waker()
        child.close_in_child()
        child(lambda: made.append("in a child"))
        await trio.lowlevel.checkpoint()
        return Waker()

    waker = trio.run(main)
    waker(lambda: made.append("after the run"))
    assert made == []


def test_a_record_in_the_middle_of_trios_own_code_is_delivered_without_help(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler may interrupt the flush task while Trio puts it to sleep or wakes it."""
    monkeypatch.setattr(helpers, "PACKAGE", str(Path(trio.__file__).parent))

    async def play(point: int) -> int:
        sink = RecordingSink()
        async with collector(BatchMetricsConfig(batch_size=1), sinks=[sink]) as metrics:
            count = 1

            def record() -> None:
                nonlocal count
                count += 1
                metrics.record(numbered(count))

            await trio.testing.wait_all_tasks_blocked()
            with interrupted_at(point, record) as passed:
                metrics.record(numbered(1))
                for _ in range(4):
                    await trio.lowlevel.checkpoint()
            await trio.sleep(1)
            assert sorted(numbers(sink.events)) == list(range(1, count + 1))
        return passed[0]

    point = 0
    while trio.run(play, point, clock=MockClock(autojump_threshold=0)) > point:
        point += 1
    assert point > 100


def test_a_handler_that_pushes_out_what_a_flush_waits_for_wakes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever in Trio's own code it comes, the flush returns without help."""
    monkeypatch.setattr(helpers, "PACKAGE", str(Path(trio.__file__).parent))

    async def play(point: int) -> int:
        config = BatchMetricsConfig(batch_size=1, buffer_size=1, on_full="drop_oldest")
        async with collector(config, sinks=[RecordingSink()]) as metrics:
            await trio.testing.wait_all_tasks_blocked()
            metrics.record(numbered(1))
            flusher = trio.lowlevel.current_task()

            def record() -> None:
                if not trio.lowlevel.in_trio_task() or trio.lowlevel.current_task() is not flusher:
                    metrics.record(numbered(2))

            with trio.fail_after(1), interrupted_at(point, record) as passed:
                report = await metrics.flush()
            pushed_out.append(report.dropped)
            assert (report.processed + report.dropped, report.pending) == (1, 0)
        return passed[0]

    pushed_out: list[int] = []
    point = 0
    while trio.run(play, point, clock=MockClock(autojump_threshold=0)) > point:
        point += 1
    assert 0 < sum(pushed_out) < point
