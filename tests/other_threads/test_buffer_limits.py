"""Threads fill no more than the buffer, whatever Trio's thread does meanwhile."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.helpers import Policy, balanced, ids
from tests.threads import in_a_thread
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.testing import RecordingSink, StuckSink


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
async def test_a_thread_fills_no_more_than_the_buffer_while_trios_thread_stands_still(policy: Policy) -> None:
    """They take at most twice that memory, and stats() reports the loss at once."""
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


async def test_a_threads_events_count_towards_the_buffer_at_once(autojump_clock: MockClock) -> None:
    """Before Trio runs a step, the thread fills the buffer, and the next event of any thread is refused."""
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


async def test_a_thread_evicts_the_oldest_event_under_drop_oldest(autojump_clock: MockClock) -> None:
    """The policy works in a thread as in Trio's own."""
    sink = RecordingSink()
    config = BatchMetricsConfig(batch_size=2, buffer_size=3, on_full="drop_oldest")
    async with collector(config, sinks=[sink]) as metrics:
        recorder = metrics.from_thread()
        for number in range(3):
            metrics.record_counter("c", {"id": number}, 1)
        in_a_thread(lambda: [recorder.record_counter("c", {"id": number}, 1) for number in (3, 4)])
        assert balanced(metrics.stats()).dropped == {"buffer_full": 2}
    assert ids(sink.events) == [2, 3, 4]


async def test_a_stuck_sink_does_not_let_threads_overfill_the_buffer(autojump_clock: MockClock) -> None:
    """In flight, queued and waiting, there are never more than buffer_size events each."""
    async with collector(BatchMetricsConfig(batch_size=5, buffer_size=5), sinks=[StuckSink()]) as metrics:
        recorder = metrics.from_thread()
        for _ in range(6):
            in_a_thread(lambda: [recorder.record_cache_metric("redis", "hit") for _ in range(5)])
            await trio.testing.wait_all_tasks_blocked()
        stats = balanced(metrics.stats())
        assert (stats.pending_events, stats.dropped) == (15, {"buffer_full": 15})


async def test_threads_that_fill_several_batches_leave_only_the_room_that_is_left(autojump_clock: MockClock) -> None:
    """Trio's thread forms these batches with its next record, and must not rely on the room that it knew before."""
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(batch_size=2, buffer_size=9), sinks=[sink]) as metrics:
        ids_in_order = iter(range(100))

        def record(count: int) -> None:
            for _ in range(count):
                metrics.record_counter("c", {"id": next(ids_in_order)}, 1)

        record(4)
        in_a_thread(lambda: record(4))
        record(1)
        in_a_thread(lambda: record(1))
        stats = balanced(metrics.stats())
        assert (stats.pending_events, stats.dropped) == (9, {"buffer_full": 1})
    assert ids(sink.events) == list(range(9))
