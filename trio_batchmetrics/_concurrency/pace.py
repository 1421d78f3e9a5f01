"""Sizes the steps of long work, so that each holds the run loop for about a millisecond at most."""

from __future__ import annotations

import time
from collections.abc import Callable

from .turns import work_clock

__all__ = ["Pace"]

_MAX_STEP = 500
"""The most events per step. Where everything about them is known already, that takes 0.1 to 0.3 ms."""

_MIN_STEP = 5

_MAX_SECONDS = 0.001
"""The seconds above which a step was too long."""

_TARGET_SECONDS = 0.0005
"""The seconds that the steps after it should take."""


class Pace:
    """How many events to process between two checkpoints.

    Events with new labels take ten times as long as others, and nobody knows how long a user's own sink takes. After
    two steps that were too long, the next ones are shorter; from then on they grow again. (A single long step is more
    likely to be the garbage collector's.) Another process may have run during a step, so the step after a long one is
    measured in CPU time. For the others, reading that costs too much: ten times as much as reading the time.
    """

    def __init__(
        self, clock: Callable[[], float] = time.perf_counter, cpu_clock: Callable[[], float] = work_clock
    ) -> None:
        """Begin with long steps.

        Args:
            clock: returns the time, in seconds.
            cpu_clock: returns the CPU time of this thread, in seconds.
        """
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._step_clock = clock
        """The clock that measures the current step."""
        self._started_at = 0.0
        self._was_long = False
        self.size: int = _MAX_STEP
        """The maximum number of events in the next step."""

    def begin(self) -> None:
        """Note that a step begins."""
        self._step_clock = self._cpu_clock if self._was_long else self._clock
        self._started_at = self._step_clock()

    def end(self, count: int) -> None:
        """Note that the step has ended.

        Args:
            count: how many events it processed.
        """
        seconds = self._step_clock() - self._started_at
        was_long, self._was_long = self._was_long, seconds > _MAX_SECONDS
        if was_long and self._was_long:
            self.size = max(_MIN_STEP, int(count * _TARGET_SECONDS / seconds))
        elif self.size < _MAX_STEP and 2 * count >= self.size:
            self.size = min(_MAX_STEP, 2 * self.size)
