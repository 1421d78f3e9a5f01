"""The signal that a sink's queue may have room."""

from __future__ import annotations

import trio

from .._concurrency import Turn

__all__ = ["RoomSignal"]


class RoomSignal:
    """Wakes the flush task when it waits for room in the sinks' queues."""

    def __init__(self, turn: Turn) -> None:
        """Create the signal.

        Args:
            turn: the flush task's turn.
        """
        self._turn = turn
        self._event = trio.Event()
        self.awaited: bool = False
        """Whether the flush task is waiting for it."""

    def notify(self) -> None:
        """Wake the flush task, because there may be room. Does nothing unless the signal is :attr:`awaited`."""
        if self.awaited:
            self._turn.note_work()
            self._event.set()

    async def wait(self) -> None:
        """Wait until the next :meth:`notify`."""
        self._event, self.awaited = trio.Event(), True
        try:
            await self._event.wait()
        finally:
            self.awaited = False
        self._turn.begin()
