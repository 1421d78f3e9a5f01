"""The stats balance in every thread at any time, and never decrease."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from tests.helpers import Policy, balanced, run_at_every_point
from tests.threads import StoppedThread, in_a_thread
from trio_batchmetrics import BatchMetricsConfig, BatchMetricsStats, collector
from trio_batchmetrics.testing import RecordingSink


async def test_stats_may_be_read_from_any_thread_at_any_time() -> None:
    """Every reading balances, even while Trio's thread settles events."""
    async with collector(BatchMetricsConfig(batch_size=3), sinks=[RecordingSink(), RecordingSink()]) as metrics:
        done = trio.Event()

        def read() -> None:
            for _ in range(200):
                balanced(metrics.stats())

        async def record() -> None:
            while not done.is_set():
                for _ in range(10):
                    metrics.record_cache_metric("redis", "hit")
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(record)
            await trio.to_thread.run_sync(read)
            done.set()


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
def test_stats_in_a_thread_balance_and_never_go_back_wherever_the_thread_stands(policy: Policy) -> None:
    """Other threads record meanwhile, and Trio's moves and settles their events."""

    async def play(point: int) -> int:
        config = BatchMetricsConfig(batch_size=3, buffer_size=5, on_full=policy)
        async with collector(config, sinks=[RecordingSink()]) as metrics:
            seen: list[BatchMetricsStats] = []

            def record(count: int) -> Callable[[], None]:
                return lambda: [metrics.record_counter("c", {}, 1) for _ in range(count)].clear()

            in_a_thread(record(2))
            before = balanced(metrics.stats()).total_events
            thread = StoppedThread(lambda: seen.append(metrics.stats()), point)
            in_a_thread(record(7))
            await metrics.flush()
            in_a_thread(record(7))
            metrics.record_counter("c", {}, 1)  # Trio's thread moves the others first
            thread.join()
            assert before <= balanced(seen[0]).total_events <= balanced(metrics.stats()).total_events
        return thread.passed

    run_at_every_point(play, least=40)
