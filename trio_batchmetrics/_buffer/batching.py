"""How rows gather into batches, and which are refused or evicted where there is no room.

:mod:`.buffer` explains the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import get_ident
from typing import Any

import trio

from .._concurrency import Count, Turn, Waker, gil_enabled
from .._config import BatchMetricsConfig
from .._events import Row
from .._ledger import Ledger, LossReporter, PendingBatch
from .flush_signal import FlushSignal
from .handed_in import HandedIn
from .waiters import Waiters
from .waiting_batches import WaitingBatches

__all__ = ["Batching"]


class _Change:
    """A change of the structure by a task: recorders that re-enter leave it alone, and the end of the change checks."""

    __slots__ = ("_batching",)

    def __init__(self, batching: Batching) -> None:
        self._batching = batching

    def __enter__(self) -> None:
        self._batching.busy = True

    def __exit__(self, *_: object) -> None:
        batching = self._batching
        batching.busy = False
        if batching.again or len(batching.rows) >= batching.limit or not batching.gate:  # else there is as much room
            batching.limit = 0
            batching.maintain()


class Batching:
    """Waiting events, in batches. Only Trio's thread calls its methods, except :meth:`maintain`."""

    # CPython 3.11 looks attributes up faster only where there are at most 30, or slots.
    __slots__ = (
        "_asked _batch_size _batches _buffer_size _change _clock _current _cut_short _direct _drop_oldest "
        "_enabled _flush_interval _full _handed_in _kept _ledger _on_current_evicted _open _recorded "
        "_refusals _reporter _room _thread _turn _waiters _waker again busy closed gate limit rows signal"
    ).split()

    def __init__(
        self,
        config: BatchMetricsConfig,
        ledger: Ledger,
        waker: Waker,
        clock: trio.abc.Clock,
        reporter: LossReporter,
        turn: Turn,
        on_current_evicted: Callable[[], object] = lambda: None,
    ) -> None:
        """Open the buffer in the calling thread, which is Trio's.

        Args:
            config: the collector's.
            ledger: where every event is accounted.
            waker: makes calls that touch Trio.
            clock: the Trio run's.
            reporter: notified of losses.
            turn: the flush task's; told when there is work for it.
            on_current_evicted: called when the batch that the flush task looks at has lost an event: it may fit into a
                sink's queue now.
        """
        self.closed: bool = False
        self._thread = get_ident()
        self._direct = gil_enabled()
        self.gate: bool = self._direct
        self.limit: int = 1
        self.rows: list[Any] = []
        self.busy: bool = False
        """Whether the structure is being changed."""
        self.again: bool = False
        """Whether maintenance is due that was not possible while the structure was being changed."""
        self._room = 0
        """How much room there was at least when the list became empty; 0 once it has rows."""
        self._asked = False
        """Whether a task of the library has been asked for maintenance."""
        self._cut_short = False
        """Whether a signal handler has raised in the middle of a change."""
        self._flush_interval = config.flush_interval
        self._buffer_size = config.buffer_size
        self._batch_size = min(config.batch_size, config.buffer_size)
        self._drop_oldest = config.on_full == "drop_oldest"
        self._ledger = ledger
        self._recorded = ledger.recorded
        if self._drop_oldest:
            self._recorded.capacity = config.buffer_size
        full = self._recorded.refusals("buffer_full").mine()  # now: there may be little room on the stack later
        self._full: Count | None = full if self._direct and not self._drop_oldest else None
        self._refusals: Count | None = self._full
        """Counts the rows that the shut gate keeps out. None: only ``put_slowly()`` can tell whether to refuse one."""
        self._on_current_evicted = on_current_evicted
        self._waker = waker
        self._clock = clock
        self._reporter = reporter
        self._turn = turn
        self._open: PendingBatch | None = None
        self._current: PendingBatch | None = None
        """The batch that the flush task looks at; its events still wait."""
        self._batches = WaitingBatches(ledger)
        self.signal: FlushSignal = FlushSignal(self._batches, config.buffer_size, waker, turn)
        self._waiters = Waiters()
        self._kept: Row | None = None
        """The row that arecord() is putting: what re-enters must not take its place."""
        self._change = _Change(self)
        self._handed_in = HandedIn(
            self._recorded, config.buffer_size, partial(waker, self._maintain_now), reporter.notify
        )
        self._recorded.watch_rows(self.rows)
        self._enabled = config.enabled
        if not config.enabled:
            self.gate = False
            self._refusals = Count()  # no reason's: nothing is counted
            reporter.mute()

    # -- maintenance

    def maintain(self) -> None:
        """Do what is due: move other threads' rows, open a batch, seal a full one, make room. From any thread."""
        if get_ident() != self._thread:
            self._ask_from_thread()
            return
        try:
            while self.again or len(self.rows) >= self.limit:
                if self.busy:
                    self.again = True
                    return  # re-entered: the outer call goes on once it has let go
                self.busy, self.again = True, False
                try:
                    self._maintain_once()
                except BaseException:  # the next call goes on with it
                    self._cut_short, self._refusals, self.limit = True, None, 0
                    raise
                finally:
                    self.busy = False
        except RecursionError:
            self._maintain_later()

    def _maintain_now(self) -> None:
        self.limit = 0
        self.maintain()

    def _maintain_if_asked(self) -> None:
        if self._asked or self._cut_short or self._handed_in.rows:
            self._maintain_now()

    def _ask_from_thread(self) -> None:
        """Have Trio's thread look at a row that another has appended, which counts already."""
        self.again = True  # maintenance that is under way goes on
        try:
            self._ask(self._waker)
            if self._recorded.waiting >= self._buffer_size and not self.closed:
                self._shut_gate()
        except RecursionError:
            pass  # the row is safe; the next record asks

    def _maintain_later(self) -> None:
        """Ask a task of the library for maintenance: the stack is nearly used up. Until then refuse the newest rows."""
        try:
            if self._recorded.waiting > self._buffer_size:
                self._refuse_newest()
            self._ask(self._waker.later)
        except RecursionError:
            pass  # the rows are safe; the next record goes on

    def _ask(self, waker: Callable[[Callable[[], object]], object]) -> None:
        if not self._asked:
            self._asked = True
            try:
                waker(self._maintain_now)
            except BaseException:
                self._asked = False
                raise

    def _shut_gate(self) -> None:
        """Have Trio's thread do maintenance before its next record."""
        self.gate, self._refusals = False, None

    def _maintain_once(self) -> None:
        self._asked = False  # first: whoever appends from here on asks again
        if self._handed_in.rows or self._cut_short:
            self._handed_in.move(self._append_moved)
        self._form_batches()
        filled = len(self.rows)  # before the room: what re-enters in between makes the next call come early, never late
        known, self._room = self._room, 0
        if filled and known >= self._batch_size and self.gate and not self._cut_short:  # there is only more since then
            self.limit = self._batch_size
            return
        room = self._buffer_size - self._recorded.waiting
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
            self.signal.notify()

    # -- batches

    def _append_moved(self, moving: list[Row]) -> None:
        """Append another thread's row to the open batch."""
        self._recorded.moved += 1  # with no call up to the last step: the event is always counted once
        self.rows += moving
        del moving[0]
        self._form_batches()

    def _form_batches(self) -> None:
        """Open a batch for the first row of a list and seal it with its last; do both again for further rows."""
        batch = self._open
        if batch is not None and (batch.rows is not self.rows or batch.number > self._batches.newest):
            self.signal.announce(batch)  # the rest of a change that was cut short
            if batch.rows is not self.rows:
                self._seal()
        while self.rows:
            batch = self._open
            if batch is None:
                due = self._clock.current_time() + self._flush_interval
                self._open = batch = self._ledger.batches.open(self.rows, due)
                self.signal.announce(batch)
            if len(self.rows) < self._batch_size:
                return
            batch.mark_ready(self._waker, self._turn)
            self._seal()
            self._room = 0  # threads may have filled several batches since it was known

    def _seal(self) -> None:
        """Seal the open batch. A call that was cut short goes on."""
        batch = self._open
        if batch is None:
            return
        if batch.rows is self.rows:
            self.rows = self._recorded.list_after(batch.rows)
            self.limit = 1
        if len(batch.rows) > self._batch_size:  # other threads have appended
            self._recorded.carry_over(batch.rows, self._batch_size, self.rows)
        self._ledger.batches.seal(batch)
        self._open = None

    # -- room

    def _has_room(self) -> bool:
        return self._recorded.waiting < self._buffer_size and not self._waiters.rows and not self.closed

    def _make_room(self) -> bool:
        """Refuse or evict what is beyond ``buffer_size``, a step per event; return whether there is room then."""
        self.gate = False  # first: what re-enters from here on is refused, or makes room for itself later
        self._reporter.notify()
        while self._recorded.waiting > self._buffer_size:
            if self._handed_in.rows and not self._drop_oldest:
                self._handed_in.move(self._append_moved)  # these are newer than all that stand in a batch
            if not (self._evict_oldest() if self._drop_oldest else self._refuse_newest()):
                return False  # another thread has recorded meanwhile; it has asked for maintenance, too
        return True

    def _refuse_newest(self) -> bool:
        """Refuse the newest row after all; return whether there was one."""
        refusals = self._recorded.refusals("closed" if self.closed else "buffer_full").mine()
        if len(self.rows) > (self._kept is not None):
            refusals.count += 1  # with no call before the next step: the event is always counted once
            del self.rows[-2 if self.rows[-1] is self._kept else -1]
            return True
        return self._batches.evict_newest(self._open, self._kept) is not None

    def _evict_oldest(self) -> bool:
        """Evict the oldest waiting event; return whether there was one."""
        if self._open is None and self.rows:
            self._form_batches()
        batch = self._batches.evict_oldest(self._open)
        if batch is not None and batch is self._current:
            self._waker(self._on_current_evicted)
        return batch is not None
