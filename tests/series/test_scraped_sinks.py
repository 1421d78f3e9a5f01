"""For a scraped sink, merged events are delivered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers import balanced, report_balanced
from tests.series.sinks import MemorySink, Snapshot, account, record, upto
from trio_batchmetrics import BatchMetricsConfig, MetricEvent, collector
from trio_batchmetrics.abc import Payload, Receipt


class ScrapedSink(MemorySink):
    """A sink that waits to be scraped."""

    scraped = True

    async def send(self, payload: Payload[Snapshot]) -> Any:
        """Fail, because the collector must never call this."""
        raise AssertionError("a scraped sink must not be pushed")


@pytest.mark.parametrize("shutdown_timeout", [0, 10])
async def test_a_scraped_sink_delivers_events_by_merging_them(
    shutdown_timeout: float, autojump_clock: MockClock
) -> None:
    """They count at once, without any attempt, and leaving takes no time."""
    sink = ScrapedSink()
    async with collector(BatchMetricsConfig(batch_size=2, shutdown_timeout=shutdown_timeout), sinks=[sink]) as metrics:
        record(metrics, 1, 4)
        await wait_all_tasks_blocked()
        assert account(metrics, "scraped").delivered == 4
        record(metrics, 5, 5)
        report = report_balanced(await metrics.flush(), 1)
        assert report.ok
        assert trio.current_time() == 0
    assert sink.merged == upto(5)
    assert balanced(metrics.stats()).processed_events == 5
    assert trio.current_time() == 0


async def test_a_scraped_sink_alongside_others_settles_first(autojump_clock: MockClock) -> None:
    """The event is processed once the slow sink has it, and failed if that one refuses it."""

    async def slow(batch: Sequence[MetricEvent]) -> Receipt:
        await trio.sleep(5)
        return Receipt(rejected={1: "bad"})

    async with collector(BatchMetricsConfig(batch_size=3), sinks=[ScrapedSink(), slow]) as metrics:
        record(metrics, 1, 3)
        await trio.sleep(1)
        stats = balanced(metrics.stats())
        assert (stats.pending_events, stats.sinks["scraped"].delivered) == (3, 3)
        await metrics.flush()
    stats = balanced(metrics.stats())
    assert (stats.processed_events, stats.failed_events) == (2, 1)
