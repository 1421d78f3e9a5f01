"""The signal that there may be room in a sink's queue."""

from __future__ import annotations

import trio

from .._concurrency import Turn

__all__ = ["RoomSignal"]


class RoomSignal:
    """Wakes the flush task where it waits for room in the sinks' queues."""

    def __init__(self, turn: Turn) -> None:
        """Create the signal.

        Args:
            turn: the flush task's.
        """
        self._turn = turn
        self._event = trio.Event()
        self.awaited: bool = False
        """Whether the flush task waits for it."""

    def notify(self) -> None:
        """Have the flush task look again: there may be room. Does nothing unless the signal is :attr:`awaited`."""
        if self.awaited:
            self._turn.wanted()
            self._event.set()

    async def wait(self) -> None:
        """Wait until the next :meth:`notify`."""
        self._event, self.awaited = trio.Event(), True
        try:
            await self._event.wait()
        finally:
            self.awaited = False
        self._turn.begin()
