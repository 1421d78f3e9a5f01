"""A thread in the middle of a record neither blocks `arecord` nor costs it its place."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.helpers import balanced, ids, interrupted_at, run_at_every_point
from tests.threads import StoppedThread, in_a_thread
from trio_batchmetrics import BatchMetricsConfig, Counter, collector
from trio_batchmetrics._buffer.handed_in import HandedIn
from trio_batchmetrics.testing import RecordingSink

STRIDE = int(os.environ.get("POINTS_STRIDE", "11"))


async def test_arecord_does_not_wait_where_another_thread_has_just_recorded(autojump_clock: MockClock) -> None:
    """The buffer has room, so arecord doesn't wait for the next hand-over, and no other event is refused meanwhile."""
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(flush_interval=3600), sinks=[sink]) as metrics:
        in_a_thread(lambda: metrics.record_counter("c", {"id": 1}, 1))
        with trio.fail_after(1):
            await metrics.arecord(Counter("c", {"id": 2}, 1))
        metrics.record_counter("c", {"id": 3}, 1)
        assert balanced(metrics.stats()).pending_events == 3
    assert ids(sink.events) == [1, 2, 3]


def test_arecord_does_not_wait_wherever_another_thread_stands_in_a_record() -> None:
    """The thread may have left its event and shut the gate later: there is room all the same."""

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


def test_a_threads_record_while_arecord_is_let_in_does_not_cost_it_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The thread found room before; its own event is the one too many, wherever Trio's thread is at that moment."""
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
    """A thread takes the last place; arecord takes one too, before the thread shuts the gate."""

    async def play(point: int) -> int:
        sink = RecordingSink()
        async with collector(BatchMetricsConfig(batch_size=5, buffer_size=2), sinks=[sink]) as metrics:
            metrics.record_counter("c", {"id": 1}, 1)
            # The thread goes on by itself: where it was first, arecord waits for room.
            thread = StoppedThread(lambda: metrics.record_counter("c", {"id": 2}, 1), point, patience=0.05)
            await metrics.arecord(Counter("c", {"id": 3}, 1))
            thread.join()
        assert {1, 3} <= set(ids(sink.events))
        stats = balanced(metrics.stats())
        assert stats.total_events == 3 == len(sink.events) + stats.dropped.get("buffer_full", 0)
        return thread.passed

    run_at_every_point(play, least=6)
