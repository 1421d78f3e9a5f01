"""At the end of the block one more push is made, and only events that no push contained have failed."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers import balanced
from tests.series.sinks import MemorySink, Snapshot, account, record, upto
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.abc import Receipt


async def test_events_that_no_push_contained_by_the_end_have_failed(autojump_clock: MockClock) -> None:
    """Two events were pushed; the others were merged and are given up at the deadline, to the second."""
    sink = MemorySink()
    async with collector(BatchMetricsConfig(batch_size=2, shutdown_timeout=4), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
        sink.down = True
        record(metrics, 3, 7)
    assert trio.current_time() == 4
    assert sink.merged == upto(7)
    stats = account(metrics)
    assert (stats.delivered, stats.failures, stats.pending) == (2, {"shutdown": 5}, 0)
    overall = balanced(metrics.stats())
    assert (overall.processed_events, overall.failed_events) == (2, 5)
    assert sink.backend == Snapshot(2, 3)


async def test_leaving_pushes_merged_events_at_once(autojump_clock: MockClock) -> None:
    """A backoff is cut short, and the last push contains everything."""
    sink = MemorySink(Receipt.retried(200))
    async with collector(BatchMetricsConfig(batch_size=10), sinks=[sink]) as metrics:
        record(metrics, 1, 12)
        await trio.sleep(1)
        record(metrics, 13, 15)
        left = trio.current_time()
    assert trio.current_time() == left == 1
    assert sink.backend == Snapshot(15, 120)
    assert balanced(metrics.stats()).processed_events == 15


async def test_a_push_that_the_deadline_cuts_off_may_have_arrived(autojump_clock: MockClock) -> None:
    """Its events have failed, and those of the push before stay delivered."""
    sink = MemorySink(None, ...)
    async with collector(BatchMetricsConfig(batch_size=2, shutdown_timeout=3), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
        record(metrics, 3, 4)
        await wait_all_tasks_blocked()
        assert len(sink.times) == 2
        left = trio.current_time()
    assert trio.current_time() - left == 3
    stats = account(metrics)
    assert (stats.delivered, stats.failures) == (2, {"shutdown": 2})
