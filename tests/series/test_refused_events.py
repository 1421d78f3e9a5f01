"""An event that a series sink refuses is rejected at once, and the others are merged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers import balanced, ids
from tests.series.sinks import MemorySink, account, record, upto
from trio_batchmetrics import BatchMetricsConfig, MetricEvent, collector
from trio_batchmetrics.testing import RecordingSink


class RefusingSink(MemorySink):
    """A sink that refuses to merge odd numbers."""

    def merge(self, events: Sequence[MetricEvent]) -> dict[int, str] | None:
        """Merge the even ones."""
        found = ids(list(events))
        super().merge([event for event, number in zip(events, found, strict=True) if number % 2 == 0])
        return {at: "odd" for at, number in enumerate(found) if number % 2}


@pytest.mark.parametrize("scraped", [False, True])
@pytest.mark.parametrize("beside", [0, 1, 2])
async def test_events_that_a_series_sink_refuses_are_rejected_at_once(
    scraped: bool, beside: int, autojump_clock: MockClock
) -> None:
    """Several calls of merge and other sinks are tried; the first reason is the sink's last error."""
    sink, others = RefusingSink(name="memory"), [RecordingSink() for _ in range(beside)]
    sink.scraped = scraped
    async with collector(BatchMetricsConfig(batch_size=1201), sinks=[sink, *others]) as metrics:
        sink.down = True
        record(metrics, 1, 1201)
        await wait_all_tasks_blocked()
        stats = account(metrics)
        assert (stats.total, stats.rejected) == (1201, 601)
        assert stats.last_error in ("601 of 1201 events refused: odd", "ConnectionError: down")
        sink.down = False
        await metrics.flush()
    stats = account(metrics)
    assert (stats.delivered, stats.rejected, stats.failed) == (600, 601, 0)
    overall = balanced(metrics.stats())
    assert (overall.processed_events, overall.failed_events) == (600, 601)
    assert all(ids(other.events) == upto(1201) for other in others)


@pytest.mark.parametrize("nonsense", [{3: "beyond"}, {-1: "before"}, {"0": "text"}, [0], 7])
async def test_a_merge_that_refuses_events_it_was_not_given_has_failed(
    nonsense: Any, autojump_clock: MockClock
) -> None:
    """Its batch may have been merged, so it has failed, as if merge had raised."""

    class Confused(MemorySink):
        """A sink that names other events."""

        def merge(self, events: Sequence[MetricEvent]) -> Any:
            super().merge(events)
            return nonsense if 1 in ids(list(events)) else None

    sink = Confused(name="memory")
    async with collector(BatchMetricsConfig(batch_size=3), sinks=[sink]) as metrics:
        record(metrics, 1, 6)
        await metrics.flush()
    stats = account(metrics)
    assert (stats.delivered, stats.rejected, stats.failures) == (3, 0, {"merge": 3})
