"""Limits how long a library task works before it yields to others: by time, not by the number of steps.

A run loop with a thousand runnable tasks takes a while to come round. A task that does one small piece of work per pass
then falls behind, although it is idle nearly all the time. A task that always does all its work holds up the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import trio

__all__ = ["Turn", "work_clock"]

_MIN_SECONDS = 0.001
"""The seconds that a turn may always take: the other tasks of the run loop don't notice such a short delay."""

_SHARE = 0.1
"""The turn's share of the time since the last turn: with a tenth of a busy loop, a task keeps up, and costs a tenth."""

work_clock = (
    time.thread_time if time.get_clock_info("thread_time").resolution <= _MIN_SECONDS / 10 else time.perf_counter
)
"""Thread time if its clock is fine enough: Windows counts a thread's time in steps of 15.6 ms."""


class Turn:
    """A task's work from one checkpoint to the next: at most 1 ms, or a tenth of the time that the task had to wait.

    Work is measured in CPU time of this thread, so a turn doesn't end early on a busy machine because another process
    has run meanwhile. Trio's clock isn't used either: it may be a test's clock.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.perf_counter,
        cpu_clock: Callable[[], float] = work_clock,
        *,
        min_seconds: float = _MIN_SECONDS,
    ) -> None:
        """Begin a turn.

        Args:
            clock: returns the time, in seconds.
            cpu_clock: returns the CPU time of this thread, in seconds.
            min_seconds: the seconds that a turn may always take.
        """
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._min_seconds = min_seconds
        self._waited_since: float | None = None
        self.extended: bool = False
        """Whether the turn is longer than a millisecond, because the run loop is busy."""
        self._last_read = cpu_clock()
        """The CPU time when :attr:`over` was last read, or the turn began."""
        self._ends_at = self._last_read + min_seconds
        self._excluded_long_step = False
        """Whether one very long step has already been excluded from the turn."""

    def note_work(self) -> None:
        """Note that there is work from now on. The task starts on it when the run loop comes round."""
        if self._waited_since is None:
            self._waited_since = self._clock()

    def begin(self) -> None:
        """Begin a turn after a wait for work."""
        since, self._waited_since = self._waited_since, None
        waited = 0.0 if since is None else self._clock() - since
        self.extended = _SHARE * waited > self._min_seconds
        self._last_read = self._cpu_clock()
        self._ends_at = self._last_read + max(self._min_seconds, _SHARE * waited)
        self._excluded_long_step = False

    @property
    def over(self) -> bool:
        """Whether it is time to yield to other tasks.

        A step of a task takes less than a millisecond. In an extended turn, the first step that takes longer isn't
        counted: the garbage collector ran, and would have held up the others wherever it ran. The next long step is
        counted, in case the application's own code makes the steps so long.
        """
        now = self._cpu_clock()
        if (
            now >= self._ends_at
            and self.extended
            and not self._excluded_long_step
            and now - self._last_read > _MIN_SECONDS
        ):
            self._excluded_long_step = True
            self._ends_at += now - self._last_read
        self._last_read = now
        return now >= self._ends_at

    async def yield_to_others(self) -> None:
        """Yield to other tasks, then begin a turn with at least the time left from this one. Always a checkpoint."""
        left = self._ends_at - self._cpu_clock()
        self._waited_since = self._clock()
        await trio.lowlevel.checkpoint()
        self.begin()
        if left > self._min_seconds:  # keep the time earned by a long wait, however soon the run loop came round now
            self.extended = True
            self._ends_at = max(self._ends_at, self._cpu_clock() + left)
