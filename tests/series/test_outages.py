"""An outage of hours loses nothing and takes little memory: a few numbers."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.helpers import report_balanced
from tests.series.sinks import MemorySink, Snapshot, account, record
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.testing import FlakySink, PartialSink, RecordingSink, StuckSink


@pytest.mark.parametrize("beside", ["alone", "event sinks", "another series sink", "a stuck event sink"])
async def test_hours_of_outage_lose_nothing_and_take_little_memory(beside: str, autojump_clock: MockClock) -> None:
    """A hundred thousand events over five hours meet no retry budget and no queue_full, and the ledger stays small."""
    sink = MemorySink()
    sink.down = True
    beside_sinks: dict[str, list[Any]] = {
        "alone": [],
        "event sinks": [RecordingSink(), PartialSink(reject=lambda event: event.labels["id"] % 1000 == 0)],
        "another series sink": [MemorySink(name="other"), FlakySink(fail=3)],
        "a stuck event sink": [StuckSink()],
    }
    sinks = [sink, *beside_sinks[beside]]
    config = BatchMetricsConfig(batch_size=100, buffer_size=1000, shutdown_timeout=0)
    largest = 0
    async with collector(config, sinks=sinks) as metrics:
        ledger = metrics._engine.ledger
        for step in range(1000):
            record(metrics, 100 * step + 1, 100 * step + 100)
            await trio.sleep(18)
            largest = max(largest, ledger.retained)
        assert trio.current_time() == 18_000
        stats = account(metrics)
        assert (stats.total, stats.delivered, stats.failed, stats.pending) == (100_000, 0, 0, 100_000)
        assert len(sink.times) >= 1000
        sink.down = False
        if beside != "a stuck event sink":
            report = report_balanced(await metrics.flush(), 100_000)
            assert report.failed == (100 if beside == "event sinks" else 0)
            assert ledger.retained == 0
        else:
            await trio.sleep(31)
        assert account(metrics).delivered == 100_000
    # A stuck sink holds some 20 batches of a hundred, queued or in flight.
    assert largest <= (40 if beside == "a stuck event sink" else 8)
    assert sink.backend == Snapshot(100_000, 5_000_050_000)
    assert account(metrics).failures == {}


async def test_flushes_that_give_up_in_an_outage_leave_the_ledger_small(autojump_clock: MockClock) -> None:
    """Of a thousand cancelled flushes no watch stays, and the events they watched are one number again."""
    sink = MemorySink()
    sink.down = True
    async with collector(BatchMetricsConfig(batch_size=10), sinks=[sink, RecordingSink()]) as metrics:
        for step in range(1000):
            record(metrics, step + 1, step + 1)
            with trio.move_on_after(1):
                await metrics.flush()
        ledger = metrics._engine.ledger
        assert ledger.retained <= 8
        sink.down = False
        assert report_balanced(await metrics.flush(), 1000).ok


async def test_flushes_that_wait_through_an_outage_each_account_for_their_own(autojump_clock: MockClock) -> None:
    """Twenty concurrent flushes, called at different times, end at the same push with different sums."""
    sink = MemorySink()
    sink.down = True
    sums: list[int] = []
    async with collector(BatchMetricsConfig(batch_size=10), sinks=[sink, RecordingSink()]) as metrics:

        async def flush() -> None:
            report = await metrics.flush()
            assert report.ok
            sums.append(report.processed)

        async with trio.open_nursery() as nursery:
            for step in range(20):
                record(metrics, 5 * step + 1, 5 * step + 5)
                nursery.start_soon(flush)
                await trio.sleep(7)
            assert sums == []
            sink.down = False
    assert sorted(sums) == [5 * step + 5 for step in range(20)]
