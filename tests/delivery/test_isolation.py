"""A slow or failing sink neither delays another sink nor loses its own later batches."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from tests.delivery.sinks import ScriptedSink, account, record, upto
from tests.helpers import balanced
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.abc import Receipt
from trio_batchmetrics.testing import FlakySink, StuckSink


async def test_a_slow_sink_never_delays_a_good_one(autojump_clock: MockClock) -> None:
    """Next to a sink that is stuck, slow or backing off, the good one gets each batch the moment it is full."""
    good = ScriptedSink(name="good")
    sinks = [StuckSink(), FlakySink(fail=10**6), ScriptedSink(takes=20, name="slow"), good]
    async with collector(BatchMetricsConfig(batch_size=2, shutdown_timeout=0), sinks=sinks) as metrics:
        for second in range(100):
            record(metrics, 2 * second + 1, 2 * second + 2)
            await trio.sleep(1)
    assert good.times == list(range(100))
    assert good.payloads == [[2 * second + 1, 2 * second + 2] for second in range(100)]
    assert account(metrics, "good").delivered == 200


async def test_a_sink_that_raises_gets_its_later_batches(autojump_clock: MockClock) -> None:
    """Later events are tried, whether earlier ones were given up, refused or rejected."""
    sink = ScriptedSink(OSError(), ValueError(), Receipt.failed("400"), KeyError(), retry_budget=0.001)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        for start in range(1, 20, 2):
            record(metrics, start, start + 1)
            await metrics.flush()
    stats = account(metrics)
    assert stats.failed >= 2
    assert stats.failed + stats.delivered == 20
    assert sink.payloads[-1] == [19, 20]
    assert [payload for payload in sink.payloads if payload[0] > 8] == [[n, n + 1] for n in range(9, 20, 2)]


async def test_with_defaults_two_thousand_events_a_second_through_a_slow_sink_lose_nothing(
    autojump_clock: MockClock,
) -> None:
    """An attempt takes 100 ms: a slow back-end costs latency, not data."""
    sink = ScriptedSink(takes=0.1)
    async with collector(sinks=[sink]) as metrics:
        start = trio.current_time()
        for step in range(1000):
            record(metrics, 20 * step + 1, 20 * step + 20)
            await trio.sleep_until(start + (step + 1) / 100)
            assert balanced(metrics.stats()).pending_events <= 600
        left = trio.current_time()
    assert trio.current_time() - left <= 0.2001
    assert [event for payload in sink.payloads for event in payload] == upto(20_000)
    stats = balanced(metrics.stats())
    assert (stats.processed_events, stats.dropped_events, stats.failed_events) == (20_000, 0, 0)
