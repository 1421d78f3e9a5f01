"""How long a task of the library works before it lets others run: by time, not by the number of steps.

A run loop with a thousand runnable tasks takes a while to come round. A task that does one small piece of work each
time then falls behind although it is idle nearly always; one that always does all its work holds up the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import trio

__all__ = ["Turn"]

_SHORTEST = 0.001
"""Seconds that a turn may take in any case: what a run loop's other tasks do not notice."""

_SHARE = 0.1
"""Of the time since the last turn: a library that takes a tenth of a busy loop keeps up, and costs a tenth."""

_work_clock = time.thread_time if time.get_clock_info("thread_time").resolution <= _SHORTEST / 10 else time.perf_counter
"""Windows counts a thread's time in steps of 15.6 ms."""


class Turn:
    """The work from one checkpoint of a task to its next: at most 1 ms, or a tenth of the time that it had to wait.

    Work is the processor's time in this thread: on a busy machine, a turn in which another process has run is not over
    for that. Neither is Trio's clock, which may be a test's.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter, work: Callable[[], float] = _work_clock) -> None:
        """Begin a turn.

        Args:
            clock: tells seconds.
            work: tells the seconds for which this thread has worked.
        """
        self._clock = clock
        self._work = work
        self._waited_since: float | None = None
        self.extended: bool = False
        """Whether the turn is longer than a millisecond, because the run loop is busy."""
        self._looked = work()
        """When it was last asked whether it is over."""
        self._until = self._looked + _SHORTEST
        self._collected = False
        """Whether a step that took very long has been left out of it."""

    def wanted(self) -> None:
        """Note that there is work from now on. The task begins when the loop comes round to it."""
        if self._waited_since is None:
            self._waited_since = self._clock()

    def begin(self) -> None:
        """Begin a turn, after a wait for work."""
        since, self._waited_since = self._waited_since, None
        waited = 0.0 if since is None else self._clock() - since
        self.extended = _SHARE * waited > _SHORTEST
        self._looked = self._work()
        self._until = self._looked + max(_SHORTEST, _SHARE * waited)
        self._collected = False

    @property
    def over(self) -> bool:
        """Whether it is time to let others run.

        A step of the task's takes less than a millisecond. In a long turn, the first one that takes more isn't counted:
        it was the garbage collector's, and would have held the others up wherever it came. The next one is counted, in
        case an application's code makes the steps so long.
        """
        now = self._work()
        if now >= self._until and self.extended and not self._collected and now - self._looked > _SHORTEST:
            self._collected = True
            self._until += now - self._looked
        self._looked = now
        return now >= self._until

    async def give_way(self) -> None:
        """Let others run, and begin another turn, which has what was left of this one at least. Always a checkpoint."""
        left = self._until - self._work()
        self._waited_since = self._clock()
        await trio.lowlevel.checkpoint()
        self.begin()
        if left > _SHORTEST:  # earned by a long wait; the run loop may come round sooner or later than last time
            self.extended = True
            self._until = max(self._until, self._work() + left)
