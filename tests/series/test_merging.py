"""Each event is merged once, in order, and a merge that raises costs its batch and no other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers import balanced, ids, report_balanced
from tests.series.sinks import MemorySink, Snapshot, account, record, upto
from trio_batchmetrics import BatchMetricsConfig, MetricEvent, collector
from trio_batchmetrics._concurrency.turns import Turn
from trio_batchmetrics.testing import RecordingSink


async def test_each_event_is_merged_once_in_order_at_the_hand_over(autojump_clock: MockClock) -> None:
    """The outcome of the pushes doesn't matter."""
    sink = MemorySink(OSError(), OSError())
    async with collector(BatchMetricsConfig(batch_size=3, flush_interval=5), sinks=[sink]) as metrics:
        record(metrics, 1, 7)
        await wait_all_tasks_blocked()
        assert sink.merged == upto(6)
        await trio.sleep(5)
        await wait_all_tasks_blocked()
        assert sink.merged == upto(7)
        await metrics.flush()
    assert sink.merged == upto(7)
    assert sink.calls == [3, 3, 1]
    assert sink.backend == Snapshot(7, 28)


async def test_merge_gets_at_most_500_events_at_a_time_with_checkpoints_between(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other tasks run meanwhile, and a push may take its snapshot in between."""
    monkeypatch.setattr(Turn, "over", True)  # a long wait would allow for a long turn
    sink = MemorySink()
    seen: list[int] = []

    async def others() -> None:
        while True:
            seen.append(sink.count)
            await trio.lowlevel.checkpoint()

    async with collector(BatchMetricsConfig(batch_size=5200), sinks=[sink]) as metrics, trio.open_nursery() as nursery:
        nursery.start_soon(others)
        record(metrics, 1, 5200)
        await metrics.flush()
        nursery.cancel_scope.cancel()
    assert sink.calls == [500] * 10 + [200]
    assert len(set(seen)) >= 6
    assert account(metrics).delivered == 5200


async def test_invalid_events_are_not_merged(autojump_clock: MockClock) -> None:
    """Invalid events are dropped before any sink sees them."""
    sink = MemorySink()
    async with collector(sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        metrics.record_counter("c", {"id": 3}, -1)
        report = report_balanced(await metrics.flush(), 3)
        assert (report.processed, report.dropped) == (2, 1)
    assert sink.merged == [1, 2]
    assert account(metrics).total == 2


@pytest.mark.parametrize("with_event_sink", [False, True])
async def test_a_merge_that_raises_costs_its_batch_and_no_other(
    with_event_sink: bool, autojump_clock: MockClock
) -> None:
    """The batch fails in this sink (``merge``), goes on to the other sinks, and counts once as failed."""

    class Picky(MemorySink):
        """A sink that can't merge 4."""

        def merge(self, events: Sequence[MetricEvent]) -> None:
            if 4 in ids(list(events)):
                raise KeyError("what is 4?")
            super().merge(events)

    sink, other, event_sink = Picky(name="memory"), MemorySink(name="other"), RecordingSink()
    sinks: list[Any] = [sink, other, *([event_sink] if with_event_sink else [])]
    async with collector(BatchMetricsConfig(batch_size=3), sinks=sinks) as metrics:
        record(metrics, 1, 9)
        report = report_balanced(await metrics.flush(), 9)
        assert (report.processed, report.failed) == (6, 3)
    assert sink.merged == [1, 2, 3, 7, 8, 9]
    assert other.merged == upto(9)
    stats = account(metrics)
    assert (stats.total, stats.delivered, stats.failures) == (9, 6, {"merge": 3})
    assert "what is 4?" in str(stats.last_error)
    assert account(metrics, "other").delivered == 9
    if with_event_sink:
        assert ids(event_sink.events) == upto(9)
    overall = balanced(metrics.stats())
    assert (overall.processed_events, overall.failed_events) == (6, 3)


async def test_a_merge_that_raises_in_the_middle_of_a_batch_fails_all_of_it(autojump_clock: MockClock) -> None:
    """Part of it may have arrived, and failed means given up without confirmation."""

    class Picky(MemorySink):
        """A sink that can't merge 700."""

        def merge(self, events: Sequence[MetricEvent]) -> None:
            if 700 in ids(list(events)):
                raise KeyError("what is 700?")
            super().merge(events)

    sink = Picky(name="memory")
    async with collector(BatchMetricsConfig(batch_size=1200), sinks=[sink]) as metrics:
        record(metrics, 1, 1200)
        assert (await metrics.flush()).failed == 1200
        record(metrics, 1201, 1202)
        assert (await metrics.flush()).processed == 2
    stats = account(metrics)
    assert (stats.delivered, stats.failures) == (2, {"merge": 1200})
    assert stats.delivered <= sink.backend.count <= stats.delivered + stats.failed
