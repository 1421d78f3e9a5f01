"""A batch on its way from the recorders to the flush task."""

from __future__ import annotations

import trio

from ._accounts import Cohort
from ._batch import Row
from ._waking import Waker

__all__ = ["Gathering"]


class Gathering:
    """A batch that gathers, or waits for the flush task."""

    __slots__ = ("_leave", "cohort", "due", "full", "rows")

    def __init__(self, rows: list[Row | None], cohort: Cohort, due: float) -> None:
        """Gather in this list.

        Args:
            rows: the events; None where one was pushed out.
            cohort: where they are accounted.
            due: when the batch leaves at the latest, by Trio's clock.
        """
        self.rows: list[Row | None] = rows
        self.cohort: Cohort = cohort
        self.due: float = due
        self.full: bool = False
        """Whether the batch is to leave at once."""
        self._leave: trio.Event | None = None

    def complete(self, waker: Waker) -> None:
        """Let the batch leave at once."""
        self.full = True
        if self._leave is not None:
            waker(self._leave.set)

    async def gathered(self) -> None:
        """Wait until the batch is full or due."""
        if self.full:
            return
        self._leave = trio.Event()
        with trio.move_on_at(self.due):
            if not self.full:  # a signal handler may have filled it by now, and seen no event to set
                await self._leave.wait()
