"""The sink pushes everything again every minute, for back-ends that may have lost their memory."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers import balanced
from tests.series.sinks import MemorySink, account, record
from trio_batchmetrics import BatchMetricsConfig, collector


async def test_everything_is_pushed_again_every_minute_while_the_block_is_open(autojump_clock: MockClock) -> None:
    """The minute begins at the last push, with or without new events, and nothing counts twice."""
    sink = MemorySink()
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        await trio.sleep(200)
        assert sink.times == []  # nothing was ever merged
        record(metrics, 1, 2)
        await trio.sleep(70)
        record(metrics, 3, 4)
        await trio.sleep(130)
        assert sink.times == [200, 260, 270, 330, 390]
        assert account(metrics).delivered == 4
    assert sink.times[-1] == 400
    assert (account(metrics).delivered, account(metrics).retries) == (4, 0)


@pytest.mark.parametrize("refresh", [7, 7.0, timedelta(seconds=7)])
async def test_the_refresh_interval_is_a_setting(refresh: Any, autojump_clock: MockClock) -> None:
    """The interval is given in seconds or as a timedelta."""
    sink = MemorySink(refresh=refresh)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await trio.sleep(20)
    assert sink.times == [0, 7, 14, 20]


@pytest.mark.parametrize("refresh", [0, -1, True, "60", float("nan"), timedelta(0)])
def test_a_bad_refresh_is_refused_by_name(refresh: Any) -> None:
    """The error contains the rule and the value."""
    with pytest.raises(ValueError, match=r"^refresh must be seconds > 0, a timedelta > 0 or None \(got "):
        MemorySink(refresh=refresh)


async def test_a_push_that_only_repeats_costs_nothing_if_it_fails(autojump_clock: MockClock) -> None:
    """The push is retried while the block is open; at the end of the block there is one attempt."""
    sink = MemorySink()
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await wait_all_tasks_blocked()
        sink.down = True
        await trio.sleep(200)
        attempts, retries = len(sink.times), account(metrics).retries
        assert attempts > 5
        assert retries > 3
        left = trio.current_time()
    assert trio.current_time() == left
    assert len(sink.times) == attempts + 1
    stats = account(metrics)
    assert (stats.delivered, stats.failed, stats.last_error) == (2, 0, "ConnectionError: down")
    assert balanced(metrics.stats()).processed_events == 2


async def test_one_push_at_the_end_is_enough(autojump_clock: MockClock) -> None:
    """If it contains everything, it isn't repeated; without time for an attempt there is none."""
    for shutdown_timeout, times in ((10, [0]), (0, [])):
        sink = MemorySink()
        config = BatchMetricsConfig(shutdown_timeout=shutdown_timeout)
        async with collector(config, sinks=[sink]) as metrics:
            record(metrics, 1, 2)
        assert sink.times == times
    sink = MemorySink()
    async with collector(BatchMetricsConfig(shutdown_timeout=0), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
    assert sink.times == [0]


async def test_a_last_push_that_hangs_ends_at_the_deadline(autojump_clock: MockClock) -> None:
    """It loses nothing, since nothing was pending."""
    sink = MemorySink(None, ...)
    async with collector(BatchMetricsConfig(batch_size=2, shutdown_timeout=3), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
    assert trio.current_time() == 3
    assert (account(metrics).delivered, account(metrics).failed) == (2, 0)
