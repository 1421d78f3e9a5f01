"""An event that a thread records as the block ends arrives or counts as closed, and no thread waits indefinitely."""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.helpers import Policy, balanced, ids, interrupted_at, run_at_every_point
from tests.threads import in_a_thread
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics._buffer.handed_in import HandedIn
from trio_batchmetrics.testing import RecordingSink


async def test_events_that_a_thread_recorded_just_before_the_block_is_left_arrive(autojump_clock: MockClock) -> None:
    """In some orders of a round's tasks, the flush task hears of them only after the buffer has closed."""
    for _ in range(30):  # Trio shuffles the tasks of a round
        sink = RecordingSink()
        async with collector(BatchMetricsConfig(batch_size=1), sinks=[sink]) as metrics:
            recorder = metrics.from_thread()
            await trio.testing.wait_all_tasks_blocked()
            in_a_thread(lambda recorder=recorder: recorder.record_counter("c", {"id": 1}, 1))  # type: ignore[misc]
        assert ids(sink.events) == [1]
        assert balanced(metrics.stats()).processed_events == 1


async def test_after_the_block_a_threads_events_are_closed(autojump_clock: MockClock) -> None:
    """A thread's events also count as closed after the run, and nothing raises."""
    async with collector(sinks=[]) as metrics:
        recorder = metrics.from_thread()
    in_a_thread(lambda: [recorder.record_cache_metric("redis", "hit") for _ in range(2)])
    in_a_thread(lambda: recorder.record(object()))
    assert balanced(metrics.stats()).dropped == {"closed": 3}


def test_after_the_run_a_threads_events_are_closed() -> None:
    """The loop that a thread would wake no longer exists."""

    async def main() -> Any:
        async with collector(sinks=[]) as metrics:
            return metrics, metrics.from_thread()

    metrics, recorder = trio.run(main)
    in_a_thread(lambda: recorder.record_cache_metric("redis", "hit"))
    recorder.record_cache_metric("redis", "hit")
    assert balanced(metrics.stats()).dropped == {"closed": 2}


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
def test_a_thread_in_the_middle_of_a_record_when_the_block_is_left_leaves_nothing_pending(policy: Policy) -> None:
    """The thread is stopped at each place: its event arrives, or counts as closed or as full."""

    async def play(point: int) -> int:
        sink = RecordingSink()
        passed = [0]
        async with collector(BatchMetricsConfig(batch_size=9, buffer_size=1, on_full=policy), sinks=[sink]) as metrics:
            metrics.record_counter("c", {"id": 1}, 1)
            recorder = metrics.from_thread()
            stopped, left = threading.Event(), threading.Event()

            def stop() -> None:
                stopped.set()
                left.wait(0.02)  # the block can't be left meanwhile where the lock is held

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


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
async def test_threads_that_record_as_the_block_ends_are_counted_as_closed(
    policy: Policy, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More threads than the buffer has room for have all found it open."""
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


def test_after_the_block_a_logging_handler_that_records_and_a_thread_do_not_wait_for_each_other() -> None:
    """The line about an event after the block is logged while no lock of the buffer is held."""
    recorders: list[Any] = []
    entered = threading.Event()

    class Records(logging.Handler):
        """A handler that records for each line of the application, a moment later."""

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
