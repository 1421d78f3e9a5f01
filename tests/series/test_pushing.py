"""A merged event is pending until a push that contains it succeeds, and failed pushes are made again."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers import balanced, report_balanced
from tests.series.sinks import MemorySink, Snapshot, account, record
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.abc import Payload, Receipt


async def test_merged_events_are_pending_until_a_push_that_contains_them_succeeds(autojump_clock: MockClock) -> None:
    """Events that a later snapshot contains count, too; those merged meanwhile don't."""
    sink = MemorySink(takes=10)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await trio.sleep(5)
        record(metrics, 3, 6)
        await trio.sleep(4)
        stats = account(metrics)
        assert (stats.delivered, stats.pending, balanced(metrics.stats()).processed_events) == (0, 6, 0)
        await trio.sleep(2)
        stats = account(metrics)
        assert (stats.delivered, stats.pending, balanced(metrics.stats()).processed_events) == (2, 4, 2)
        report = report_balanced(await metrics.flush(), 4)
        assert (report.processed, trio.current_time()) == (4, 20)
    assert sink.times == [0, 10, 20]
    assert [snapshot.count for snapshot in sink.snapshots] == [2, 6, 6]


async def test_a_snapshot_is_fresh_at_each_attempt(autojump_clock: MockClock) -> None:
    """Events merged while the sink backed off are in the next attempt, which settles them."""
    again = Receipt.retried(10, error="503")
    sink = MemorySink(again, again)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await trio.sleep(5)
        record(metrics, 3, 4)
        await trio.sleep(10)
        record(metrics, 5, 6)
        await metrics.flush()
        assert trio.current_time() == 20
    assert sink.times == [0, 10, 20, 20]
    assert [snapshot.count for snapshot in sink.snapshots] == [2, 4, 6, 6]
    stats = account(metrics)
    assert (stats.delivered, stats.failed, stats.retries, stats.last_error) == (6, 0, 2, "503")
    assert stats.last_success is not None


async def test_a_snapshot_has_everything_merged_before_its_attempt_and_the_ledger_counts_no_more(
    autojump_clock: MockClock,
) -> None:
    """At every instant, the delivered count doesn't exceed what the back-end has."""
    dice = random.Random(4)
    sink = MemorySink(takes=0.1)
    merged_at: list[int] = []

    class Watching(MemorySink):
        """A sink that compares both at each attempt."""

        async def send(self, payload: Payload[Snapshot]) -> Any:
            merged_at.append(self.count - payload.parts[0].count)
            return await super().send(payload)

    sink = Watching(takes=0.1, name="memory")
    async with collector(BatchMetricsConfig(batch_size=3), sinks=[sink]) as metrics:
        for step in range(300):
            record(metrics, 4 * step + 1, 4 * step + dice.randint(1, 4))
            await trio.sleep(dice.choice([0, 0.03, 0.2]))
            sink.down = dice.random() < 0.3
            stats = account(metrics)
            assert stats.delivered <= sink.backend.count
            assert stats.delivered + stats.pending == stats.total == sink.count
        sink.down = False
        await metrics.flush()
    assert account(metrics).delivered == sink.backend.count == sink.count
    assert sink.backend.total == sum(sink.merged)
    assert 0 <= min(merged_at) <= max(merged_at) <= 1000


@pytest.mark.parametrize(
    "failure",
    [
        OSError("no route"),
        ...,
        Receipt.retried(error="503"),
        Receipt.failed("401"),
        Receipt.split(),
        Receipt(rejected={0: "bad"}),
        Receipt.retried(retry=[0]),
        False,
        "ok",
    ],
    ids=str,
)
async def test_every_push_that_does_not_succeed_is_made_again(failure: Any, autojump_clock: MockClock) -> None:
    """A failed push loses nothing while a later one succeeds; a snapshot can't be refused permanently."""
    sink = MemorySink(failure, failure, timeout=2)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await wait_all_tasks_blocked()
        assert account(metrics).pending == 2
        record(metrics, 3, 4)
        assert report_balanced(await metrics.flush(), 4).processed == 4
    assert sink.backend == Snapshot(4, 10)
    stats = account(metrics)
    assert (stats.delivered, stats.failed, stats.rejected, stats.retries) == (4, 0, 0, 2)
    assert stats.last_error


@pytest.mark.parametrize("success", [None, Receipt(), Receipt.retried(retry=[])])
async def test_a_push_that_succeeded_is_not_made_again(success: Receipt | None, autojump_clock: MockClock) -> None:
    """The next push comes only when it is due or the block ends; a pause without a retry has no meaning."""
    sink = MemorySink(success, refresh=None)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await trio.sleep(1000)
        assert account(metrics).delivered == 2
        assert account(metrics).retries == 0
        assert sink.times == [0]
    assert sink.times == [0, 1000]


async def test_an_error_with_a_successful_push_is_reported_and_changes_nothing_else(
    autojump_clock: MockClock,
) -> None:
    """The push counts as delivered and isn't repeated before it is due."""
    sink = MemorySink(Receipt(error="2 of 7 points were dropped"), refresh=None)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await trio.sleep(1000)
        stats = account(metrics)
        assert (stats.delivered, stats.failed, stats.pending, stats.retries) == (2, 0, 0, 0)
        assert stats.last_error == "2 of 7 points were dropped"
        assert stats.last_success is not None
        assert sink.times == [0]


async def test_a_push_that_fails_for_good_is_repeated_no_faster_than_the_backoff(autojump_clock: MockClock) -> None:
    """In ten minutes, pauses of 15 s on average leave room for a few dozen attempts."""
    sink = MemorySink(*[Receipt.failed("401")] * 10_000)
    async with collector(BatchMetricsConfig(batch_size=2, shutdown_timeout=0), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await trio.sleep(600)
        assert 20 < len(sink.times) < 80
        for number, (before, after) in enumerate(pairwise(sink.times)):
            assert 0 < after - before <= min(30, 0.5 * 2**number)


async def test_a_snapshot_that_raises_is_tried_again(autojump_clock: MockClock) -> None:
    """It counts like a failed push, and send isn't called meanwhile."""

    class Failing(MemorySink):
        """A sink whose first two snapshots raise."""

        failures = 2

        def snapshot(self) -> Snapshot:
            if self.failures:
                self.failures -= 1
                raise ValueError("in the middle of something")
            return super().snapshot()

    sink = Failing(name="memory")
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        assert (await metrics.flush()).processed == 2
    stats = account(metrics)
    assert (stats.delivered, stats.retries) == (2, 2)
    assert "snapshot" in str(stats.last_error)
    assert "in the middle of something" in str(stats.last_error)
    assert len(sink.times) == 2


async def test_each_snapshot_has_a_key_of_its_own(autojump_clock: MockClock) -> None:
    """They differ, so a back-end that detects repetitions doesn't mistake a later one for an earlier one."""
    sink = MemorySink(OSError(), OSError())
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
        record(metrics, 3, 4)
        await metrics.flush()
    assert len(set(sink.keys)) == len(sink.keys) == 5


async def test_pauses_double_and_a_success_makes_them_short_again(autojump_clock: MockClock) -> None:
    """Pauses reach up to 30 s, with full jitter, as for event sinks."""
    sinks = [MemorySink(*[OSError()] * 8, None, OSError()) for _ in range(60)]
    async with collector(BatchMetricsConfig(batch_size=2), sinks=sinks) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
        record(metrics, 3, 4)
        await metrics.flush()
    for n, longest in enumerate([0.5, 1, 2, 4, 8, 16, 30, 30, None, 0.5]):
        if longest is not None:
            pauses = [sink.times[n + 1] - sink.times[n] for sink in sinks]
            assert 0 <= min(pauses) < longest / 4
            assert longest * 3 / 4 < max(pauses) <= longest
