"""An event is processed once every sink has it, and no sink delays another."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers import balanced, ids, report_balanced
from tests.series.sinks import MemorySink, account, record, upto
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.abc import EventSink, Payload, Receipt
from trio_batchmetrics.testing import RecordingSink, StuckSink


async def test_an_event_is_processed_only_after_every_sink_has_it(autojump_clock: MockClock) -> None:
    """Two series sinks and two event sinks are done at 1, 2, 3 and 4 s: it is processed at 4 s, in any order."""
    for order in ([1, 2, 3, 4], [4, 3, 2, 1], [2, 4, 1, 3]):
        start = trio.current_time()
        sinks = [
            MemorySink(takes=order[0], name="series1"),
            SlowSink(order[1], name="event1"),
            MemorySink(takes=order[2], name="series2"),
            SlowSink(order[3], name="event2"),
        ]
        async with collector(BatchMetricsConfig(batch_size=5), sinks=sinks) as metrics:
            record(metrics, 1, 5)
            for second in range(4):
                await trio.sleep_until(start + second + 0.5)
                stats = balanced(metrics.stats())
                assert (stats.pending_events, stats.processed_events) == (5, 0)
                assert sum(sink.delivered for sink in stats.sinks.values()) == 5 * second
            report = report_balanced(await metrics.flush(), 5)
            assert trio.current_time() - start == 4
            assert report.processed == 5
        assert metrics._engine.ledger.retained == 0


class SlowSink(EventSink[None]):
    """A sink that takes some time over each payload, then responds."""

    def __init__(self, takes: float, answer: Receipt | None = None, **settings: Any) -> None:
        """Create a sink that returns the given response after the given seconds."""
        super().__init__(**settings)
        self.takes = takes
        self.answer = answer

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Wait, and respond."""
        await trio.sleep(self.takes)
        return self.answer


@pytest.mark.parametrize("series_takes", [1, 9])
async def test_an_event_that_an_event_sink_fails_has_failed_once_the_series_have_it(
    series_takes: float, autojump_clock: MockClock
) -> None:
    """The event has failed whichever sink is done first, and is pending until the last one is done."""
    event_sink = SlowSink(5, Receipt(rejected={0: "bad", 2: "bad"}), name="event")
    async with collector(
        BatchMetricsConfig(batch_size=4), sinks=[MemorySink(takes=series_takes), event_sink]
    ) as metrics:
        record(metrics, 1, 4)
        await trio.sleep(max(series_takes, 5) - 0.5)
        stats = balanced(metrics.stats())
        assert (stats.processed_events, stats.failed_events, stats.pending_events) == (0, 0, 4)
        await trio.sleep(1)
        stats = balanced(metrics.stats())
        assert (stats.processed_events, stats.failed_events, stats.pending_events) == (2, 2, 0)
    assert account(metrics).delivered == 4


async def test_a_series_sink_that_is_down_does_not_delay_an_event_sink(autojump_clock: MockClock) -> None:
    """A series sink that hangs in its push doesn't either, and an event sink doesn't delay a series sink."""
    series, hanging, good = MemorySink(), MemorySink(*[...] * 100, name="hanging"), RecordingSink()
    series.down = True
    config = BatchMetricsConfig(batch_size=2, buffer_size=4, shutdown_timeout=0)
    async with collector(config, sinks=[series, hanging, StuckSink(), good]) as metrics:
        for step in range(50):
            record(metrics, 2 * step + 1, 2 * step + 2)
            await wait_all_tasks_blocked()
            assert ids(good.events) == upto(2 * step + 2)
            assert series.merged == hanging.merged == upto(2 * step + 2)
            await trio.sleep(1)
        stats = balanced(metrics.stats())
        assert stats.dropped_events == 0
        assert stats.sinks["stuck"].failures == {"queue_full": 100 - 6}
        assert stats.sinks["memory"].failed == 0


async def test_a_series_sink_has_no_queue_so_a_full_one_alongside_it_evicts_its_oldest_events(
    autojump_clock: MockClock,
) -> None:
    """The flush task doesn't wait, so the series go on."""
    series, stuck = MemorySink(), StuckSink(timeout=1e9)
    config = BatchMetricsConfig(batch_size=2, buffer_size=4, shutdown_timeout=0)
    async with collector(config, sinks=[series, stuck]) as metrics:
        for step in range(20):
            record(metrics, 2 * step + 1, 2 * step + 2)
            await wait_all_tasks_blocked()
        assert series.backend.count == 40
        stats = balanced(metrics.stats())
        assert stats.sinks["stuck"].failures == {"queue_full": 34}
        assert (stats.failed_events, stats.pending_events, stats.dropped_events) == (34, 6, 0)
