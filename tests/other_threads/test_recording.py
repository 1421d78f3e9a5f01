"""Every event that a thread records is counted once and keeps its order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.helpers import RECORDERS, Policy, balanced, ids
from tests.threads import in_a_thread, restless
from trio_batchmetrics import BatchMetricsCollector, BatchMetricsConfig, Counter, WrongThreadError, collector
from trio_batchmetrics._ledger.recorded import Recorded
from trio_batchmetrics.testing import RecordingSink

ANYWHERE: list[Callable[[BatchMetricsCollector], object]] = [
    *RECORDERS.values(),
    lambda metrics: metrics.record("no event"),
    lambda metrics: metrics.counter("from a thread").add(),
]


@pytest.mark.parametrize("call", ANYWHERE)
async def test_every_synchronous_call_works_in_another_thread(
    call: Callable[[BatchMetricsCollector], object], autojump_clock: MockClock
) -> None:
    """Room, a full buffer and a left block are tried; each event is counted once, and nothing raises."""
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


async def test_an_event_that_a_thread_recorded_first_arrives_first(autojump_clock: MockClock) -> None:
    """A thread's event waits for Trio's thread, but not behind that thread's later events."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        for number in range(0, 6, 2):
            in_a_thread(lambda number=number: metrics.record_counter("c", {"id": number}, 1))  # type: ignore[misc]
            metrics.record_counter("c", {"id": number + 1}, 1)
    assert ids(sink.events) == [0, 1, 2, 3, 4, 5]


async def test_async_calls_from_another_run_in_another_thread_raise(autojump_clock: MockClock) -> None:
    """A task of another Trio run is in the wrong thread, too."""
    async with collector(sinks=[]) as metrics:
        for call in (lambda: metrics.arecord(Counter("c", {}, 1)), metrics.flush):
            with pytest.raises(WrongThreadError):
                in_a_thread(lambda call=call: trio.run(call))  # type: ignore[misc]
        assert balanced(metrics.stats()).total_events == 0


async def test_a_thread_wakes_a_sleeping_trio_run() -> None:
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


async def test_a_task_of_another_run_in_another_thread_records_with_from_thread() -> None:
    """The run that must be woken isn't the task's own."""
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


async def test_every_recorder_works_in_a_thread_and_in_trios_own(autojump_clock: MockClock) -> None:
    """One event of each kind is recorded twice; a bad one counts as invalid and raises nothing."""
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


@pytest.mark.parametrize("direct", [True, False], ids=["with a GIL", "without"])
@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
async def test_many_threads_and_trio_record_at_once_and_every_event_is_counted_once(
    policy: Policy, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four threads and Trio's record 5 000 events each: totals are exact, and each thread keeps its order."""
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


async def test_a_threads_later_events_never_overtake_those_it_has_handed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread hands an event in after Trio's thread has moved the earlier ones, and before it opens the gate."""
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


def test_where_trio_runs_in_another_thread_a_signal_handler_records_with_from_thread() -> None:
    """Python runs signal handlers in the main thread, and their events arrive."""
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


async def test_batches_have_their_size_whichever_thread_records(autojump_clock: MockClock) -> None:
    """Events that exceed a batch while Trio's thread stands still are in the next ones, in order."""
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
    """Tasks, threads and arecord are tried, with a full buffer and with an empty one."""
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
