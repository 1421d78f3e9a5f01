"""Recording with the stack nearly used up: at the bottom of a recursion, in the handler of a RecursionError."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.helpers import Policy, assert_goes_on, balanced, ids, interrupted_at, run_at_every_point
from tests.threads import record_numbered
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics._concurrency.waker import NEEDED_FRAMES, stack_has_room
from trio_batchmetrics.testing import RecordingSink

LIMIT = 400
LEAST = 22
"""Frames with which an event doesn't stay until the next one is recorded."""


def call_near_the_limit(frames: int, call: Callable[[], object]) -> bool:
    """Call a function with the given number of frames left; return whether it raised no RecursionError."""

    def deep(left: int) -> bool:
        if left:
            return deep(left - 1)
        try:
            call()
        except RecursionError:
            return False
        return True

    depth = 0
    frame: Any = sys._getframe()
    while frame is not None:
        depth, frame = depth + 1, frame.f_back
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(LIMIT)
    try:
        return deep(LIMIT - depth - frames)
    except RecursionError:
        return False
    finally:
        sys.setrecursionlimit(before)


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
@pytest.mark.parametrize("before", [0, 1, 2, 4, 5])
def test_a_record_with_hardly_any_stack_left_breaks_neither_the_run_nor_the_ledger(policy: Policy, before: int) -> None:
    """With any number of frames left, its event arrives if it was recorded, and so do later events."""

    async def play(frames: int) -> None:
        sink = RecordingSink()
        config = BatchMetricsConfig(batch_size=3, buffer_size=5, flush_interval=5, on_full=policy)
        async with collector(config, sinks=[sink]) as metrics:
            for number in range(before):
                metrics.record_counter("c", {"id": number}, 1)
            call_near_the_limit(frames, lambda: metrics.record_counter("c", {"id": 98}, 1))
            recorded = balanced(metrics.stats()).total_events
            await trio.sleep(6)
            if frames >= LEAST:
                assert recorded == before + 1
                assert metrics.stats().pending_events == 0
            metrics.record_counter("c", {"id": 99}, 1)
            await trio.sleep(6)
            assert metrics.stats().pending_events == 0
            with trio.fail_after(1):
                assert (await metrics.flush()).ok
        stats = balanced(metrics.stats())
        assert stats.total_events == recorded + 1
        assert stats.failed_events == 0
        arrived = ids(sink.events)
        assert len(set(arrived)) == len(arrived) == stats.processed_events == stats.total_events - stats.dropped_events
        if frames >= LEAST:
            assert stats.dropped_events == (1 if before == 5 else 0)
        assert 99 in arrived

    for frames in range(1, NEEDED_FRAMES + 30):
        trio.run(play, frames, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
async def test_events_recorded_with_hardly_any_stack_left_never_overfill_the_buffer(
    policy: Policy, autojump_clock: MockClock
) -> None:
    """An event that doesn't fit is refused, or makes room."""
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(batch_size=3, buffer_size=5, on_full=policy), sinks=[sink]) as metrics:

        def burst() -> None:
            for number in range(100):
                metrics.record_counter("c", {"id": number}, 1)

        for frames in (22, 30, 45):
            assert call_near_the_limit(frames, burst)
            assert balanced(metrics.stats()).pending_events == 5
    stats = balanced(metrics.stats())
    assert stats.total_events == 300
    assert stats.dropped == {"buffer_full": 295}
    assert len(sink.events) == 5


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
async def test_a_threads_record_with_hardly_any_stack_left_is_counted_correctly(policy: Policy) -> None:
    """The event is recorded, or the call raises and it isn't; Trio's thread still fetches other threads' events."""
    sink = RecordingSink()

    def in_a_thread(frames: int) -> None:
        thread = threading.Thread(
            target=call_near_the_limit, args=(frames, lambda: recorder.record_counter("c", {}, 1))
        )
        thread.start()
        thread.join()

    config = BatchMetricsConfig(batch_size=1, buffer_size=3, on_full=policy)
    async with collector(config, sinks=[sink]) as metrics:
        recorder = metrics.from_thread()
        for frames in range(1, 40):
            for near in (frames, frames, frames, frames, LIMIT - 100):
                in_a_thread(near)
            balanced(metrics.stats())
            with trio.fail_after(5):
                while metrics.stats().pending_events:  # noqa: ASYNC110 - there is no notification, and flush() would fetch them itself
                    await trio.sleep(0.001)
    stats = balanced(metrics.stats())
    assert stats.failed_events == 0
    assert len(sink.events) == stats.processed_events == stats.total_events - stats.dropped_events


def no_stack_left() -> None:
    """Raise the same error as a call without room on the stack."""
    raise RecursionError


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
@pytest.mark.parametrize("before", [0, 1, 2, 5, 6])
@pytest.mark.parametrize("thread", [False, True], ids=["task", "thread"])
def test_a_call_that_finds_no_stack_left_breaks_nothing(policy: Policy, before: int, thread: bool) -> None:
    """At each call that a record makes, events recorded before, in any thread, and afterwards arrive once."""

    async def play(point: int) -> int:
        sink = RecordingSink()
        passed = [0]
        config = BatchMetricsConfig(batch_size=3, buffer_size=5, on_full=policy)
        async with collector(config, sinks=[sink]) as metrics:
            record_numbered(metrics, before, thread=thread)
            with suppress(RecursionError), interrupted_at(point, no_stack_left, before_calls=True) as passed:
                metrics.record_counter("c", {"id": 98}, 1)
            balanced(metrics.stats())
            await assert_goes_on(metrics)
        stats = balanced(metrics.stats())
        arrived = ids(sink.events)
        assert len(set(arrived)) == len(arrived) == stats.processed_events == stats.total_events - stats.dropped_events
        assert set(stats.dropped) <= {"buffer_full", "invalid"}  # its labels may be unreadable there
        assert {100, 101, 102} <= set(arrived)
        return passed[0]

    run_at_every_point(play, least=2)


def test_the_room_left_on_the_stack_is_detected() -> None:
    """The check fails where as many nested calls would fail."""
    seen = [
        call_near_the_limit(frames, lambda: None if stack_has_room() else 1 / 0) for frames in (NEEDED_FRAMES + 50,)
    ]
    assert seen == [True]
    with pytest.raises(ZeroDivisionError):
        call_near_the_limit(NEEDED_FRAMES - 5, lambda: None if stack_has_room() else 1 / 0)
