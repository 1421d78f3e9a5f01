"""From recorders to the flush task: rows gather into batches, in a buffer of bounded size.

How this works
==============

Only Trio's thread changes the structure, and no lock guards it. A recorder appends a row to the open batch's list and
then looks whether there is something to do: a row that stands in the list is safe, whatever re-enters the recorder
afterwards. Two numbers decide, so that a record costs one comparison before and one after (:meth:`Intake.put`, which
:mod:`trio_batchmetrics._compiled` writes into each recorder, to save a call)::

    gate    the Trio thread's ident while there is room and the block is open, else 0: one check for another thread, a
            full buffer, a closed or disabled collector, and events that other threads have recorded
    limit   the length of the list at which somebody must look: its first row (a batch opens), its last (it is full and
            leaves), or the buffer's last

:meth:`Intake.look` does what is due. Re-entered by a signal handler, ``__del__`` or a logging handler, it returns at
once, and the outer call looks again. Where re-entry has put a row beyond ``buffer_size``, the gate is shut first and
then the row is refused, or the oldest one evicted: a step each, however much is waiting.

Another thread leaves its row to Trio's (:mod:`trio_batchmetrics._handed_in`). It counts towards ``buffer_size`` from
the start.

A batch is announced to the flush task through the memory channel when its first event comes, and fills up while it
waits there; so a batch costs one wake-up and one timer, and idleness nothing. The batches themselves stand in
:mod:`trio_batchmetrics._waiting`, which knows the oldest event.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import get_ident
from typing import Any, cast

import trio

from ._accounts import Tally
from ._batch import Row
from ._config import BatchMetricsConfig
from ._exceptions import WrongThreadError
from ._flushes import Watch
from ._gathering import Bell, Gathering
from ._handed_in import HandedIn
from ._ledger import Ledger
from ._reporting import LossReporter
from ._stack import DEEP, has_room
from ._turns import Turn
from ._waiting import WaitingBatches
from ._waking import Waker

__all__ = ["Intake"]


class _Change:
    """A change of the structure by a task: re-entering recorders leave it alone; it is looked at afterwards."""

    __slots__ = ("_intake",)

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def __enter__(self) -> None:
        self._intake.busy = True

    def __exit__(self, *_: object) -> None:
        intake = self._intake
        intake.busy = False
        intake.limit = 0
        intake.look()


class Intake:
    """The buffer of one collector."""

    def __init__(
        self,
        config: BatchMetricsConfig,
        ledger: Ledger,
        waker: Waker,
        clock: trio.abc.Clock,
        reporter: LossReporter,
        turn: Turn,
    ) -> None:
        """Open the buffer in the calling thread, which is Trio's.

        Args:
            config: the collector's.
            ledger: where every event is accounted.
            waker: makes calls that touch Trio.
            clock: the Trio run's.
            reporter: told of what was lost.
            turn: the flush task's; told when there is work for it.
        """
        self.closed: bool = False
        self._thread = get_ident()
        self.gate: int = self._thread
        self.limit: int = 1
        self.rows: list[Row | None] = []
        self.busy: bool = False
        """Whether the structure is being changed."""
        self._again = False
        self._cut_short = False
        """Whether a signal handler has raised in the middle of a change."""
        self._looks_later = False
        """Whether a task of the library has been asked to look."""
        self._flush_interval = config.flush_interval
        self._buffer_size = config.buffer_size
        self._batch_size = min(config.batch_size, config.buffer_size)
        self._drop_oldest = config.on_full == "drop_oldest"
        if self._drop_oldest:
            ledger.capacity = config.buffer_size
        self._full: Tally | None = None if self._drop_oldest else ledger.refusals("buffer_full")
        self._refusals: Tally | None = self._full
        """Counts what the gate keeps out; None: only :meth:`put_slowly` can tell whether that is to be refused."""
        self.hand_shrunk: Callable[[], object] = lambda: None
        """Called when the batch in the flush task's hand has lost an event: it may fit now where it did not."""
        self._ledger = ledger
        self._waker = waker
        self._clock = clock
        self._reporter = reporter
        self._turn = turn
        self._open: Gathering | None = None
        self._hand: Gathering | None = None
        self._batches = WaitingBatches(ledger)
        self._waiters: dict[trio.lowlevel.Task, Row] = {}
        self._kept: Row | None = None  # what arecord is putting: re-entry may not cost it its place
        self._change = _Change(self)
        self._handed_in = HandedIn(ledger, config.buffer_size, partial(waker, self._look_now), reporter.trouble)
        self._bell = Bell(lambda: self._batches.first, config.buffer_size, config.flush_interval, waker, turn)
        self._taken = False
        ledger.watch_rows(self.rows)
        self._enabled = config.enabled
        if not config.enabled:
            self.gate = 0
            self._refusals = Tally()  # nobody's: nothing is counted, and nothing told
            reporter.be_still()

    # -- recording

    def put(self, row: Row) -> None:
        """Record a row, or refuse it and count it. From any thread, never a checkpoint, may be re-entered."""
        ident = get_ident()
        if ident != self.gate:
            if self.admits(ident):
                self.put_slowly(ident, row)
            return
        self.rows.append(row)
        if len(self.rows) >= self.limit:
            self.look()

    def admits(self, ident: int) -> bool:
        """Tell, where the gate isn't the calling thread's, whether it may :meth:`put_slowly`; else count a refusal."""
        refusals = self._refusals
        if refusals is None or ident != self._thread or ident == self.gate:  # a handler may have opened it meanwhile
            return True
        refusals.count += 1
        if not self._reporter.noticed:
            self._reporter.trouble()
        return False

    def put_slowly(self, ident: int, row: Row) -> None:
        """Record a row, or refuse it and count it; ``ident`` is the calling thread's."""
        if ident == self._thread and self._handed_in:
            self._look_now()  # what other threads have recorded comes first
        if self.closed or not self._enabled:
            self.refuse("closed")
        elif not self._drop_oldest and (self._waiters or self._ledger.waiting >= self._buffer_size):
            self._handed_in.make_sure()
            self.refuse("buffer_full")
        elif ident == self._thread:
            self.rows.append(row)
            self._look_now()
        else:
            self._handed_in.append(row)
            self.gate, self._refusals = 0, None  # Trio's thread looks before its next record

    async def put_when_room(self, row: Row) -> None:
        """Record a row as soon as there is room, first come first served. Always a checkpoint.

        Cancelled, it has recorded nothing. Where the buffer closes meanwhile the row counts as ``closed``.

        Raises:
            WrongThreadError: called elsewhere than in Trio's thread.
        """
        self.check_thread()
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self.gate and not self.closed:
            self._look_now()  # it may be shut because of what other threads have recorded; that comes first
        if self.gate or self._lets_in:
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
        task = trio.lowlevel.current_task()
        self._waiters[task] = row

        def abort(_: object) -> trio.lowlevel.Abort:
            del self._waiters[task]
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    @property
    def _lets_in(self) -> bool:
        """Whether there is room, and nobody waits for it, whatever the gate says: a thread may have just shut it."""
        return not self.closed and not self._waiters and self._ledger.waiting < self._buffer_size

    def refuse(self, reason: str) -> None:
        """Count an event that is not taken. From any thread."""
        if self._enabled:
            self._ledger.refuse(reason)
            self._reporter.trouble()

    def lost(self) -> None:
        """Events were lost: have it reported."""
        self._reporter.trouble()

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

    # -- gathering

    def look(self) -> None:
        """Do what is due: move what other threads have recorded, open a batch, let a full one leave, make room."""
        while self._again or len(self.rows) >= self.limit:
            if self.busy:
                self._again = True
                return  # re-entered: the outer call looks again once it has let go
            try:
                if not has_room(DEEP):
                    self._look_later()
                    return
            except RecursionError:
                return  # the row is safe; the next record looks
            self.busy, self._again = True, False
            try:
                self._look_once()
            except BaseException:
                self._cut_short, self._refusals, self.limit = (
                    True,
                    None,
                    0,
                )  # the next record looks, and goes on with it
                raise
            finally:
                self.busy = False

    def _look_now(self) -> None:
        self.limit = 0
        self.look()

    def _look_later(self) -> None:
        """The stack is nearly used up: have a task of the library look. Until then the newest make room."""
        if self._ledger.waiting > self._buffer_size:
            self._refuse_newest()
        if not self._looks_later:
            self._waker.later(self._look_now)
            self._looks_later = True

    def _look_once(self) -> None:
        self._looks_later = False
        if self._handed_in:
            self._handed_in.move(self._append_moved)
        if self._ledger.waiting > self._buffer_size:
            self._make_room()
        self._form_batch()
        filled = len(self.rows)  # before the room: what re-enters in between makes the next look come early, never late
        room = self._buffer_size - self._ledger.waiting
        if not self.closed:
            self._refusals = self._full
            self.gate = self._thread if room > 0 and not self._waiters else 0
        if self._open is None:
            self.limit = 1
        else:
            limit = filled + room if room < self._batch_size - filled else self._batch_size
            self.limit = limit if limit > filled else filled + 1
        if self._cut_short:
            self._cut_short = False
            self._bell.there_is(complete=True)

    def _append_moved(self, row: Row) -> None:
        """Put an event of another thread into the open batch."""
        self._ledger.moved += 1  # with no call before the next step: the event is always counted once
        self.rows.append(row)
        self._form_batch()

    def _form_batch(self) -> None:
        """Open a batch for the first row of a list; let it leave with its last."""
        batch = self._open
        if batch is not None and (batch.rows is not self.rows or not batch.number):
            self._go_on_with(batch)
        if self._open is None and self.rows:
            self._open_batch()
        if len(self.rows) >= self._batch_size and self._open is not None:
            self._complete(self._open)
            self._seal()

    def _make_room(self) -> None:
        """Refuse or evict what is beyond ``buffer_size``; one step for each event."""
        self.gate = 0  # first: what re-enters from here on is refused, or makes room for itself later
        while self._ledger.waiting > self._buffer_size:
            if self._handed_in and not self._drop_oldest:
                self._handed_in.move(self._append_moved)  # these are newer than all that stand in a batch
            if not (self._evict_oldest() if self._drop_oldest else self._refuse_newest()):
                return  # another thread has recorded meanwhile; it has asked for another look
        self._reporter.trouble()

    def _refuse_newest(self) -> bool:
        """Refuse the row that came last, after all; return whether there was one."""
        at = -2 if self.rows and self.rows[-1] is self._kept else -1
        if len(self.rows) >= -at:
            refusals = self._ledger.refusals("closed" if self.closed else "buffer_full")
            refusals.count += 1  # with no call before the next step: the event is always counted once
            self.rows.pop(at)
            return True
        return self._batches.evict_newest(self._open) is not None

    def _evict_oldest(self) -> bool:
        """Drop the oldest waiting event; return whether there was one."""
        if self._open is None and self.rows:
            self._open_batch()
        batch = self._batches.evict_oldest(self._open)
        if batch is not None and batch is self._hand:
            self._waker(self.hand_shrunk)
        return batch is not None

    def _open_batch(self) -> None:
        """The first event of a batch opens it."""
        cohort = self._ledger.open_cohort(self.rows)
        self._open = Gathering(self.rows, cohort, self._clock.current_time() + self._flush_interval)
        self._announce(self._open)

    def _announce(self, batch: Gathering) -> None:
        """Put a batch where the flush task finds it, which is woken unless it is awake."""
        self._batches.append(batch)
        self._bell.there_is(complete=batch.full)

    def _complete(self, batch: Gathering) -> None:
        """Let a batch leave at once."""
        batch.complete(self._waker, self._turn)
        self._bell.there_is(complete=True)

    def _go_on_with(self, batch: Gathering) -> None:
        """Do the rest of a change that was cut short."""
        if not batch.number:
            self._announce(batch)
        if batch.rows is not self.rows:
            self._seal()

    def _seal(self) -> None:
        """The open batch is complete. Where this was cut short before, it goes on from there."""
        batch = self._open
        if batch is None:
            return
        if batch.rows is self.rows:
            rows: Any = self._ledger.watched
            if rows is self.rows:
                rows = []
                self._ledger.watch_rows(rows)
            self.rows = rows
            self.limit = 1
        self._ledger.seal(batch.cohort)
        self._open = None

    # -- the flush task's side

    async def wait(self) -> bool:
        """Wait until there may be a batch. Returns False once the buffer is closed."""
        expecting, self._taken = self._taken, False
        return await self._bell.wait(expecting=expecting)

    @property
    def announced(self) -> int:
        """The number of the newest batch."""
        return self._batches.announced

    @property
    def goes_on(self) -> bool:
        """Whether the next batch is complete already: there will be no wait for it."""
        batch = self._batches.first
        return batch is not None and batch.full

    def next_batch(self) -> Gathering | None:
        """Take the oldest batch in hand; its events still wait. Returns None if there is none."""
        if self._handed_in:
            self._look_now()
        self._hand = self._batches.first
        return self._hand

    def seal(self, batch: Gathering) -> None:
        """Let nothing more into this batch, which is due."""
        if self._open is batch:
            with self._change:
                if self._open is batch:
                    self._seal()

    def hurry(self) -> None:
        """Let the open batch, if there is one, leave at once. Call it from a task."""
        if self._handed_in:
            self._look_now()
        batch = self._open
        if batch is not None:
            with self._change:
                if self._open is batch:
                    self._complete(batch)
                    self._seal()

    def take(self, batch: Gathering) -> list[Row]:
        """Take the events of the batch in hand; there is room again. Call it from a task.

        Returns:
            What was not evicted.
        """
        if self._handed_in:
            self._look_now()  # the oldest events make room before they are taken
        with self._change:
            self._taken = True
            self._hand = None
            self._batches.take(batch, self._open)
        while self._waiters and self._ledger.waiting < self._buffer_size:
            task = next(iter(self._waiters))
            self._kept = row = self._waiters.pop(task)
            self.rows.append(row)
            trio.lowlevel.reschedule(task)
            self._look_now()
            self._kept = None
        return [row for row in batch.rows if row is not None] if batch.cohort.gone else cast("list[Row]", batch.rows)

    # -- bound instruments

    @property
    def points_waiting(self) -> bool:
        """Whether points of an earlier collection have yet to be handed over."""
        return self._batches.has_points

    def put_points(self, points: list[Row]) -> None:
        """Hand on what bound instruments collected: behind what is open, which leaves too; it takes no room."""
        self.hurry()
        with self._change:
            for start in range(0, len(points), self._batch_size):
                rows: list[Row | None] = [*points[start : start + self._batch_size]]
                batch = Gathering(rows, self._ledger.record_points(rows), self._clock.current_time())
                batch.full = True
                self._announce(batch)

    # -- questions, and the end

    def watch(self, done: Callable[[], object]) -> Watch:
        """Let the open batch leave at once, and wait for everything pending. Call it from a task.

        Nothing that re-enters is taken for pending before. See :meth:`Ledger.watch`.
        """
        if self._handed_in:
            self._look_now()
        with self._change:
            if self._open is not None:
                self._complete(self._open)
                self._seal()
            return self._ledger.watch(partial(self._waker, done))

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
        self.gate = 0

    def _let_go(self) -> None:
        """What waits for room counts as closed."""
        for task in tuple(self._waiters):
            del self._waiters[task]
            self.refuse("closed")
            trio.lowlevel.reschedule(task)

    def close_in_child(self) -> None:
        """Take no more, in a forked child: nothing is woken."""
        self._shut()
        if trio.lowlevel.in_trio_task():
            self._let_go()
