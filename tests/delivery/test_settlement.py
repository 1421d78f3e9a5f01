"""An event is settled once, namely when the last of its sinks has settled it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.delivery.sinks import ScriptedSink, account, record
from tests.helpers import balanced, report_balanced
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.abc import Receipt
from trio_batchmetrics.testing import PartialSink


async def test_an_event_failed_in_one_sink_and_delivered_in_another_counts_once_as_failed(
    autojump_clock: MockClock,
) -> None:
    """The event is pending until the last sink has settled it."""
    slow = ScriptedSink(takes=5, name="slow")
    sinks = [ScriptedSink(Receipt.failed("401"), name="bad"), PartialSink(reject=is_one_of([2, 3])), slow]
    async with collector(BatchMetricsConfig(batch_size=4), sinks=sinks) as metrics:
        record(metrics, 1, 4)
        await trio.sleep(4.9)
        stats = balanced(metrics.stats())
        assert (stats.pending_events, stats.failed_events, stats.processed_events) == (4, 0, 0)
        await trio.sleep(1)
        stats = balanced(metrics.stats())
        assert (stats.pending_events, stats.failed_events, stats.processed_events) == (0, 4, 0)
        record(metrics, 5, 8)
        record(metrics, 2, 3)
        report = report_balanced(await metrics.flush(), 6)
        assert (report.processed, report.failed) == (4, 2)
    assert [account(metrics, name).failed for name in ("bad", "partial", "slow")] == [4, 0, 0]
    assert [account(metrics, name).rejected for name in ("bad", "partial", "slow")] == [0, 4, 0]
    assert [account(metrics, name).delivered for name in ("bad", "partial", "slow")] == [6, 6, 10]


def is_one_of(refused: list[int]) -> Callable[[Any], bool]:
    """Return a predicate that is true for the events with these ids."""
    return lambda event: event.labels["id"] in refused


async def test_an_event_counts_as_processed_once_its_last_sink_has_it(autojump_clock: MockClock) -> None:
    """Of two sinks that take one second and three seconds, the second one decides."""
    sinks = [ScriptedSink(takes=1, name="one"), ScriptedSink(takes=3, name="three", max_events=1)]
    processed: list[int] = []
    async with collector(BatchMetricsConfig(batch_size=2), sinks=sinks) as metrics:
        record(metrics, 1, 2)
        for _ in range(7):
            await wait_all_tasks_blocked()
            processed.append(balanced(metrics.stats()).processed_events)
            await trio.sleep(1)
    assert processed == [0, 0, 0, 1, 1, 1, 2]


async def test_many_sinks_settle_each_event_once(autojump_clock: MockClock) -> None:
    """Each of eighty sinks refuses a different event."""
    sinks = [ScriptedSink(Receipt.retried(retry=[n + 1], rejected={n: "no"})) for n in range(80)]
    async with collector(BatchMetricsConfig(batch_size=100), sinks=sinks) as metrics:
        record(metrics, 1, 100)
        report = report_balanced(await metrics.flush(), 100)
        assert (report.processed, report.failed) == (20, 80)
    assert all(sink.delivered == 99 for sink in balanced(metrics.stats()).sinks.values())
