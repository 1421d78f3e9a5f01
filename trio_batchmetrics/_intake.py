"""From recorders to the flush task: rows gather into batches, in a buffer of bounded size.

How this works
==============

A recorder appends a row to the open batch's list and then looks whether there is something to do: a row that stands in
the list is safe, whatever re-enters the recorder afterwards. Two numbers decide, so that a record costs one comparison
before and one after (:meth:`Intake.put` says it once; :mod:`trio_batchmetrics._compiled` writes the same into each
recorder, which saves a call)::

    gate    the Trio thread's ident while there is room and the block is open, else 0: the check for a wrong thread, a
            full buffer and a closed or disabled collector at once
    limit   the length of the list at which somebody must look: its first row (a batch opens), its last (it is full and
            leaves), or the buffer's last

:meth:`Intake.look` does what is due. It holds a lock against other threads (which record by the same code, but under
the lock from the start) and a flag against itself: re-entered by a signal handler, ``__del__`` or a logging handler, it
returns at once, and the outer call looks again after it has let go of the flag. A row that re-entry put beyond
``buffer_size`` is taken back there.

A batch is announced to the flush task through the memory channel when its first event comes, and fills up while it
waits there; so a batch costs one wake-up and one timer, and idleness nothing. The batches themselves stand in a deque,
where ``drop_oldest`` finds the oldest event.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from threading import RLock, get_ident
from typing import Any, cast

import trio

from ._accounts import Tally, Watch
from ._batch import Row
from ._config import BatchMetricsConfig
from ._exceptions import WrongThreadError
from ._gathering import Bell, Gathering
from ._ledger import Ledger
from ._reporting import LossReporter
from ._waking import Waker

__all__ = ["Intake"]


class _Alone:
    """Keeps other threads and re-entering looks away from a change of the structure; looks afterwards if need be."""

    __slots__ = ("_held", "_intake", "busy", "changed", "lock")

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self.lock = RLock()  # exchanged in a forked child, perhaps while it is held
        self._held: list[Any] = []
        self.changed = False  # a look is due
        self.busy = False

    def __enter__(self) -> None:
        lock = self.lock
        lock.acquire()
        self._held.append(lock)
        self.busy = True

    def __exit__(self, *_: object) -> None:
        self.busy = False
        changed, self.changed = self.changed, False
        if changed:
            self._intake.limit = 0
        self._held.pop().release()
        if changed:
            self._intake.look()


class Intake:
    """The buffer of one collector."""

    def __init__(
        self,
        config: BatchMetricsConfig,
        ledger: Ledger,
        waker: Waker,
        clock: trio.abc.Clock,
        reporter: LossReporter,
    ) -> None:
        """Open the buffer in the calling thread, which is Trio's.

        Args:
            config: the collector's.
            ledger: where every event is accounted.
            waker: makes calls that touch Trio.
            clock: the Trio run's.
            reporter: told of what was lost.
        """
        self.closed: bool = False
        self._thread = get_ident()
        self.gate: int = self._thread
        self.limit: int = 1
        self.rows: list[Row | None] = []
        self._flush_interval = config.flush_interval
        self._buffer_size = config.buffer_size
        self._batch_size = min(config.batch_size, config.buffer_size)
        self._drop_oldest = config.on_full == "drop_oldest"
        self._refusals: Tally | None = None if self._drop_oldest else ledger.refusals("buffer_full")
        self.hand_shrunk: Callable[[], object] = lambda: None
        """Called when the batch in the flush task's hand has lost an event: it may fit now where it did not."""
        self._ledger = ledger
        self._waker = waker
        self._clock = clock
        self._reporter = reporter
        self._open: Gathering | None = None
        self._hand: Gathering | None = None
        self._backlog: deque[Gathering] = deque()
        self._points_waiting = 0
        self._waiters: dict[trio.lowlevel.Task, Row] = {}
        self._alone = _Alone(self)
        self._kept: Row | None = None  # what arecord is putting: re-entry may not cost it its place
        self._bell = Bell(self._backlog, config.buffer_size, config.flush_interval, waker)
        self._taken = False
        ledger.watch_rows(self.rows)
        self._enabled = config.enabled
        if not config.enabled:
            self.gate = 0
            self._refusals = Tally()  # nobody's: nothing is counted, and nothing told
            reporter.be_still()

    # -- recording

    def put(self, row: Row) -> None:
        """Record a row, or refuse it and count it. Trio's thread only, never a checkpoint, may be re-entered.

        Raises:
            WrongThreadError: another thread called it.
        """
        ident = get_ident()
        if ident != self.gate and self.refuses(ident):
            return
        self.rows.append(row)
        if len(self.rows) >= self.limit:
            self.look()

    def refuses(self, ident: int) -> bool:
        """Tell, where the gate is shut, whether no row may be appended; count the event that is refused then.

        Args:
            ident: the calling thread's.

        Raises:
            WrongThreadError: it is not Trio's.
        """
        if ident != self._thread:
            self.check_thread()
        refusals = self._refusals
        if refusals is None:
            return False  # the look that follows pushes out the oldest
        refusals.count += 1
        if not self._reporter.noticed:
            self._reporter.trouble()
        return True

    def put_from_thread(self, row: Row) -> None:
        """Record a row, or refuse it and count it, from any thread."""
        with self._alone.lock:
            if self.gate or self._refusals is None:
                self.rows.append(row)
                self.look()
                return
        self.refuses(self._thread)  # without the lock, since to tell may be to log

    async def put_when_room(self, row: Row) -> None:
        """Record a row as soon as there is room, first come first served. Always a checkpoint.

        Cancelled, it has recorded nothing. Where the buffer closes meanwhile the row counts as ``closed``.
        """
        self.check_thread()
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.gate:
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

    def refuse(self, reason: str) -> None:
        """Count an event that is not taken."""
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
                "a collector is recorded to from the thread of its Trio run; other threads use collector.from_thread()"
            )

    # -- gathering

    def look(self) -> None:
        """Do what is due: open a batch, let a full one leave, take back what is too much."""
        while len(self.rows) >= self.limit:
            with self._alone.lock:
                if self._alone.busy:
                    self._alone.changed = True
                    return  # re-entered: the outer call looks again once it has let go
                self._alone.busy = True
                try:
                    self._look_once()
                finally:
                    self._alone.busy = False

    def _look_once(self) -> None:
        if self._open is None and self.rows:
            self._open_batch()
        if len(self.rows) >= self._batch_size and self._open is not None:
            self._complete(self._open)
            self._seal()
        filled = len(self.rows)  # before the room: what re-enters in between makes the next look come early, never late
        room = self._buffer_size - self._ledger.waiting
        if room < 0:
            room = self._take_back()
        self.gate = self._thread if room > 0 and not self.closed and not self._waiters else 0
        if room < 0:
            self.limit = 0  # re-entered since: look again
        elif self._open is None:
            self.limit = 1
        else:
            limit = filled + room if room < self._batch_size - filled else self._batch_size
            self.limit = limit if limit > filled else filled + 1

    def _take_back(self) -> int:
        """Drop what is beyond ``buffer_size``; return how much room there is then."""
        while (room := self._buffer_size - self._ledger.waiting) < 0:
            if self._open is None and self.rows:
                self._open_batch()
            self._push_out()
        return room

    def _open_batch(self) -> None:
        """The first event of a batch opens it."""
        cohort = self._ledger.open_cohort(self.rows)
        self._open = Gathering(self.rows, cohort, self._clock.current_time() + self._flush_interval)
        self._announce(self._open)

    def _announce(self, batch: Gathering) -> None:
        """Put a batch where the flush task finds it, which is woken unless it is awake."""
        self._backlog.append(batch)
        self._bell.there_is(complete=batch.full)

    def _complete(self, batch: Gathering) -> None:
        """Let a batch leave at once."""
        batch.complete(self._waker)
        self._bell.there_is(complete=True)

    def _seal(self) -> None:
        """The open batch is complete."""
        rows: list[Row | None] = []
        self._ledger.watch_rows(rows)
        self.rows = rows
        self.limit = 1
        self._open = None

    def _push_out(self) -> None:
        """Drop a waiting event: the oldest, or under ``drop_newest`` the newest (which came in by re-entry)."""
        if self._drop_oldest:
            batch = self._oldest()
            at = batch.cohort.gone  # what is gone is at the front
        else:
            batch, at = self._newest()
        batch.rows[at] = None
        self._ledger.push_out(batch.cohort)
        if batch is self._hand:
            self._waker(self.hand_shrunk)
        self._reporter.trouble()

    def _newest(self) -> tuple[Gathering, int]:
        """Return where the newest waiting event stands; what arecord just put there only if there is no other."""
        waiting = [batch for batch in (self._hand, *self._backlog) if batch is not None and self._takes_room(batch)]
        places = [(batch, at) for batch in waiting for at, row in enumerate(batch.rows) if row is not None]
        return next((place for place in reversed(places) if place[0].rows[place[1]] is not self._kept), places[-1])

    def _oldest(self) -> Gathering:
        """Return the batch with the oldest waiting event; forget batches that nothing waits in any more."""
        if self._hand is not None and self._takes_room(self._hand):
            return self._hand
        while self._backlog and not self._backlog[0].cohort.waiting and self._backlog[0] is not self._open:
            self._ledger.forget(self._backlog.popleft().cohort)
        return next(batch for batch in self._backlog if self._takes_room(batch))

    @staticmethod
    def _takes_room(batch: Gathering) -> bool:
        return batch.cohort.waiting > 0 and not batch.cohort.points

    # -- the flush task's side

    async def wait(self) -> bool:
        """Wait until there may be a batch. Returns False once the buffer is closed."""
        expecting, self._taken = self._taken, False
        return await self._bell.wait(expecting=expecting)

    @property
    def goes_on(self) -> bool:
        """Whether the next batch is complete already: there will be no wait for it."""
        return bool(self._backlog) and self._backlog[0].full

    def next_batch(self) -> Gathering | None:
        """Take the oldest batch in hand; its events still wait. Returns None if there is none."""
        with self._alone:
            self._hand = self._backlog.popleft() if self._backlog else None
        return self._hand

    def seal(self, batch: Gathering) -> None:
        """Let nothing more into this batch, which is due."""
        if self._open is batch:
            with self._alone:
                if self._open is batch:
                    self._alone.changed = True
                    self._seal()

    def hurry(self) -> None:
        """Let the open batch, if there is one, leave at once. Call it from a task."""
        with self._alone.lock:
            if self._open is not None:
                self._complete(self._open)
                self.seal(self._open)

    def take(self, batch: Gathering) -> list[Row]:
        """Take the events of the batch in hand; there is room again. Call it from a task.

        Returns:
            What was not pushed out.
        """
        with self._alone:
            self._alone.changed = True
            self._taken = True
            self._hand = None
            self._ledger.take(batch.cohort)
            if batch.cohort.points:
                self._points_waiting -= 1
        while self._waiters and self._ledger.waiting < self._buffer_size:
            task = next(iter(self._waiters))
            row = self._waiters.pop(task)
            self.rows.append(row)
            trio.lowlevel.reschedule(task)
            self.limit = 0
            self.look()
        return [row for row in batch.rows if row is not None] if batch.cohort.gone else cast("list[Row]", batch.rows)

    # -- bound instruments

    @property
    def points_waiting(self) -> bool:
        """Whether points of an earlier collection have yet to be handed over."""
        return self._points_waiting > 0

    def put_points(self, points: list[Row]) -> None:
        """Hand on what bound instruments collected: behind what is open, which leaves too; it takes no room."""
        self.hurry()
        with self._alone:
            self._alone.changed = True
            for start in range(0, len(points), self._batch_size):
                rows: list[Row | None] = [*points[start : start + self._batch_size]]
                batch = Gathering(rows, self._ledger.record_points(rows), self._clock.current_time())
                batch.full = True
                self._points_waiting += 1
                self._announce(batch)

    # -- questions, and the end

    def watch(self, done: Callable[[], object]) -> Watch:
        """Let the open batch leave at once, and follow everything pending. Call it from a task.

        Nothing that re-enters is taken for pending before. See :meth:`Ledger.watch`.
        """
        with self._alone:
            self._alone.changed = True
            if self._open is not None:
                self._complete(self._open)
                self._seal()
            return self._ledger.watch(partial(self._waker, done))

    def close(self) -> None:
        """Take no more; what waits for room counts as ``closed``, what is open leaves. Call it from a task."""
        with self._alone.lock:
            if self.closed:
                return
            self._shut()  # first: what re-enters from here on is refused
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
        """Take no more, in a forked child: nothing is woken, and no lock is waited for that another thread held."""
        self._alone.lock = RLock()
        self._shut()
        if trio.lowlevel.in_trio_task():
            self._let_go()
