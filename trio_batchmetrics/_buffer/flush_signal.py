"""The signal that wakes the flush task: a memory channel."""

from __future__ import annotations

import trio

from .._concurrency import Turn, Waker
from .._ledger import PendingBatch
from .waiting_batches import WaitingBatches

__all__ = ["FlushSignal"]


class FlushSignal:
    """Wakes the parked flush task by sending it the oldest batch.

    The flush task looks for batches before it parks, so one message is enough, and sending never blocks.
    """

    def __init__(self, batches: WaitingBatches, capacity: int, waker: Waker, turn: Turn) -> None:
        """Create the signal; the flush task starts out parked.

        Args:
            batches: the waiting batches.
            capacity: the channel's capacity.
            waker: makes the calls that touch Trio.
            turn: the flush task's turn.
        """
        self._batches = batches
        self._send, self._receive = trio.open_memory_channel[PendingBatch](capacity)
        self._waker = waker
        self._turn = turn
        self._closed = False
        self.parked: bool = True
        """Whether the flush task is waiting, or about to. Otherwise it is awake, and looks for batches by itself."""

    def announce(self, batch: PendingBatch) -> None:
        """Queue a batch for the flush task, and wake that task if it is parked."""
        self._batches.append(batch)
        if self.parked:
            self._waker(self._wake)

    def notify(self) -> None:
        """Wake the flush task as soon as that is safe, if it is parked."""
        if self.parked:
            self._waker(self._wake)

    def _wake(self) -> None:
        batch = self._batches.first
        if not self.parked or batch is None or self._closed:
            return
        self.parked = False
        try:
            self._send.send_nowait(batch)
            self._turn.note_work()
        except trio.WouldBlock:  # the channel already holds a message
            pass
        except BaseException:  # raised by a signal handler: the next batch notifies again
            self.parked = True
            raise

    async def wait(self) -> bool:
        """Park until there is a batch. Returns False once the signal is closed."""
        self.parked = True
        try:
            if self._batches.first is not None:  # any append from here on notifies
                await trio.lowlevel.checkpoint()
            else:
                await self._receive.receive()
        except trio.EndOfChannel:
            return False
        finally:
            self.parked = False
            self._turn.begin()
        return True

    def close(self) -> None:
        """Close the signal: the flush task wakes and never waits again. Call it from a task."""
        self._closed = True
        self._send.close()
