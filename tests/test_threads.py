"""Other threads: every synchronous call works there; the async ones raise."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.helpers import RECORDERS, Policy, balanced, ids, interrupted_at, run_at_every_point
from tests.threads import StoppedThread, in_a_thread, restless
from trio_batchmetrics import (
    BatchMetricsCollector,
    BatchMetricsConfig,
    BatchMetricsStats,
    Counter,
    WrongThreadError,
    collector,
)
from trio_batchmetrics._buffer.handed_in import HandedIn
from trio_batchmetrics._ledger.recorded import Recorded
from trio_batchmetrics.testing import RecordingSink, StuckSink

STRIDE = int(os.environ.get("POINTS_STRIDE", "11"))


ANYWHERE: list[Callable[[BatchMetricsCollector], object]] = [
    *RECORDERS.values(),
    lambda metrics: metrics.record("no event"),
    lambda metrics: metrics.counter("from a thread").add(),
]


@pytest.mark.parametrize("call", ANYWHERE)
async def test_every_synchronous_call_works_in_another_thread(
    call: Callable[[BatchMetricsCollector], object], autojump_clock: MockClock
) -> None:
    """While there is room, when the buffer is full, and after the block; each event is counted once, none raises."""
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(buffer_size=2), sinks=[sink]) as metrics:
        in_a_thread(lambda: call(metrics))
        await metrics.flush()
        assert balanced(metrics.stats()).total_events == 1
        for _ in range(2):
            metrics.record_cache_metric("redis", "hit")
        in_a_thread(lambda: call(metrics))
        await metrics.flush()
        assert balanced(metrics.stats()).total_events == 4
        in_a_thread(lambda: [metrics.stats(), str(metrics.stats()), repr(metrics), metrics.from_thread()])
    in_a_thread(lambda: call(metrics))
    stats = balanced(metrics.stats())
    assert stats.total_events == 5
    assert stats.dropped.get("closed") == 1
    assert len(sink.events) == stats.processed_events


async def test_what_a_thread_recorded_first_arrives_first(autojump_clock: MockClock) -> None:
    """A thread's event waits for Trio's thread, but not behind what that records later."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        for number in range(0, 6, 2):
            in_a_thread(lambda number=number: metrics.record_counter("c", {"id": number}, 1))  # type: ignore[misc]
            metrics.record_counter("c", {"id": number + 1}, 1)
    assert ids(sink.events) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
async def test_a_thread_fills_no_more_than_the_buffer_while_trios_thread_stands_still(policy: Policy) -> None:
    """Nor more memory than twice that; stats() tells at once what is lost."""
    sink = RecordingSink()
    config = BatchMetricsConfig(batch_size=3, buffer_size=10, on_full=policy)
    async with collector(config, sinks=[sink]) as metrics:
        for number in range(5):
            metrics.record_counter("c", {"id": number}, 1)

        def record() -> None:
            for number in range(5, 100):
                metrics.record_counter("c", {"id": number}, 1)
                assert balanced(metrics.stats()).pending_events <= 10

        in_a_thread(record)
        stats = balanced(metrics.stats())
        assert (stats.pending_events, stats.dropped) == (10, {"buffer_full": 90})
    assert ids(sink.events) == list(range(10) if policy == "drop_newest" else range(90, 100))
    assert balanced(metrics.stats()).processed_events == 10


async def test_async_calls_from_another_run_in_another_thread_raise(autojump_clock: MockClock) -> None:
    """A task of another Trio run is in the wrong thread too."""
    async with collector(sinks=[]) as metrics:
        for call in (lambda: metrics.arecord(Counter("c", {}, 1)), metrics.flush):
            with pytest.raises(WrongThreadError):
                in_a_thread(lambda call=call: trio.run(call))  # type: ignore[misc]
        assert balanced(metrics.stats()).total_events == 0


async def test_a_threads_events_count_towards_the_buffer_at_once(autojump_clock: MockClock) -> None:
    """Before Trio runs a step: the thread fills the buffer, and the next event is refused, whoever records it."""
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(batch_size=3, buffer_size=5), sinks=[sink]) as metrics:
        recorder = metrics.from_thread()

        def record() -> None:
            for number in range(4):
                recorder.record_counter("c", {"id": number}, 1)

        in_a_thread(record)
        assert balanced(metrics.stats()).pending_events == 4
        metrics.record_counter("c", {"id": 4}, 1)
        metrics.record_counter("c", {"id": 5}, 1)
        in_a_thread(record)
        stats = balanced(metrics.stats())
        assert (stats.pending_events, stats.dropped) == (5, {"buffer_full": 5})
    assert ids(sink.events) == [0, 1, 2, 3, 4]


async def test_a_thread_pushes_out_the_oldest_under_drop_oldest(autojump_clock: MockClock) -> None:
    """As Trio's own thread does."""
    sink = RecordingSink()
    config = BatchMetricsConfig(batch_size=2, buffer_size=3, on_full="drop_oldest")
    async with collector(config, sinks=[sink]) as metrics:
        recorder = metrics.from_thread()
        for number in range(3):
            metrics.record_counter("c", {"id": number}, 1)
        in_a_thread(lambda: [recorder.record_counter("c", {"id": number}, 1) for number in (3, 4)])
        assert balanced(metrics.stats()).dropped == {"buffer_full": 2}
    assert ids(sink.events) == [2, 3, 4]


async def test_a_thread_wakes_a_trio_that_sleeps() -> None:
    """A batch filled in a thread leaves at once, though every task is asleep."""
    arrived = trio.Event()

    async def sink(batch: object) -> None:
        arrived.set()

    async with collector(BatchMetricsConfig(batch_size=2, flush_interval=3600), sinks=[sink]) as metrics:
        recorder = metrics.from_thread()

        def record() -> None:
            recorder.record_cache_metric("redis", "hit")
            recorder.record_cache_metric("redis", "miss")

        with trio.fail_after(30):
            await trio.to_thread.run_sync(record)
            await arrived.wait()


async def test_what_a_thread_recorded_just_before_the_block_is_left_arrives(autojump_clock: MockClock) -> None:
    """Though the flush task is told of it only after the buffer has closed, in some orders of a round's tasks."""
    for _ in range(30):  # Trio shuffles the tasks of a round
        sink = RecordingSink()
        async with collector(BatchMetricsConfig(batch_size=1), sinks=[sink]) as metrics:
            recorder = metrics.from_thread()
            await trio.testing.wait_all_tasks_blocked()
            in_a_thread(lambda recorder=recorder: recorder.record_counter("c", {"id": 1}, 1))  # type: ignore[misc]
        assert ids(sink.events) == [1]
        assert balanced(metrics.stats()).processed_events == 1


async def test_a_task_of_another_run_in_another_thread_records_with_from_thread() -> None:
    """Its own run is not the one that must be woken."""
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(batch_size=1), sinks=[sink]) as metrics:
        recorder = metrics.from_thread()

        async def other() -> None:
            for number in (1, 2, 3):
                recorder.record_counter("c", {"id": number}, 1)
                await trio.lowlevel.checkpoint()

        with trio.fail_after(10):
            await trio.to_thread.run_sync(trio.run, other)
            assert (await metrics.flush()).ok
    assert ids(sink.events) == [1, 2, 3]


async def test_every_recorder_works_from_a_thread_and_on_trios_own(autojump_clock: MockClock) -> None:
    """One event of each kind, twice; a bad one is counted as invalid and raises nothing."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        recorder = metrics.from_thread()

        def record() -> None:
            recorder.record(Counter("c", {}, 1))
            recorder.record_http_request("GET", "/", 200, 0.1)
            recorder.record_backend_request("p", "m", True, 0.1)
            recorder.record_health_check("b", True, 0.1)
            recorder.record_cache_metric("redis", "hit")
            recorder.record_counter("c", {}, 1)
            recorder.record_histogram("h", {}, 1)
            recorder.record_gauge("g", {}, 1)
            recorder.record(object())
            recorder.record_counter("c", {}, float("nan"))

        in_a_thread(record)
        record()
    assert len(sink.events) == 16
    assert balanced(metrics.stats()).dropped == {"invalid": 4}


async def test_after_the_block_a_threads_events_are_closed(autojump_clock: MockClock) -> None:
    """Also after the run; nothing raises."""
    async with collector(sinks=[]) as metrics:
        recorder = metrics.from_thread()
    in_a_thread(lambda: [recorder.record_cache_metric("redis", "hit") for _ in range(2)])
    in_a_thread(lambda: recorder.record(object()))
    assert balanced(metrics.stats()).dropped == {"closed": 3}


def test_after_the_run_a_threads_events_are_closed() -> None:
    """There is no loop to wake any more."""

    async def main() -> Any:
        async with collector(sinks=[]) as metrics:
            return metrics, metrics.from_thread()

    metrics, recorder = trio.run(main)
    in_a_thread(lambda: recorder.record_cache_metric("redis", "hit"))
    recorder.record_cache_metric("redis", "hit")
    assert balanced(metrics.stats()).dropped == {"closed": 2}


@pytest.mark.parametrize("direct", [True, False], ids=["with a GIL", "without"])
@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
async def test_many_threads_and_trio_record_at_once_and_every_event_is_counted_once(
    policy: Policy, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four threads and Trio's, 5 000 events each, a small buffer: totals exact, order kept within each thread."""
    monkeypatch.setattr("trio_batchmetrics._buffer.batching.gil_enabled", lambda: direct)
    sink = RecordingSink()
    config = BatchMetricsConfig(batch_size=7, buffer_size=30, on_full=policy)
    with restless():
        async with collector(config, sinks=[sink]) as metrics:
            recorder = metrics.from_thread()

            def record(thread: int) -> None:
                for number in range(5000):
                    recorder.record_counter("c", {"id": (thread, number)}, 1)
                    if number % 100 == 0:
                        balanced(metrics.stats())

            async with trio.open_nursery() as nursery:
                for thread in range(1, 5):
                    nursery.start_soon(trio.to_thread.run_sync, record, thread)
                for number in range(5000):
                    metrics.record_counter("c", {"id": (0, number)}, 1)
                    if number % 50 == 0:
                        balanced(metrics.stats())
                        await trio.lowlevel.checkpoint()
    stats = balanced(metrics.stats())
    assert stats.total_events == 25_000
    assert len(sink.events) == stats.processed_events == 25_000 - stats.dropped_events
    for thread in range(5):
        numbers = [number for source, number in ids(sink.events) if source == thread]
        assert numbers == sorted(set(numbers))


async def test_what_a_thread_records_never_overtakes_what_it_has_handed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trio's thread has moved what was handed in, and is about to let threads append; one hands in just then."""
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(buffer_size=3, on_full="drop_oldest"), sinks=[sink]) as metrics:
        recorder = metrics.from_thread()

        def record(*numbers: int) -> None:
            thread = threading.Thread(
                target=lambda: [recorder.record_counter("c", {"id": number}, 1) for number in numbers]
            )
            thread.start()
            thread.join()

        def counted_late(recorded: Recorded) -> int:
            monkeypatch.undo()
            record(1)
            return recorded.waiting

        metrics._engine.buffer.gate = False  # as a thread leaves it whose record has filled the buffer
        monkeypatch.setattr(Recorded, "waiting", property(counted_late))
        metrics.record_counter("c", {"id": 0}, 1)
        record(2)
        assert (await metrics.flush()).ok
    assert ids(sink.events) == [0, 1, 2]


async def test_arecord_does_not_wait_where_another_thread_has_just_recorded(autojump_clock: MockClock) -> None:
    """There is room: neither does arecord wait until the next hand-over, nor are others refused meanwhile."""
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(flush_interval=3600), sinks=[sink]) as metrics:
        in_a_thread(lambda: metrics.record_counter("c", {"id": 1}, 1))
        with trio.fail_after(1):
            await metrics.arecord(Counter("c", {"id": 2}, 1))
        metrics.record_counter("c", {"id": 3}, 1)
        assert balanced(metrics.stats()).pending_events == 3
    assert ids(sink.events) == [1, 2, 3]


def test_arecord_does_not_wait_wherever_another_thread_stands_in_a_record() -> None:
    """The thread has left its event, perhaps, and shuts the gate later: there is room all the same."""

    async def play(point: int) -> int:
        sink = RecordingSink()
        async with collector(BatchMetricsConfig(flush_interval=3600), sinks=[sink]) as metrics:
            thread = StoppedThread(lambda: metrics.record_counter("c", {"id": 1}, 1), point)
            await trio.lowlevel.checkpoint()
            thread.join()
            with trio.fail_after(1):
                await metrics.arecord(Counter("c", {"id": 2}, 1))
                await metrics.arecord(Counter("c", {"id": 3}, 1))
        assert ids(sink.events) == [1, 2, 3]
        return thread.passed

    run_at_every_point(play, least=6)


def test_a_threads_record_in_the_middle_of_letting_arecord_in_does_not_cost_that_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The thread has found room before; its own event is the one too many, wherever Trio's thread stands."""
    monkeypatch.setattr(
        "trio_batchmetrics._buffer.batching.gil_enabled", lambda: False
    )  # so that the thread hands it in

    async def play(point: int) -> int:
        sink = RecordingSink()
        async with collector(BatchMetricsConfig(batch_size=1, buffer_size=1), sinks=[sink]) as metrics:
            stopped, goes_on = threading.Event(), threading.Event()

            def trace(frame: Any, event: str, _: object) -> None:
                if frame.f_code is HandedIn.append.__code__:
                    stopped.set()
                    goes_on.wait()

            def record() -> None:
                sys.settrace(trace)
                metrics.record_counter("c", {"id": 1}, 1)
                sys.settrace(None)

            thread = threading.Thread(target=record)
            thread.start()
            assert stopped.wait(10)

            def go_on() -> None:
                goes_on.set()
                thread.join()

            metrics.record_counter("c", {"id": 2}, 1)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(metrics.arecord, Counter("c", {"id": 3}, 1))
                with interrupted_at(point, go_on) as passed:
                    await trio.testing.wait_all_tasks_blocked()
                go_on()
        stats = balanced(metrics.stats())
        assert stats.total_events == 3 == len(sink.events) + stats.dropped.get("buffer_full", 0)
        assert {2, 3} <= set(ids(sink.events))
        return passed[0]

    run_at_every_point(play, least=50, stride=STRIDE)


def test_a_thread_in_the_middle_of_a_record_does_not_cost_arecord_its_place() -> None:
    """A thread takes the last place; arecord does too, before the thread shuts the gate."""

    async def play(point: int) -> int:
        sink = RecordingSink()
        async with collector(BatchMetricsConfig(batch_size=5, buffer_size=2), sinks=[sink]) as metrics:
            metrics.record_counter("c", {"id": 1}, 1)
            # It goes on by itself: where it was first, arecord waits for room.
            thread = StoppedThread(lambda: metrics.record_counter("c", {"id": 2}, 1), point, patience=0.05)
            await metrics.arecord(Counter("c", {"id": 3}, 1))
            thread.join()
        assert {1, 3} <= set(ids(sink.events))
        stats = balanced(metrics.stats())
        assert stats.total_events == 3 == len(sink.events) + stats.dropped.get("buffer_full", 0)
        return thread.passed

    run_at_every_point(play, least=6)


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
def test_a_thread_in_the_middle_of_a_record_when_the_block_is_left_leaves_nothing_pending(policy: Policy) -> None:
    """At each place: the event arrives, or counts as closed or as full."""

    async def play(point: int) -> int:
        sink = RecordingSink()
        passed = [0]
        async with collector(BatchMetricsConfig(batch_size=9, buffer_size=1, on_full=policy), sinks=[sink]) as metrics:
            metrics.record_counter("c", {"id": 1}, 1)
            recorder = metrics.from_thread()
            stopped, left = threading.Event(), threading.Event()

            def stop() -> None:
                stopped.set()
                left.wait(0.02)  # the block cannot be left meanwhile where the lock is held

            def record() -> None:
                nonlocal passed
                with interrupted_at(point, stop) as passed:
                    recorder.record_counter("c", {"id": 2}, 1)
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

    run_at_every_point(play, least=6)


async def test_stats_may_be_read_from_any_thread_at_any_time() -> None:
    """The books balance in every reading, also while Trio's thread settles events."""
    async with collector(BatchMetricsConfig(batch_size=3), sinks=[RecordingSink(), RecordingSink()]) as metrics:
        done = trio.Event()

        def read() -> None:
            for _ in range(200):
                balanced(metrics.stats())

        async def record() -> None:
            while not done.is_set():
                for _ in range(10):
                    metrics.record_cache_metric("redis", "hit")
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(record)
            await trio.to_thread.run_sync(read)
            done.set()


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
def test_stats_in_a_thread_balance_and_never_go_back_wherever_the_thread_stands(policy: Policy) -> None:
    """Other threads record meanwhile, and Trio's moves and settles their events."""

    async def play(point: int) -> int:
        config = BatchMetricsConfig(batch_size=3, buffer_size=5, on_full=policy)
        async with collector(config, sinks=[RecordingSink()]) as metrics:
            seen: list[BatchMetricsStats] = []

            def record(count: int) -> Callable[[], None]:
                return lambda: [metrics.record_counter("c", {}, 1) for _ in range(count)].clear()

            in_a_thread(record(2))
            before = balanced(metrics.stats()).total_events
            thread = StoppedThread(lambda: seen.append(metrics.stats()), point)
            in_a_thread(record(7))
            await metrics.flush()
            in_a_thread(record(7))
            metrics.record_counter("c", {}, 1)  # Trio's thread moves the others first
            thread.join()
            assert before <= balanced(seen[0]).total_events <= balanced(metrics.stats()).total_events
        return thread.passed

    run_at_every_point(play, least=40)


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
async def test_threads_that_record_as_the_block_ends_are_counted_as_closed(
    policy: Policy, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of them than the buffer holds, all of which have found it open."""
    monkeypatch.setattr("trio_batchmetrics._buffer.batching.gil_enabled", lambda: False)  # so that they hand them in
    stopped, goes_on = threading.Semaphore(0), threading.Event()

    def trace(frame: Any, event: str, _: object) -> None:
        if frame.f_code is HandedIn.append.__code__:
            stopped.release()
            goes_on.wait()

    def record() -> None:
        sys.settrace(trace)
        metrics.record_counter("c", {}, 1)
        sys.settrace(None)

    threads = [threading.Thread(target=record) for _ in range(3)]
    async with collector(BatchMetricsConfig(buffer_size=1, on_full=policy), sinks=[RecordingSink()]) as metrics:
        for thread in threads:
            thread.start()
            stopped.acquire()
    goes_on.set()
    for thread in threads:
        thread.join()
    stats = balanced(metrics.stats())
    assert (stats.total_events, stats.pending_events, stats.dropped) == (3, 0, {"closed": 3})


def test_where_trio_runs_in_another_thread_a_signal_handler_records_with_from_thread() -> None:
    """Python runs signal handlers in the main thread; their events arrive."""
    import signal

    recorders: list[Any] = []
    opened, finish = threading.Event(), threading.Event()
    sink = RecordingSink()

    async def main() -> None:
        async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
            recorders.append(metrics.from_thread())
            opened.set()
            await trio.to_thread.run_sync(finish.wait)

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    opened.wait(30)
    before = signal.signal(
        signal.SIGUSR1, lambda _signum, _frame: recorders[0].record_counter("c", {"id": len(sink.events)}, 1)
    )
    try:
        for _ in range(50):
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    finish.set()
    thread.join(30)
    assert len(sink.events) == 50


async def test_a_stuck_sink_does_not_let_threads_overfill_the_buffer(autojump_clock: MockClock) -> None:
    """In flight, queued and waiting: never more than buffer_size each."""
    async with collector(BatchMetricsConfig(batch_size=5, buffer_size=5), sinks=[StuckSink()]) as metrics:
        recorder = metrics.from_thread()
        for _ in range(6):
            in_a_thread(lambda: [recorder.record_cache_metric("redis", "hit") for _ in range(5)])
            await trio.testing.wait_all_tasks_blocked()
        stats = balanced(metrics.stats())
        assert (stats.pending_events, stats.dropped) == (15, {"buffer_full": 15})


def test_after_the_block_a_logging_handler_that_records_and_a_thread_do_not_wait_for_each_other() -> None:
    """The line about an event after the block is logged while no lock of the buffer is held."""
    recorders: list[Any] = []
    entered = threading.Event()

    class Records(logging.Handler):
        """Records for each line of the application, a moment later."""

        def emit(self, record: logging.LogRecord) -> None:
            if record.name == "tests.app":
                entered.set()
                finished.wait(0.3)
                recorders[0].record_counter("log.lines", {}, 1)

    async def main() -> Any:
        async with collector(sinks=[]) as metrics:
            recorders.append(metrics.from_thread())
        return metrics

    metrics = trio.run(main)
    finished = threading.Event()
    root, handler = logging.getLogger(), Records()
    root.addHandler(handler)
    try:
        one = threading.Thread(target=lambda: logging.getLogger("tests.app").warning("x"), daemon=True)
        one.start()
        entered.wait(10)
        two = threading.Thread(target=lambda: recorders[0].record_counter("c", {}, 1), daemon=True)
        two.start()
        one.join(10)
        two.join(10)
        assert not one.is_alive()
        assert not two.is_alive()
    finally:
        finished.set()
        root.removeHandler(handler)
    assert balanced(metrics.stats()).dropped == {"closed": 2}


async def test_batches_have_their_size_whichever_thread_records(autojump_clock: MockClock) -> None:
    """What a thread records beyond a batch, while Trio's thread stands still, is in the next ones, in order."""
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(batch_size=3), sinks=[sink]) as metrics:
        await trio.testing.wait_all_tasks_blocked()

        def record() -> None:
            for number in range(10):
                metrics.record_counter("c", {"id": number}, 1)

        in_a_thread(record)
        metrics.record_counter("c", {"id": 10}, 1)
        assert balanced(metrics.stats()).pending_events == 11
        await trio.sleep(6)
        assert metrics.stats().batch_count == 4
    assert ids(sink.events) == list(range(11))
    assert [*map(len, sink.batches)] == [3, 3, 3, 2]


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
async def test_without_a_global_interpreter_lock_every_record_takes_the_path_that_needs_none(
    policy: Policy, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """Tasks, threads and arecord, in a full buffer and in an empty one."""
    monkeypatch.setattr("trio_batchmetrics._buffer.batching.gil_enabled", lambda: False)
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(batch_size=3, buffer_size=5, on_full=policy), sinks=[sink]) as metrics:
        for number in range(2):
            metrics.record_counter("c", {"id": number}, 1)
        in_a_thread(lambda: [metrics.record_counter("c", {"id": number}, 1) for number in (2, 3)])
        await metrics.arecord(Counter("c", {"id": 4}, 1))
        assert balanced(metrics.stats()).total_events == 5
        await metrics.flush()
        assert ids(sink.events) == [0, 1, 2, 3, 4]
        in_a_thread(lambda: [metrics.record_counter("c", {"id": number}, 1) for number in range(5, 15)])
        metrics.record_counter("c", {"id": 15}, 1)
    kept = range(5, 10) if policy == "drop_newest" else range(11, 16)
    assert ids(sink.events)[5:] == [*kept]
    assert balanced(metrics.stats()).dropped == {"buffer_full": 6}
