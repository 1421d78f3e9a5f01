"""A batch on its way from the recorders to the flush task, and the bell that wakes the latter."""

from __future__ import annotations

import enum
from collections.abc import Callable

import trio

from .._concurrency import Turn, Waker
from .._events import Row
from .._ledger import Cohort

__all__ = ["Bell", "Gathering"]


class Gathering:
    """A batch that gathers, or waits for the flush task."""

    __slots__ = ("_leave", "cohort", "due", "full", "number", "rows")

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
        self.number: int = 0
        """Its place among all."""
        self.full: bool = False
        """Whether the batch is to leave at once."""
        self._leave: trio.Event | None = None

    def complete(self, waker: Waker, turn: Turn) -> None:
        """Let the batch leave at once."""
        self.full = True
        if self._leave is not None:
            turn.wanted()
            waker(self._leave.set)

    async def gathered(self) -> None:
        """Wait until the batch is full or due."""
        if self.full:
            return
        self._leave = trio.Event()
        with trio.move_on_at(self.due):
            if not self.full:  # a signal handler may have filled it by now, and seen no event to set
                await self._leave.wait()


class _Task(enum.Enum):
    """What the flush task is about."""

    AWAKE = enum.auto()
    """At work, or in the middle of a batch: it looks for others before it waits."""
    EXPECTING = enum.auto()
    """Waiting for as long as a batch may take. One that opens is not due before; one that is complete rings."""
    ASLEEP = enum.auto()
    """Waiting without end. A batch that opens rings."""


# CPython 3.11 takes 0.2 µs to look up a member of an enum.
_AWAKE, _EXPECTING, _ASLEEP = _Task.AWAKE, _Task.EXPECTING, _Task.ASLEEP


class Bell:
    """Wakes the flush task, through a memory channel, where it has to be woken.

    It looks for batches before it waits, so one message will do, and sending cannot block.
    """

    def __init__(
        self, first: Callable[[], Gathering | None], capacity: int, patience: float, waker: Waker, turn: Turn
    ) -> None:
        """Create the wake-up signal; the flush task starts out parked.

        Args:
            first: returns the oldest batch, if there is one.
            capacity: of the channel.
            patience: the longest that a batch may take to gather, in seconds.
            waker: makes calls that touch Trio.
            turn: the flush task's.
        """
        self._turn = turn
        self._first = first
        self._send, self._receive = trio.open_memory_channel[Gathering](capacity)
        self._patience = patience
        self._waker = waker
        self._task = _ASLEEP
        self._closed = False

    def there_is(self, *, complete: bool) -> None:
        """There is a batch; say whether it is complete."""
        if self._task is _ASLEEP or (complete and self._task is _EXPECTING):
            self._waker(self._ring)

    def _ring(self) -> None:
        batch = self._first()
        if self._task is not _AWAKE and batch is not None and not self._closed:
            before, self._task = self._task, _AWAKE
            try:
                self._send.send_nowait(batch)
                self._turn.wanted()
            except trio.WouldBlock:  # there is one already
                pass
            except BaseException:  # a signal handler's: the next look rings again
                self._task = before
                raise

    async def wait(self, *, expecting: bool) -> bool:
        """Wait until there may be a batch. Returns False once it is closed.

        Args:
            expecting: whether more is to be expected soon.
        """
        if expecting:
            self._task = _EXPECTING
            with trio.move_on_after(self._patience):
                return await self._rung()
        self._task = _ASLEEP
        return await self._rung()

    async def _rung(self) -> bool:
        try:
            if self._first() is not None:  # whoever puts one there from here on rings
                await trio.lowlevel.checkpoint()
            else:
                await self._receive.receive()
        except trio.EndOfChannel:
            return False
        finally:
            self._task = _AWAKE
            self._turn.begin()
        return True

    def close(self) -> None:
        """Let the flush task go on, and never wait again. Call it from a task."""
        self._closed = True
        self._send.close()
