"""The structure of the buffer: how rows gather into batches, and how the flush task takes these.

:mod:`.intake` explains it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import get_ident
from typing import cast

import trio

from .._concurrency import Turn, Waker, gil_enabled
from .._config import BatchMetricsConfig
from .._events import Row
from .._ledger import Ledger, LossReporter, Tally, Watch
from .gathering import Bell, Gathering
from .handed_in import HandedIn
from .waiters import Waiters
from .waiting import WaitingBatches

__all__ = ["Buffer"]


class _Change:
    """A change of the structure by a task: re-entering recorders leave it alone; it is looked at afterwards."""

    __slots__ = ("_buffer",)

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer

    def __enter__(self) -> None:
        self._buffer.busy = True

    def __exit__(self, *_: object) -> None:
        buffer = self._buffer
        buffer.busy = False
        if buffer.again or len(buffer.rows) >= buffer.limit or not buffer.gate:  # else there is as much room as before
            buffer.limit = 0
            buffer.look()


class Buffer:
    """Waiting events, in batches. Only Trio's thread calls its methods, but for :meth:`look`."""

    __slots__ = (  # CPython 3.11 looks attributes up faster only where there are at most 30, or slots
        "_asked",
        "_batch_size",
        "_batches",
        "_bell",
        "_buffer_size",
        "_change",
        "_clock",
        "_cut_short",
        "_direct",
        "_drop_oldest",
        "_enabled",
        "_flush_interval",
        "_full",
        "_hand",
        "_handed_in",
        "_kept",
        "_ledger",
        "_open",
        "_refusals",
        "_reporter",
        "_room",
        "_taken",
        "_thread",
        "_turn",
        "_waiters",
        "_waker",
        "again",
        "busy",
        "closed",
        "gate",
        "hand_shrunk",
        "limit",
        "rows",
    )

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
        self._direct = gil_enabled()
        self.gate: bool = self._direct
        self.limit: int = 1
        self.rows: list[Row | None] = []
        self.busy: bool = False
        """Whether the structure is being changed."""
        self.again: bool = False
        """Whether a look is due that could not be had while the structure was being changed."""
        self._room = 0
        """How much room there was at least when the list became empty; 0 once it has rows."""
        self._asked = False
        """Whether a task of the library has been asked to look."""
        self._cut_short = False
        """Whether a signal handler has raised in the middle of a change."""
        self._flush_interval = config.flush_interval
        self._buffer_size = config.buffer_size
        self._batch_size = min(config.batch_size, config.buffer_size)
        self._drop_oldest = config.on_full == "drop_oldest"
        if self._drop_oldest:
            ledger.capacity = config.buffer_size
        full = ledger.refusals("buffer_full")  # made now: there may be little room on the stack later
        self._full: Tally | None = full if self._direct and not self._drop_oldest else None
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
        self._waiters = Waiters()
        self._kept: Row | None = None  # what arecord is putting: re-entry may not cost it its place
        self._change = _Change(self)
        self._handed_in = HandedIn(ledger, config.buffer_size, partial(waker, self._look_now), reporter.trouble)
        self._bell = Bell(lambda: self._batches.first, config.buffer_size, config.flush_interval, waker, turn)
        self._taken = False
        ledger.watch_rows(self.rows)
        self._enabled = config.enabled
        if not config.enabled:
            self.gate = False
            self._refusals = Tally()  # nobody's: nothing is counted, and nothing told
            reporter.be_still()

    # -- gathering

    def refuse(self, reason: str) -> None:
        """Count an event that is not taken. From any thread."""
        if self._enabled:
            self._ledger.refuse(reason)
            self._reporter.trouble()

    def lost(self) -> None:
        """Events were lost: have it reported."""
        self._reporter.trouble()

    def _has_room(self) -> bool:
        return self._ledger.waiting < self._buffer_size and not self._waiters.rows and not self.closed

    def _shut_gate(self) -> None:
        """Have Trio's thread look before its next record."""
        self.gate, self._refusals = False, None

    def look(self) -> None:
        """Do what is due: move what other threads have recorded, open a batch, let a full one leave, make room."""
        if get_ident() != self._thread:
            self._ask_for_look()
            return
        try:
            while self.again or len(self.rows) >= self.limit:
                if self.busy:
                    self.again = True
                    return  # re-entered: the outer call looks again once it has let go
                self.busy, self.again = True, False
                try:
                    self._look_once()
                except BaseException:  # the next look goes on with it
                    self._cut_short, self._refusals, self.limit = True, None, 0
                    raise
                finally:
                    self.busy = False
        except RecursionError:
            self._look_later()

    def _look_now(self) -> None:
        self.limit = 0
        self.look()

    def _look_if_asked(self) -> None:
        if self._asked or self._cut_short or self._handed_in.rows:
            self._look_now()

    def _ask_for_look(self) -> None:
        """Have Trio's thread look at a row that another has appended, which stands and counts already."""
        self.again = True  # a look that is under way goes on
        try:
            self._ask(self._waker)
            if self._ledger.waiting >= self._buffer_size and not self.closed:
                self._shut_gate()
        except RecursionError:
            pass  # the row is safe; the next record asks

    def _look_later(self) -> None:
        """The stack is nearly used up: have a task of the library look. Until then the newest make room."""
        try:
            if self._ledger.waiting > self._buffer_size:
                self._refuse_newest()
            self._ask(self._waker.later)
        except RecursionError:
            pass  # the rows are safe; the next record looks

    def _ask(self, waker: Callable[[Callable[[], object]], object]) -> None:
        if not self._asked:
            self._asked = True
            try:
                waker(self._look_now)
            except BaseException:
                self._asked = False
                raise

    def _look_once(self) -> None:
        self._asked = False  # first: whoever appends from here on asks again
        if self._handed_in.rows or self._cut_short:
            self._handed_in.move(self._append_moved)
        self._form_batch()
        filled = len(self.rows)  # before the room: what re-enters in between makes the next look come early, never late
        known, self._room = self._room, 0
        if filled and known >= self._batch_size and self.gate and not self._cut_short:  # since then there has come more
            self.limit = self._batch_size
            return
        room = self._buffer_size - self._ledger.waiting
        if room < 0 and self._make_room():
            self.again = True
            return
        if not self.closed:
            is_open = room > 0 and not self._waiters.rows and self._direct
            if self._handed_in.rows:  # a thread has just come: what it records next must not overtake this
                self._shut_gate()
            else:
                self._refusals = self._full  # with no call since the question
                self.gate = is_open
        if self._open is None:
            self.limit, self._room = 1, room
        else:
            limit = filled + room if room < self._batch_size - filled else self._batch_size
            self.limit = limit if limit > filled else filled + 1
        if self._cut_short:
            self._cut_short = False
            self._bell.there_is(complete=True)

    def _append_moved(self, moving: list[Row]) -> None:
        """Put an event of another thread into the open batch."""
        self._ledger.moved += 1  # with no call up to the last step: the event is always counted once
        self.rows += moving
        del moving[0]
        self._form_batch()

    def _form_batch(self) -> None:
        """Open a batch for the first row of a list; let it leave with its last; both again for further rows."""
        batch = self._open
        if batch is not None and (batch.rows is not self.rows or not batch.number):
            self._go_on_with(batch)
        while self.rows:
            if self._open is None:
                self._open_batch()
            if len(self.rows) < self._batch_size or self._open is None:
                return
            self._complete(self._open)
            self._seal()

    def _make_room(self) -> bool:
        """Refuse or evict what is beyond ``buffer_size``, a step for each event; return whether there is room then."""
        self.gate = False  # first: what re-enters from here on is refused, or makes room for itself later
        self._reporter.trouble()
        while self._ledger.waiting > self._buffer_size:
            if self._handed_in.rows and not self._drop_oldest:
                self._handed_in.move(self._append_moved)  # these are newer than all that stand in a batch
            if not (self._evict_oldest() if self._drop_oldest else self._refuse_newest()):
                return False  # another thread has recorded meanwhile; it has asked for another look
        return True

    def _refuse_newest(self) -> bool:
        """Refuse the row that came last, after all; return whether there was one."""
        refusals = self._ledger.refusals("closed" if self.closed else "buffer_full")
        if len(self.rows) > (self._kept is not None):
            refusals.count += 1  # with no call before the next step: the event is always counted once
            del self.rows[-2 if self.rows[-1] is self._kept else -1]
            return True
        return self._batches.evict_newest(self._open, self._kept) is not None

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
            self.rows = self._ledger.watched_after(batch.rows)
            self.limit = 1
        if len(batch.rows) > self._batch_size:  # other threads have appended
            self._ledger.carry_over(batch.rows, self._batch_size, self.rows)
        batch.cohort.seal()
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

    def next_batch(self) -> Gathering | None:
        """Take the oldest batch in hand; its events still wait. Returns None if there is none."""
        self._look_if_asked()
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
        self._look_if_asked()
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
        self._look_if_asked()  # the oldest events make room before they are taken
        with self._change:
            self._taken = True
            self._hand = None
            self._batches.take(batch, self._open)
        while self._waiters.rows and self._ledger.waiting < self._buffer_size:
            task, row = self._waiters.first()
            self._kept = row
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

    # -- flushes

    def watch(self, done: Callable[[], object]) -> Watch:
        """Let the open batch leave at once, and wait for everything pending. Call it from a task.

        Nothing that re-enters is taken for pending before. See :meth:`Ledger.watch`.
        """
        self._look_if_asked()
        with self._change:
            if self._open is not None:
                self._complete(self._open)
                self._seal()
            return self._ledger.watch(partial(self._waker, done))
