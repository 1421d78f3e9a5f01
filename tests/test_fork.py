"""After a fork, the child's recorders count closed, nothing is sent twice, and the parent goes on as before."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.helpers import balanced, ids
from trio_batchmetrics import BatchMetricsConfig, Counter, collector
from trio_batchmetrics.testing import RecordingSink, StuckSink

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def fork() -> int:
    """Fork without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: "this process is multi-threaded"
        return os.fork()


def forked(child: Callable[[], Any]) -> Any:
    """Run a function in a forked child; return its result."""
    reader, writer = os.pipe()
    pid = fork()
    if pid == 0:
        status = 1
        try:
            os.write(writer, json.dumps(child()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0, "the child failed"
    return json.loads(answer)


async def forked_on(child: Callable[[], Awaitable[Any]]) -> Any:
    """Continue the Trio run in a forked child, which ends with this function; return its result."""
    reader, writer = os.pipe()
    pid = fork()
    if pid == 0:
        status = 1
        try:
            os.write(writer, json.dumps(await child()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:  # noqa: ASYNC230, ASYNC231 - the parent stands still, so that only the child runs
        answer = pipe.read()
    _, status = os.waitpid(pid, 0)  # noqa: ASYNC222
    assert status == 0, "the child failed"
    return json.loads(answer)


async def test_a_childs_recorders_count_closed_and_the_parents_go_on() -> None:
    """From then on, each process counts separately."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        thread_recorder = metrics.from_thread()
        counter = metrics.counter("n")
        for number in range(3):
            metrics.record_counter("c", {"id": number}, 1)

        def child() -> Any:
            metrics.record_counter("c", {"id": 99}, 1)
            thread_recorder.record_counter("c", {"id": 99}, 1)
            counter.add()
            stats = balanced(metrics.stats())
            return stats.dropped, stats.pending_events

        assert forked(child) == [{"closed": 3}, 3]
        metrics.record_counter("c", {"id": 3}, 1)
        assert balanced(metrics.stats()).pending_events == 4
    assert ids(sink.events) == [0, 1, 2, 3]
    assert balanced(metrics.stats()).processed_events == 4


def test_a_child_that_goes_on_running_trio_sends_nothing() -> None:
    """It sends neither open nor queued nor new events; flush() reports the pending ones and doesn't wait."""
    attempts: list[int] = []
    reports: list[Any] = []
    sent = trio.Event()

    async def sink(batch: Any) -> None:
        attempts.append(os.getpid())
        sent.set()

    reader, writer = os.pipe()
    parent = os.getpid()

    async def main() -> None:
        async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
            for number in range(5):
                metrics.record_counter("c", {"id": number}, 1)
            pid = fork()
            if pid == 0:
                report = await metrics.flush()
                await metrics.arecord(Counter("c", {}, 1))
                await trio.sleep(0.05)
                stats = balanced(metrics.stats())
                os.write(writer, json.dumps([report.pending, report.ok, stats.dropped, attempts]).encode())
            else:
                reports.append(await metrics.flush())
                _, status = os.waitpid(pid, 0)  # noqa: ASYNC222 - the parent stands still, so that only the child runs
                assert status == 0
        if os.getpid() != parent:
            os.write(writer, b"left")
            os._exit(0)

    trio.run(main)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    assert answer.endswith(b"left"), "the child leaves the block"
    assert json.loads(answer[:-4]) == [5, False, {"closed": 1}, []]
    assert reports[0].processed == 5
    assert set(attempts) == {parent}


class _ForkInTheLoop(trio.abc.Instrument):
    """An instrument that forks once, inside Trio's own loop, where no task runs."""

    pid: int | None = None

    def before_io_wait(self, timeout: float) -> None:
        if self.pid is None:
            self.pid = fork()


@pytest.mark.parametrize("where", ["in a task", "in Trio's loop"])
def test_a_child_that_leaves_the_block_neither_sends_nor_settles_events_pending_at_the_fork(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An attempt in flight ends with the fork, the open batch stays pending, and no loss is reported."""
    sent: list[int] = []
    parent = os.getpid()
    reader, writer = os.pipe()

    async def slow(_: object) -> None:
        await trio.sleep(2)
        sent.append(os.getpid())

    async def main() -> None:
        in_a_task = where == "in a task"
        config = BatchMetricsConfig(batch_size=2 if in_a_task else 100, flush_interval=2)
        async with collector(config, sinks=[slow]) as metrics:
            metrics.record_counter("c", {"id": 1}, 1)
            metrics.record_counter("c", {"id": 2}, 1)
            if in_a_task:
                await trio.sleep(1)  # the attempt is in flight
                pid: int | None = fork()
            else:
                instrument = _ForkInTheLoop()
                trio.lowlevel.add_instrument(instrument)
                await trio.lowlevel.checkpoint()
                pid = instrument.pid
            assert pid is not None
            await trio.sleep(20)
            left = trio.current_time()
        stats = balanced(metrics.stats())
        if pid == 0:
            lines = [line.getMessage() for line in caplog.records]
            answer = [stats.pending_events, stats.failed_events, sent, lines, trio.current_time() - left]
            os.write(writer, json.dumps(answer).encode())
            os._exit(0)
        _, status = os.waitpid(pid, 0)  # noqa: ASYNC222 - the block is left; nothing else should run
        assert status == 0, "the child failed"
        assert stats.processed_events == 2

    try:
        trio.run(main, clock=MockClock(autojump_threshold=0))
    finally:
        if os.getpid() != parent:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert json.loads(pipe.read()) == [2, 0, [], [], 0]
    assert sent == [parent]


def test_waiting_calls_of_flush_and_arecord_return_in_a_child() -> None:
    """The report of flush() has the pending events, and the event of arecord counts as closed. The child ends."""

    async def main() -> None:
        returned: list[Any] = []

        async def flush() -> None:
            report = await metrics.flush()
            returned.append(report.pending)

        async def arecord() -> None:
            await metrics.arecord(Counter("c", {}, 1))
            returned.append("arecord")

        config = BatchMetricsConfig(batch_size=1, buffer_size=1, shutdown_timeout=0.1)
        async with trio.open_nursery() as outer:
            async with collector(config, sinks=[StuckSink()]) as metrics:
                for _ in range(3):
                    metrics.record_cache_metric("a", "b")
                    await trio.testing.wait_all_tasks_blocked()
                outer.start_soon(flush)  # noqa: ASYNC111 - they wait when the block is left
                outer.start_soon(arecord)  # noqa: ASYNC111
                await trio.testing.wait_all_tasks_blocked()
                pid = fork()
        if pid == 0:
            os._exit(0 if returned.count("arecord") == 1 and returned.count(3) == 1 else 1)
        with trio.fail_after(20):
            while os.waitpid(pid, os.WNOHANG) == (0, 0):  # noqa: ASYNC110, ASYNC222 - there is no event for it
                await trio.sleep(0.01)
        assert sorted(map(str, returned)) == ["0", "arecord"]
        assert balanced(metrics.stats()).dropped == {"closed": 1}

    trio.run(main)


def test_a_child_of_a_thread_that_holds_the_lock_is_not_stuck() -> None:
    """The fork may come while another thread records; the child's recorders wait for no lock of that thread."""

    async def main() -> None:
        async with collector(BatchMetricsConfig(batch_size=1), sinks=[]) as metrics:
            recorder = metrics.from_thread()
            stop = False

            def record() -> None:
                while not stop:
                    recorder.record_cache_metric("redis", "hit")

            def child() -> Any:
                before = metrics.stats().dropped.get("closed", 0)
                recorder.record_cache_metric("redis", "hit")
                metrics.record_cache_metric("redis", "hit")
                return balanced(metrics.stats()).dropped["closed"] - before

            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.to_thread.run_sync, record)
                try:
                    for _ in range(20):
                        await trio.sleep(0.001)
                        assert forked(child) == 2
                finally:
                    stop = True
        balanced(metrics.stats())

    trio.run(main)
