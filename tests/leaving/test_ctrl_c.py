"""A Ctrl-C in the body doesn't cut the flush short, and a Ctrl-C in the flush ends it at once."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.helpers import balanced
from tests.leaving.sinks import BodyError, SlowSink, ctrl_c, record
from trio_batchmetrics import BatchMetricsCollector, collector
from trio_batchmetrics.testing import StuckSink


def test_a_ctrl_c_that_a_recorder_held_back_belongs_to_the_body() -> None:
    """It doesn't cut the flush short: every event is delivered, then it leaves with the body's error as its context."""
    sink = SlowSink(1)
    error = BodyError()
    stats: list[Any] = []

    async def main() -> None:
        metrics: BatchMetricsCollector | None = None
        try:
            async with collector(sinks=[sink]) as metrics:
                record(metrics, 2)
                ctrl_c()
                raise error
        finally:
            assert metrics is not None
            stats.append(metrics.stats())

    with pytest.raises(KeyboardInterrupt) as caught:
        trio.run(main, clock=MockClock(autojump_threshold=0))
    assert caught.value.__context__ is error
    assert balanced(stats[0]).processed_events == 2


def test_a_ctrl_c_in_the_flush_has_the_bodys_error_as_its_context() -> None:
    """The flush waits for a second, and then ends at once."""
    error = BodyError()
    times: list[float] = []

    @trio.lowlevel.enable_ki_protection
    async def later() -> None:
        await trio.sleep(1)
        ctrl_c()

    async def main() -> None:
        start = trio.current_time()
        trio.lowlevel.spawn_system_task(later)
        metrics: BatchMetricsCollector | None = None
        try:
            async with collector(sinks=[StuckSink()]) as metrics:
                record(metrics, 2)
                raise error
        finally:
            times.append(trio.current_time() - start)
            assert metrics is not None
            assert balanced(metrics.stats()).failed_events == 2

    with pytest.raises(KeyboardInterrupt) as caught:
        trio.run(main, clock=MockClock(autojump_threshold=0))
    assert caught.value.__context__ is error
    assert times == [1]
