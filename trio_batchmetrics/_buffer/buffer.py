"""The buffer: recorders put rows into it from any thread, and the flush task takes batches out.

How this works
==============

Any thread may append, but only Trio's thread changes the structure, so no lock guards it. A recorder appends a row to
the open batch's list and then checks whether maintenance is due. A row in the list is safe and counted, whatever
re-enters the recorder afterwards. Two attributes drive this, so that recording costs one check before the append and
one comparison after it (:meth:`Buffer.put`; the recorders inline it to save a call)::

    gate    open while the buffer has room and the block is open: one check covers a full buffer, a closed or disabled
            collector, and rows that another thread has handed in
    limit   the length of the list at which maintenance is due: its first row (a batch opens), its last (the batch is
            full and is sealed), or the last that the buffer has room for

:meth:`Batching.maintain` runs the maintenance. If a signal handler, ``__del__`` or a logging handler re-enters it, the
inner call returns at once and the outer call carries on. If re-entry has put a row beyond ``buffer_size``, maintenance
first shuts the gate, then refuses that row or evicts the oldest one: one step per row, however many events are waiting.

Other threads ask Trio's thread to run maintenance. Until it does, the list may grow longer than a batch; the excess is
carried over into the next list. Looking up the list and appending to it is a single step only under a global
interpreter lock. Without one, and whenever the gate is shut, other threads leave their rows in a queue
(:mod:`.handed_in`). These rows count towards ``buffer_size`` from the start.

A batch is announced to the flush task through the memory channel when its first event arrives, and fills up while it
waits. A batch therefore costs one wake-up and one timer, and an idle buffer costs nothing. The batches themselves are
in :mod:`.waiting_batches`, which knows the oldest event.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import get_ident

import trio

from .._events import RecordedRow, Row
from .._exceptions import WrongThreadError
from .._ledger import FlushWaiter, PendingBatch
from .batching import Batching

__all__ = ["Buffer"]


class Buffer(Batching):
    """One collector's buffer, with the interface for recorders, the flush task and the end of the block."""

    __slots__ = ()

    # -- recorders

    def put(self, row: RecordedRow) -> None:
        """Record a row, or refuse and count it. Callable from any thread; never a checkpoint; re-entrant."""
        if self.gate:
            rows = self.rows
            rows.append(row)
            if len(rows) >= self.limit:
                self.maintain()
        elif self.admits():
            self.put_slowly(row)

    def admits(self) -> bool:
        """Return whether to call :meth:`put_slowly` when the gate is shut; if not, count a refusal."""
        refusals = self._refusals
        if refusals is None or self.gate or get_ident() != self._thread:  # a handler may have just opened the gate
            return True
        refusals.count += 1
        if not self._reporter.notified:
            self._reporter.notify()
        return False

    def put_slowly(self, row: RecordedRow) -> None:
        """Record a row, or refuse and count it: the slow path of :meth:`put`. From any thread."""
        in_trio_thread = get_ident() == self._thread
        if in_trio_thread:
            self._maintain_if_requested()  # rows that other threads have recorded come first
        if self.closed or not self._enabled:
            self.refuse("closed")
        elif not (self._drop_oldest or self._has_room()):
            self._handed_in.request_move()
            self.refuse("buffer_full")
        elif in_trio_thread:
            self.rows.append(row)
            self._maintain_now()
        else:
            self._handed_in.append(row)
            self._shut_gate()

    def refuse(self, reason: str) -> None:
        """Count a refused event. From any thread."""
        if self._enabled:
            self._recorded.refuse(reason)
            self._reporter.notify()

    async def put_when_room(self, row: RecordedRow) -> None:
        """Record a row as soon as there is room. This implements the guarantee of ``arecord``."""
        self.check_thread()
        await trio.lowlevel.checkpoint_if_cancelled()
        self._maintain_if_requested()
        if self.gate or self._has_room():  # another thread may have shut the gate, although there is room
            self._arecord_row = row
            self.rows.append(row)
            if len(self.rows) >= self.limit:
                self.maintain()
            self._arecord_row = None
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        if self.closed:
            self.refuse("closed")
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        await self._waiters.wait(row)

    def check_thread(self) -> None:
        """Check that the caller runs in Trio's thread. A disabled collector accepts any thread.

        Raises:
            WrongThreadError: the caller runs in another thread.
        """
        if self._enabled and get_ident() != self._thread:
            raise WrongThreadError(
                "arecord() and flush() belong to the thread of the collector's Trio run; "
                "in other threads, use the synchronous recorders"
            )

    # -- the flush task

    @property
    def newest(self) -> int:
        """The number of the newest batch."""
        return self._batches.newest

    def next_batch(self) -> PendingBatch | None:
        """Return the oldest batch, or None, and make it the current one. Its events are still waiting."""
        if self._maintenance_requested or self._interrupted or self._handed_in.rows:
            self._maintain_now()
        self._current_batch = self._batches.first
        return self._current_batch

    def seal(self, batch: PendingBatch) -> None:
        """Seal a batch that is due."""
        if self._open_batch is batch:
            with self._change:
                if self._open_batch is batch:
                    self._seal()

    def take(self, batch: PendingBatch) -> list[Row]:
        """Take the events of the current batch out of the buffer, which frees their room. Call it from a task.

        Returns:
            The rows that were not evicted.
        """
        if self._maintenance_requested or self._interrupted or self._handed_in.rows:
            self._maintain_now()  # evict the oldest events before taking the others
        with self._change:
            self._current_batch = None
            self._batches.take(batch)
        while self._waiters.rows and self._recorded.waiting < self._buffer_size:
            task, row = self._waiters.pop_first()
            self._arecord_row = row
            self.rows.append(row)
            trio.lowlevel.reschedule(task)
            self._maintain_now()
            self._arecord_row = None
        return [row for row in batch.rows if row is not None] if batch.evicted else batch.rows

    def report_loss(self) -> None:
        """Have the reporter log that events were lost."""
        self._reporter.notify()

    # -- flushes, bound instruments, and the end of the block

    def seal_open_batch(self) -> None:
        """Seal the open batch, if there is one, so that it is taken at once. Call it from a task."""
        self._maintain_if_requested()
        if self._open_batch is not None:
            with self._change:
                self._seal_ready()

    def _seal_ready(self) -> None:
        if self._open_batch is not None:
            self._open_batch.mark_ready(self._waker, self._turn)
            self.signal.notify()
            self._seal()

    def add_waiter(self, notify: Callable[[], object]) -> FlushWaiter:
        """Seal the open batch and register a waiter for every pending event. Call it from a task.

        The waiter doesn't cover rows that re-entrant recorders add. See :meth:`Ledger.add_waiter`.
        """
        self._maintain_if_requested()
        with self._change:
            self._seal_ready()
            return self._ledger.add_waiter(partial(self._waker, notify))

    @property
    def points_waiting(self) -> bool:
        """Whether points of an earlier collection have yet to be handed over."""
        return self._batches.has_points

    def put_points(self, points: list[Row]) -> None:
        """Queue the points collected from bound instruments. They follow the open batch and take no room."""
        self.seal_open_batch()
        with self._change:
            for start in range(0, len(points), self._batch_size):
                batch = self._ledger.open_points(points[start : start + self._batch_size], self._clock.current_time())
                batch.ready = True
                self.signal.announce(batch)

    def close(self) -> None:
        """Refuse further rows and waiting tasks' rows as ``closed``, and seal the open batch. Call it from a task."""
        if self.closed:
            return
        self._maintain_now()  # so that no more than ``buffer_size`` events are waiting when the buffer closes
        self._mark_closed()
        self.seal_open_batch()
        self._reject_waiters()
        self.signal.close()

    def _mark_closed(self) -> None:
        self._refusals = self._recorded.refusals("closed").local_cell()
        self.closed = True
        self.gate = False

    def _reject_waiters(self) -> None:
        """Wake the tasks that wait for room, and count their rows as closed."""
        while self._waiters.rows:
            task, _ = self._waiters.pop_first()
            self.refuse("closed")
            trio.lowlevel.reschedule(task)

    def close_in_child(self) -> None:
        """Refuse all further rows in a forked child. No library task is woken there."""
        self._mark_closed()
        if trio.lowlevel.in_trio_task():
            self._reject_waiters()
