"""Wake-ups while nothing is recorded, counted in virtual time: exactly, and in no time."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from trio_batchmetrics import BatchMetricsConfig, collector

from .effort import Effort
from .figures import Figure, Outcome

__all__ = ["run"]

INTERVALS = 1000
"""How many flush intervals nothing is recorded for."""


class _Steps(trio.abc.Instrument):
    """Counts the steps of all tasks but the application's, Trio's own included."""

    def __init__(self) -> None:
        self.taken = 0
        self._application = trio.lowlevel.current_task()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count one."""
        self.taken += task is not self._application


async def _steps(bound: bool) -> int:
    interval = BatchMetricsConfig().flush_interval
    async with collector(sinks=[]) as metrics:
        if bound:
            metrics.counter("requests").add(1)
        await trio.sleep(1.5 * interval)  # what there is to do in the beginning is done
        steps = _Steps()
        trio.lowlevel.add_instrument(steps)
        await trio.sleep(INTERVALS * interval)
        trio.lowlevel.remove_instrument(steps)
    return steps.taken


def run(_: Effort) -> Outcome:
    """Measure."""
    without = trio.run(_steps, False, clock=MockClock(autojump_threshold=0))
    bound = trio.run(_steps, True, clock=MockClock(autojump_threshold=0))
    seconds = INTERVALS * BatchMetricsConfig().flush_interval
    return Outcome(
        [
            Figure("wake-ups a second while nothing is recorded", without / seconds, "", 0),
            Figure("the same with a bound instrument, a `flush_interval`", bound / INTERVALS, "", 1),
        ]
    )
