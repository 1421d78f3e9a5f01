"""A collector is opened once, and each sink is closed once, after its last attempt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.helpers import balanced
from tests.leaving.sinks import record
from trio_batchmetrics import BatchMetricsCollector, BatchMetricsConfig, collector
from trio_batchmetrics.abc import SinkContext
from trio_batchmetrics.testing import RecordingSink, StuckSink


async def test_a_flush_under_way_when_the_block_is_left_returns_when_the_exit_flush_has_ended(
    autojump_clock: MockClock,
) -> None:
    """Its sum equals the events that were pending at its call."""
    reports: list[Any] = []

    async def flush(metrics: BatchMetricsCollector) -> None:
        reports.append(await metrics.flush())
        reports.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        async with collector(BatchMetricsConfig(shutdown_timeout=4), sinks=[StuckSink()]) as metrics:
            record(metrics, 3)
            nursery.start_soon(flush, metrics)  # noqa: ASYNC111 - it outlives the block: that is the test
            await trio.sleep(1)
    assert reports[0].failed == 3
    assert reports[1] == 5


async def test_a_collector_is_opened_once_and_several_at_a_time(autojump_clock: MockClock) -> None:
    """A second ``async with`` on the same manager is an error; two managers are independent of each other."""
    one, two = RecordingSink(), RecordingSink()
    manager = collector(sinks=[one])
    async with manager as first, collector(sinks=[two]) as second:
        record(first, 2)
        record(second, 3)
        with pytest.raises(RuntimeError, match="opened once"):
            await manager.__aenter__()
    assert (len(one.events), len(two.events)) == (2, 3)


async def test_opening_never_checkpoints_and_leaving_always_does() -> None:
    """``async with`` starts without a wait, and its end always lets other tasks run."""
    with trio.testing.assert_no_checkpoints():
        manager = collector(sinks=[])
        await manager.__aenter__()
    with trio.testing.assert_checkpoints():
        await manager.__aexit__(None, None, None)


async def test_a_sinks_aclose_is_called_once_and_its_error_stays_inside(autojump_clock: MockClock) -> None:
    """The sink is closed after its last attempt, and an exception of aclose becomes last_error."""

    class Closing(RecordingSink):
        """A sink that counts how often it is closed."""

        closings = 0

        async def aclose(self) -> None:
            """Fail to close."""
            self.closings += 1
            raise OSError("cannot close")

    sink = Closing()
    async with collector(sinks=[sink]) as metrics:
        record(metrics, 2)
    assert sink.closings == 1
    stats = balanced(metrics.stats())
    assert stats.processed_events == 2
    assert "cannot close" in str(stats.sinks["closing"].last_error)


async def test_a_sink_is_closed_even_if_the_deadline_cuts_it_off(autojump_clock: MockClock) -> None:
    """The sink is closed once, and its checkpoints raise, so all it can do is release its resources."""
    closed: list[float] = []

    class Closing(StuckSink):
        """A sink that keeps when it was closed."""

        async def aclose(self) -> None:
            """Try to wait."""
            closed.append(trio.current_time())
            with pytest.raises(trio.Cancelled):
                await trio.lowlevel.checkpoint()

    async with collector(BatchMetricsConfig(batch_size=2, shutdown_timeout=3), sinks=[Closing()]) as metrics:
        record(metrics, 2)
        await trio.sleep(1)
    assert closed == [4.0]


async def test_a_callback_that_would_exit_is_not_called_while_the_block_is_left(autojump_clock: MockClock) -> None:
    """It might read objects that the body has already closed."""

    def callback() -> float:
        raise SystemExit(3)

    async with collector(sinks=[RecordingSink()]) as metrics:
        metrics.observable_gauge("g", callback)
        record(metrics, 2)
    assert balanced(metrics.stats()).processed_events == 2


@pytest.mark.parametrize("setting", ["timeout", "backoff", "max_backoff", "retry_budget", "max_events"])
@pytest.mark.parametrize("value", [0, -1, "3", True, float("nan")])
async def test_a_sink_whose_settings_cannot_work_is_refused_at_once(setting: str, value: object) -> None:
    """The settings are checked however they were set, including as attributes."""
    sink = RecordingSink()
    setattr(sink, setting, value)
    with pytest.raises(ValueError, match=setting):
        collector(sinks=[RecordingSink(), sink])


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the system doesn't list a process's descriptors there")
async def test_a_collector_that_runs_no_task_holds_no_descriptor() -> None:
    """It is disabled, or failed to open. Nothing of it is left to the garbage collector, which may warn about it."""

    class Unbindable(RecordingSink):
        def bind(self, context: SinkContext) -> None:
            raise ValueError("not here")

    def descriptors() -> int:
        return len([*Path("/proc/self/fd").iterdir()])

    before = descriptors()
    async with collector(BatchMetricsConfig(enabled=False), sinks=[]) as metrics:
        metrics.record_cache_metric("redis", "hit")
        assert descriptors() == before
    with pytest.raises(ValueError, match="not here") as raised:
        await collector(sinks=[Unbindable()]).__aenter__()
    assert descriptors() == before
    del raised
