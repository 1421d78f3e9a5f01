"""Groups rows into batches, and refuses or evicts events when there is no room.

:mod:`.buffer` explains the overall design.
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
    """Marks a structural change by a task. Re-entrant recorders leave the structure alone; the exit catches up."""

    __slots__ = ("_batching",)

    def __init__(self, batching: Batching) -> None:
        self._batching = batching

    def __enter__(self) -> None:
        self._batching.busy = True

    def __exit__(self, *_: object) -> None:
        batching = self._batching
        batching.busy = False
        unchanged = batching.gate and len(batching.rows) < batching.limit  # as much room as before, and no row is due
        if batching.maintenance_due or not unchanged:
            batching.limit = 0
            batching.maintain()


class Batching:
    """The waiting events, in batches. Only :meth:`maintain` may be called outside Trio's thread."""

    # CPython 3.11 speeds up attribute access only for classes with slots or at most 30 attributes.
    __slots__ = (
        "_arecord_row _batch_size _batches _buffer_size _change _clock _current_batch _drop_oldest _enabled "
        "_flush_interval _full_refusals _handed_in _has_gil _interrupted _ledger _maintenance_requested "
        "_on_current_evicted _open_batch _recorded _refusals _reporter _room _thread _turn _waiters _waker busy "
        "closed gate limit maintenance_due rows signal"
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
        """Open the buffer. The calling thread must be Trio's.

        Args:
            config: the collector's settings.
            ledger: accounts for every event.
            waker: makes the calls that touch Trio.
            clock: the Trio run's clock.
            reporter: notified of losses.
            turn: the flush task's turn; notified when there is work for that task.
            on_current_evicted: called when an event was evicted from the flush task's current batch, which may now fit
                into a sink's queue.
        """
        self.closed: bool = False
        self._thread = get_ident()
        self._has_gil = gil_enabled()
        self.gate: bool = self._has_gil
        self.limit: int = 1
        self.rows: list[Any] = []
        self.busy: bool = False
        """Whether a structural change is in progress."""
        self.maintenance_due: bool = False
        """Whether maintenance became due during a structural change, and must still run."""
        self._room = 0
        """A lower bound on the room left when the list became empty; 0 once the list has rows."""
        self._maintenance_requested = False
        """Whether a library task has been asked to run maintenance."""
        self._interrupted = False
        """Whether an exception from a signal handler has interrupted a change."""
        self._flush_interval = config.flush_interval
        self._buffer_size = config.buffer_size
        self._batch_size = min(config.batch_size, config.buffer_size)
        self._drop_oldest = config.on_full == "drop_oldest"
        self._ledger = ledger
        self._recorded = ledger.recorded
        if self._drop_oldest:
            self._recorded.capacity = config.buffer_size
        full = self._recorded.refusals("buffer_full").local_cell()  # now, as the stack may be nearly full later
        self._full_refusals: Count | None = full if self._has_gil and not self._drop_oldest else None
        self._refusals: Count | None = self._full_refusals
        """Counts the rows refused while the gate is shut. None: only ``put_slowly()`` can decide on a refusal."""
        self._on_current_evicted = on_current_evicted
        self._waker = waker
        self._clock = clock
        self._reporter = reporter
        self._turn = turn
        self._open_batch: PendingBatch | None = None
        self._current_batch: PendingBatch | None = None
        """The flush task's current batch; its events are still waiting."""
        self._batches = WaitingBatches(ledger)
        self.signal: FlushSignal = FlushSignal(self._batches, config.buffer_size, waker, turn)
        self._waiters = Waiters()
        self._arecord_row: Row | None = None
        """The row that arecord() is recording: re-entrant recorders must not displace it."""
        self._change = _Change(self)
        self._handed_in = HandedIn(
            self._recorded, config.buffer_size, partial(waker, self._maintain_now), reporter.notify
        )
        self._recorded.watch_rows(self.rows)
        self._enabled = config.enabled
        if not config.enabled:
            self.gate = False
            self._refusals = Count()  # belongs to no reason, so nothing is counted
            reporter.mute()

    # -- maintenance

    def maintain(self) -> None:
        """Run due maintenance: move other threads' rows, open a batch, seal a full one, make room. From any thread."""
        if get_ident() != self._thread:
            self._request_from_thread()
            return
        try:
            while self.maintenance_due or len(self.rows) >= self.limit:
                if self.busy:
                    self.maintenance_due = True
                    return  # re-entered: the outer call repeats once it is no longer busy
                self.busy, self.maintenance_due = True, False
                try:
                    self._maintain_once()
                except BaseException:  # the next call resumes the change
                    self._interrupted, self._refusals, self.limit = True, None, 0
                    raise
                finally:
                    self.busy = False
        except RecursionError:
            self._maintain_later()

    def _maintain_now(self) -> None:
        self.limit = 0
        self.maintain()

    def _maintain_if_requested(self) -> None:
        if self._maintenance_requested or self._interrupted or self._handed_in.rows:
            self._maintain_now()

    def _request_from_thread(self) -> None:
        """Ask Trio's thread to process a row that this thread has appended. The row already counts."""
        self.maintenance_due = True  # maintenance that is already running repeats
        try:
            self._request_maintenance(self._waker)
            if self._recorded.waiting >= self._buffer_size and not self.closed:
                self._shut_gate()
        except RecursionError:
            pass  # the row is safe; the next recorder call asks again

    def _maintain_later(self) -> None:
        """Ask a library task to run maintenance, as the stack is nearly full. Until then, refuse the newest rows."""
        try:
            if self._recorded.waiting > self._buffer_size:
                self._refuse_newest()
            self._request_maintenance(self._waker.later)
        except RecursionError:
            pass  # the rows are safe; the next recorder call tries again

    def _request_maintenance(self, waker: Callable[[Callable[[], object]], object]) -> None:
        if not self._maintenance_requested:
            self._maintenance_requested = True
            try:
                waker(self._maintain_now)
            except BaseException:
                self._maintenance_requested = False
                raise

    def _shut_gate(self) -> None:
        """Make Trio's thread run maintenance before it records the next row."""
        self.gate, self._refusals = False, None

    def _maintain_once(self) -> None:
        self._maintenance_requested = False  # first: any append from here on asks again
        if self._handed_in.rows or self._interrupted:
            self._handed_in.move(self._append_moved)
        self._form_batches()
        length = len(self.rows)  # read before the room: re-entry in between makes the next call early, never late
        known_room, self._room = self._room, 0
        # The known room can only have grown.
        if length and known_room >= self._batch_size and self.gate and not self._interrupted:
            self.limit = self._batch_size
            return
        room = self._buffer_size - self._recorded.waiting
        if room < 0 and self._enforce_capacity():
            self.maintenance_due = True
            return
        if not self.closed:
            is_open = room > 0 and not self._waiters.rows and self._has_gil
            if self._handed_in.rows:  # just handed in: the thread's next row must not overtake these
                self._shut_gate()
            else:
                self._refusals = self._full_refusals  # no call since the check, so no thread switch
                self.gate = is_open
        if self._open_batch is None:
            self.limit, self._room = 1, room
        else:
            limit = length + room if room < self._batch_size - length else self._batch_size
            self.limit = limit if limit > length else length + 1
        if self._interrupted:
            self._interrupted = False
            self.signal.notify()

    # -- batches

    def _append_moved(self, moving: list[Row]) -> None:
        """Append another thread's row to the open batch."""
        self._recorded.moved += 1  # no call until the deletion: the event is always counted exactly once
        self.rows += moving
        del moving[0]
        self._form_batches()

    def _form_batches(self) -> None:
        """Open a batch for a list's first row and seal it when it is full. Repeat for the remaining rows."""
        batch = self._open_batch
        if batch is not None and (batch.rows is not self.rows or batch.number > self._batches.newest):
            self.signal.announce(batch)  # completes a change that was cut short
            if batch.rows is not self.rows:
                self._seal()
        while self.rows:
            batch = self._open_batch
            if batch is None:
                due = self._clock.current_time() + self._flush_interval
                self._open_batch = batch = self._ledger.batches.open(self.rows, due)
                self.signal.announce(batch)
            if len(self.rows) < self._batch_size:
                return
            batch.mark_ready(self._waker, self._turn)
            self._seal()
            self._room = 0  # outdated: other threads may have filled several batches meanwhile

    def _seal(self) -> None:
        """Seal the open batch. If a call was cut short, the next one completes it."""
        batch = self._open_batch
        if batch is None:
            return
        if batch.rows is self.rows:
            self.rows = self._recorded.list_after(batch.rows)
            self.limit = 1
        if len(batch.rows) > self._batch_size:  # other threads have appended
            self._recorded.carry_over(batch.rows, self._batch_size, self.rows)
        self._ledger.batches.seal(batch)
        self._open_batch = None

    # -- room

    def _has_room(self) -> bool:
        return self._recorded.waiting < self._buffer_size and not self._waiters.rows and not self.closed

    def _enforce_capacity(self) -> bool:
        """Refuse or evict the events beyond ``buffer_size``, one by one; return whether all of them are gone."""
        self.gate = False  # first: a re-entrant row is refused from here on, or makes room for itself later
        self._reporter.notify()
        while self._recorded.waiting > self._buffer_size:
            if self._handed_in.rows and not self._drop_oldest:
                self._handed_in.move(self._append_moved)  # they are newer than every event in a batch
            if not (self._evict_oldest() if self._drop_oldest else self._refuse_newest()):
                return False  # another thread has just recorded, and has asked for maintenance itself
        return True

    def _refuse_newest(self) -> bool:
        """Refuse the newest row, although it was appended; return whether there was one."""
        refusals = self._recorded.refusals("closed" if self.closed else "buffer_full").local_cell()
        if len(self.rows) > (self._arecord_row is not None):
            refusals.count += 1  # no call before the deletion: the event is always counted exactly once
            del self.rows[-2 if self.rows[-1] is self._arecord_row else -1]
            return True
        return self._batches.evict_newest(self._open_batch, self._arecord_row) is not None

    def _evict_oldest(self) -> bool:
        """Evict the oldest waiting event; return whether there was one."""
        if self._open_batch is None and self.rows:
            self._form_batches()
        batch = self._batches.evict_oldest(self._open_batch)
        if batch is not None and batch is self._current_batch:
            self._waker(self._on_current_evicted)
        return batch is not None
