"""Counts wake-ups while nothing is recorded, in virtual time: exactly and quickly."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from trio_batchmetrics import BatchMetricsConfig, collector

from .effort import Effort
from .figures import Figure, Outcome

__all__ = ["run"]

INTERVALS = 1000
"""The number of flush intervals without a record."""


class _Steps(trio.abc.Instrument):
    """Counts the steps of all tasks except the application's, including those of Trio's own tasks."""

    def __init__(self) -> None:
        self.count = 0
        self._application = trio.lowlevel.current_task()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count a step."""
        self.count += task is not self._application


async def _steps(bound: bool) -> int:
    interval = BatchMetricsConfig().flush_interval
    async with collector(sinks=[]) as metrics:
        if bound:
            metrics.counter("requests").add(1)
        await trio.sleep(1.5 * interval)  # the initial work is done by then
        steps = _Steps()
        trio.lowlevel.add_instrument(steps)
        await trio.sleep(INTERVALS * interval)
        trio.lowlevel.remove_instrument(steps)
    return steps.count


def run(_: Effort) -> Outcome:
    """Run the benchmark."""
    without = trio.run(_steps, False, clock=MockClock(autojump_threshold=0))
    bound = trio.run(_steps, True, clock=MockClock(autojump_threshold=0))
    seconds = INTERVALS * BatchMetricsConfig().flush_interval
    return Outcome(
        [
            Figure("wake-ups a second while nothing is recorded", without / seconds, "", 0),
            Figure("the same with a bound instrument, a `flush_interval`", bound / INTERVALS, "", 1),
        ]
    )
