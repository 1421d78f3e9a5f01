"""From recorders to the flush task: rows gather into batches, in a buffer of bounded size.

How this works
==============

Any thread appends, and only Trio's thread changes the structure; no lock guards it. A recorder appends a row to the
open batch's list and then looks whether there is something to do: a row that stands in the list is safe and counts,
whatever re-enters the recorder afterwards. Two things decide, so that a record costs one check before and one
comparison after (:meth:`Intake.put`, which :mod:`trio_batchmetrics._events` writes into each recorder, to save a
call)::

    gate    open while there is room and the block is open: one check for a full buffer, a closed and a disabled
            collector, and for what another thread has to tell
    limit   the length of the list at which somebody must look: its first row (a batch opens), its last (it is full and
            leaves), or the buffer's last

:meth:`Intake.look` does what is due. Re-entered by a signal handler, ``__del__`` or a logging handler, it returns at
once, and the outer call looks again. Where re-entry has put a row beyond ``buffer_size``, the gate is shut first and
then the row is refused, or the oldest one evicted: a step each, however much is waiting.

Another thread has Trio's thread look. Until it does, the list may be longer than a batch; what is too much is carried
over into the next list. To look up a list and to append to it is one step only where there is a global interpreter
lock. Without one, and wherever the gate is shut, other threads leave their rows in a queue
(:mod:`.handed_in`). They count towards ``buffer_size`` from the start.

A batch is announced to the flush task through the memory channel when its first event comes, and fills up while it
waits there; so a batch costs one wake-up and one timer, and idleness nothing. The batches themselves stand in
:mod:`.waiting`, which knows the oldest event.
"""

from __future__ import annotations

from threading import get_ident

import trio

from .._events import Row
from .._exceptions import WrongThreadError
from .buffer import Buffer

__all__ = ["Intake"]


class Intake(Buffer):
    """The buffer of one collector, as recorders see it."""

    __slots__ = ()

    def put(self, row: Row) -> None:
        """Record a row, or refuse it and count it. From any thread, never a checkpoint, may be re-entered."""
        if not self.gate:
            if self.admits():
                self.put_slowly(row)
            return
        rows = self.rows
        rows.append(row)
        if len(rows) >= self.limit:
            self.look()

    def admits(self) -> bool:
        """Tell, where the gate is shut, whether to :meth:`put_slowly`; else count a refusal."""
        refusals = self._refusals
        if refusals is None or self.gate or get_ident() != self._thread:  # a handler may have opened it meanwhile
            return True
        refusals.count += 1
        if not self._reporter.noticed:
            self._reporter.trouble()
        return False

    def put_slowly(self, row: Row) -> None:
        """Record a row, or refuse it and count it."""
        here = get_ident() == self._thread
        if here:
            self._look_if_asked()  # what other threads have recorded comes first
        if self.closed or not self._enabled:
            self.refuse("closed")
        elif not (self._drop_oldest or self._has_room()):
            self._handed_in.make_sure()
            self.refuse("buffer_full")
        elif here:
            self.rows.append(row)
            self._look_now()
        else:
            self._handed_in.append(row)
            self._shut_gate()

    async def put_when_room(self, row: Row) -> None:
        """Record a row as soon as there is room: what ``arecord`` promises."""
        self.check_thread()
        await trio.lowlevel.checkpoint_if_cancelled()
        self._look_if_asked()
        if self.gate or self._has_room():  # a thread that has recorded may have shut it just now
            self._kept = row
            self.rows.append(row)
            if len(self.rows) >= self.limit:
                self.look()
            self._kept = None
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        if self.closed:
            self.refuse("closed")
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        await self._waiters.wait(row)

    def check_thread(self) -> None:
        """Let Trio's thread pass; where the collector is disabled, any.

        Raises:
            WrongThreadError: another thread called it.
        """
        if self._enabled and get_ident() != self._thread:
            raise WrongThreadError(
                "arecord() and flush() belong to the thread of the collector's Trio run; "
                "in other threads, use the synchronous recorders"
            )

    def close(self) -> None:
        """Take no more; what waits for room counts as ``closed``, what is open leaves. Call it from a task."""
        if self.closed:
            return
        self._look_now()  # nothing that waits is beyond ``buffer_size`` when it closes
        self._shut()
        self.hurry()
        self._let_go()
        self._bell.close()

    def _shut(self) -> None:
        self._refusals = self._ledger.refusals("closed")
        self.closed = True
        self.gate = False

    def _let_go(self) -> None:
        """What waits for room counts as closed."""
        while self._waiters.rows:
            task, _ = self._waiters.first()
            self.refuse("closed")
            trio.lowlevel.reschedule(task)

    def close_in_child(self) -> None:
        """Take no more, in a forked child: nothing is woken."""
        self._shut()
        if trio.lowlevel.in_trio_task():
            self._let_go()
