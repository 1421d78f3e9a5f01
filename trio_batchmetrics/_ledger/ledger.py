"""The only place where counts change.

How this works
==============

An event is counted from the moment its row stands in a list that the ledger watches (:meth:`Ledger.watch_rows`). From
there each transition is one method here, and moves n events from one state to another::

    recorded → refused                                      dropped, by reason; it never stood in a list
    recorded → waiting ─┬→ pushed out                       dropped: buffer_full
                        └→ taken ─┬→ invalid                dropped: invalid
                                  └→ handed over: for each sink
                                        pending → delivered | rejected | failed (reason) | spooled
                                     settled by every sink → failed if any sink failed or rejected it,
                                        else spooled if any spooled it, else processed
    anything pending at the end → failed                    (:meth:`Ledger.fail_rest`)

Counters only grow, and each transition of events is one increment of one of them; *pending* is derived: recorded minus
settled. So the equation ``total == processed + dropped + failed + spooled + pending`` cannot be broken by forgetting,
and holds inside a signal handler that interrupts a transition. The same for each sink. (CPython runs signal handlers
and switches threads after calls, at function entry and when it jumps back, so ``counts[reason] += n`` on a
``defaultdict`` is one step. ``counts[reason] = counts.get(reason, 0) + n`` is not.) The counts that other threads
change are each a ``SharedCount`` (:mod:`trio_batchmetrics._concurrency`), which needs no global interpreter lock.

Events that were recorded together form a :class:`Cohort`, which lives until each of them is settled. With two or more
event sinks a cohort has a byte for each event, ``3 × (sinks that have yet to settle it) + (the worst outcome so far)``,
so that a range is settled by one ``bytes.translate``. What only series sinks still hold is kept as counts (a *tail*): a
back-end that is down for a day costs a few numbers, not a byte an event.

Events that other threads record wait in a queue of their own until Trio's thread moves them into the open batch. They
are counted by two numbers, handed in and moved, so that a move changes nothing.

Who waits for events to settle is told by :mod:`.flushes`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence, Sized
from datetime import datetime
from typing import Any, cast

from .._concurrency import SharedCount, shared_count
from .accounts import FAILED, MAX_EVENT_SINKS, PROCESSED, SETTLING, SPOOLED, Account, Cohort, Tally, Verdict
from .flushes import DROPPED, Flushes, Stretch, Watch
from .stats import BatchMetricsStats, FlushReport

__all__ = ["Ledger"]

_TailKey = tuple[frozenset[tuple[Account, int]], Stretch]
_NOBODY: frozenset[Account] = frozenset()

_READINGS = 100
"""How often the numbers of what was recorded are read at most, while Trio's thread goes on changing them."""


class Ledger:
    """Every event's state, as counts. See the module for the state table."""

    def __init__(self, accounts: Sequence[Account]) -> None:
        """Start with zero counts for these sinks."""
        self.accounts: tuple[Account, ...] = tuple(accounts)
        self._event_sinks = sum(not account.series for account in accounts)
        if self._event_sinks > MAX_EVENT_SINKS:
            raise ValueError(f"sinks must be at most {MAX_EVENT_SINKS} event sinks (got {self._event_sinks})")
        self.capacity: int | None = None
        """Where the oldest waiting events make room: how many may wait. Events beyond that are as good as evicted."""
        self.handed_in: SharedCount = shared_count()
        """Events that other threads have recorded."""
        self._pushed_out: SharedCount = shared_count()
        self.moved: int = 0
        """How many of them stand in a batch, or were evicted before."""
        self._carried = 0
        """How often events were carried from one list over into the next."""
        self._end: tuple[int, int] | None = None
        """How many events were recorded in lists, and handed in, when everything pending was given up."""
        self._recorded: tuple[int, Sized, Sized] = (0, (), ())
        self._points = 0
        self._released = 0
        self._refused: dict[str, Tally] = {}
        self._dropped: defaultdict[str, int] = defaultdict(int)
        self._settled = [0, 0, 0]
        self._cohorts: dict[Cohort, None] = {}
        self._tails: dict[_TailKey, list[int]] = {}
        self._flushes = Flushes()
        self.batch_count: int = 0
        self.last_flush_time: datetime | None = None

    # -- recorded

    def watch_rows(self, rows: Sized) -> None:
        """From now on whatever is appended to this list is recorded, beside what may still reach the one before it."""
        earlier, older, newer = self._recorded
        self._recorded = (earlier + len(older), newer, rows)

    def watched_after(self, rows: list[Any]) -> list[Any]:
        """Return the list that is watched after this one: a new one from now on, unless there is one already."""
        newest: Any = self._recorded[2]
        if newest is rows:
            newest = []
            self.watch_rows(newest)
        return cast("list[Any]", newest)

    def carry_over(self, older: list[Any], size: int, newer: list[Any]) -> None:
        """Move what is beyond this size in one watched list to the front of the other."""
        more = older[size:]
        del older[size:]  # with no call from here on: each event stands in one list
        newer[0:0] = more
        self._carried += 1

    def open_cohort(self, rows: Sized, *, points: bool = False) -> Cohort:
        """Account together for the rows of a watched list."""
        cohort = Cohort(rows, self._flushes.growing, points=points)
        self._cohorts[cohort] = None
        return cohort

    def record_points(self, rows: Sized) -> Cohort:
        """Points that a collection took: recorded, taking no room."""
        cohort = self.open_cohort(rows, points=True)
        cohort.seal()
        self._points += len(rows)
        return cohort

    def refusals(self, reason: str) -> Tally:
        """Return the tally of events that were not taken, recorded and dropped at once.

        Counting is ``count += 1`` in Trio's thread, and :meth:`Tally.add` in others.
        """
        return self._refused.get(reason) or self._refused.setdefault(reason, Tally())

    def refuse(self, reason: str, count: int = 1) -> None:
        """Events were not taken. From any thread."""
        self.refusals(reason).add(count)

    @property
    def refused(self) -> dict[str, int]:
        """How many events were not taken, by reason."""
        refused = self._refused.copy()  # in one step, whatever runs in between
        return {reason: count for reason, tally in refused.items() if (count := tally.total)}

    # -- waiting

    @property
    def waiting(self) -> int:
        """How many events take room in the buffer."""
        pushed_out = self._pushed_out.count  # first: an event is never seen leaving before it is seen coming
        earlier, older, newer = self._recorded
        return earlier + len(older) + len(newer) + self.handed_in.count - self.moved - self._released - pushed_out

    @property
    def _in_lists(self) -> int:
        earlier, older, newer = self._recorded
        return earlier + len(older) + len(newer)

    @property
    def excess(self) -> int:
        """How many of them are as good as evicted, because other threads have recorded newer ones."""
        return 0 if self.capacity is None else max(0, self.waiting - self.capacity)

    def push_out(self, cohort: Cohort, rows: list[Any] | None = None, at: int = 0) -> None:
        """A waiting event of the cohort made room: dropped.

        Args:
            cohort: the cohort.
            rows: where the event stands; None takes its place.
            at: its position there.
        """
        stretch, flushes = cohort.stretch, self._flushes
        self._dropped["buffer_full"] += 1  # with no call from here on: it is done whole or not at all
        self._released += 1
        cohort.gone += 1
        cohort.settled += 1
        flushes.counted[DROPPED] += 1
        stretch.counts[DROPPED] += 1
        stretch.remaining -= 1
        if rows is not None:
            rows[at] = None
        if not stretch.remaining:
            flushes.fold()

    def push_out_handed_in(self) -> None:
        """An event that another thread recorded, and that no batch has yet, made room: dropped."""
        cell = self._pushed_out.mine()
        cell.count += 1

    def take(self, cohort: Cohort) -> None:
        """The flush task takes what waits of a sealed cohort: no room in the buffer is used any more."""
        waiting = cohort.waiting
        cohort.taken = True
        if not cohort.points:
            self._released += waiting
        self.forget_if_done(cohort)

    @property
    def ended(self) -> bool:
        """Whether everything pending has been given up."""
        return self._end is not None

    # -- taken

    def invalid(self, cohort: Cohort, count: int) -> None:
        """Events of the cohort that no sink should see: dropped."""
        if count:
            self._drop(cohort, "invalid", count)
            self.forget_if_done(cohort)

    def reach(self, account: Account, count: int) -> None:
        """Events reach a sink."""
        account.total += count

    def merged(self, account: Account, cohort: Cohort, count: int, refused: Collection[int] = ()) -> None:
        """A series sink has merged the cohort's events.

        Args:
            account: the sink's.
            cohort: the cohort.
            count: how many events reached the sink.
            refused: the positions of those that it has refused; rejected.
        """
        if count > len(refused):
            account.unpushed += count - len(refused)
            cohort.series[account] = account.epoch
        self._refuse_merge(account, cohort, refused)

    def not_merged(self, account: Account, cohort: Cohort, count: int) -> None:
        """A series sink failed to merge some of the cohort's events: given up, all of them."""
        account.add(Verdict.FAILED, count, "merge")
        cohort.worst = FAILED

    def scraped(self, account: Account, cohort: Cohort, count: int, refused: Collection[int] = ()) -> None:
        """Events stand in the series that a scrape reads: delivered; as :meth:`merged` otherwise."""
        account.add(Verdict.DELIVERED, count - len(refused), "")
        self._refuse_merge(account, cohort, refused)

    def _refuse_merge(self, account: Account, cohort: Cohort, refused: Collection[int]) -> None:
        if refused:
            account.add(Verdict.REJECTED, len(refused), "")
            if not cohort.refused:
                cohort.refused = {}
            for at in refused:
                cohort.refused[at] = cohort.refused.get(at, _NOBODY) | {account}

    def hand_over(self, cohort: Cohort, count: int, now: datetime) -> None:
        """The cohort's events reach every event sink; merging them into the series sinks has ended."""
        for account in self.accounts:
            if not account.series:
                account.total += count
        self.batch_count += 1
        self.last_flush_time = now
        if self._event_sinks > 1 or (self._event_sinks and cohort.refused):
            cohort.fates = bytearray([3 * self._event_sinks]) * count
            for at in cohort.refused:
                cohort.fates[at] += FAILED
        elif self._event_sinks == 0:
            self._have_outcome(cohort, PROCESSED, count - len(cohort.refused))
            for at in tuple(cohort.refused):
                self._have_outcome(cohort, FAILED, 1, cohort.refused[at])

    def settle(
        self, account: Account, cohort: Cohort, start: int, stop: int, verdict: Verdict, reason: str = ""
    ) -> None:
        """An event sink settles the events ``start:stop`` of a cohort, each for the first time.

        Args:
            account: the sink's.
            cohort: the cohort.
            start: the first event's position among those handed over.
            stop: one past the last's.
            verdict: how.
            reason: why they failed.
        """
        account.add(verdict, stop - start, reason)
        if cohort.fates is None:
            self._have_outcome(cohort, verdict.outcome, stop - start)
            return
        settled = cohort.fates[start:stop].translate(SETTLING[verdict.outcome])
        cohort.fates[start:stop] = settled
        for at in cohort.refused.keys() & range(start, stop) if cohort.refused else ():
            if settled[at - start] == FAILED:
                settled[at - start] = 3  # counted here, since fewer sinks hold it than the others
                self._have_outcome(cohort, FAILED, 1, cohort.refused[at])
        for outcome in (PROCESSED, SPOOLED, FAILED):
            if count := settled.count(outcome):
                self._have_outcome(cohort, outcome, count)

    # -- series

    def begin_push(self, account: Account) -> None:
        """A snapshot is taken that contains all that the sink has merged."""
        account.epoch += 1
        account.covered += account.unpushed
        account.unpushed = 0
        self._change_tails(lambda holder, epoch: (holder, 0) if holder is account else (holder, epoch))

    def pushed(self, account: Account) -> None:
        """The push of the last snapshot succeeded: delivered."""
        account.add(Verdict.DELIVERED, account.covered, "")
        account.covered = 0
        for cohort in tuple(self._cohorts):
            if cohort.series.get(account, account.epoch) < account.epoch:
                del cohort.series[account]
        self._change_tails(
            lambda holder, epoch: None if holder is account and epoch < account.epoch else (holder, epoch)
        )

    # -- the end, and questions

    def fail_rest(self, reason: str) -> None:
        """Everything pending is given up, overall and for each sink."""
        for account in self.accounts:
            if account.pending:
                account.add(Verdict.FAILED, account.pending, reason)
            account.unpushed = account.covered = 0
        if self._end is None:
            self._end = (self._in_lists, self.handed_in.count)  # those that come later count as closed
        if excess := self.excess:
            self._dropped["buffer_full"] += excess
            self._released += excess
        self._settled[FAILED] += self.pending
        self._cohorts.clear()
        self._tails.clear()
        self._released = sum(self._end) - self.moved - self._pushed_out.count
        self._flushes.settle_rest(FAILED)

    def watch(self, done: Callable[[], object]) -> Watch:
        """Wait for all that is pending in sealed cohorts; there is no other one. See :meth:`Flushes.watch`."""
        return self._flushes.watch(done)

    def unwatch(self, watch: Watch) -> None:
        """A flush waits no more."""
        if self._flushes.unwatch(watch):
            self._change_tails(lambda holder, epoch: (holder, epoch))

    def report(self, watch: Watch) -> FlushReport:
        """Return what has become of what a flush waits for, so far."""
        return self._flushes.report(watch)

    @property
    def held(self) -> int:
        """How many things it remembers beside its counters; 0 once everything has settled."""
        return len(self._cohorts) + len(self._tails) + len(self._flushes)

    @property
    def pending(self) -> int:
        """How many events are recorded and not settled."""
        return self.snapshot(None).pending_events

    def snapshot(self, time_since_last_flush: float | None) -> BatchMetricsStats:
        """Return the books as they stand.

        Args:
            time_since_last_flush: seconds, for the field of that name.
        """
        # Against the way that events take: another thread's are never seen at a sink before they are seen recorded.
        sinks = {account.name: account.snapshot() for account in self.accounts}
        processed, spooled, failed = self._settled
        dropped, refused = dict(self._dropped), self.refused
        pushed_out = self._pushed_out.count
        if pushed_out:
            dropped["buffer_full"] = dropped.get("buffer_full", 0) + pushed_out
        recorded, late = self._read_recorded()
        if late:
            refused["closed"] = refused.get("closed", 0) + late
        released = self._released + pushed_out  # as `excess`, of what has been read: it may be another number by now
        if self.capacity is not None and (excess := recorded - released - self.capacity) > 0:
            dropped["buffer_full"] = dropped.get("buffer_full", 0) + excess
        recorded += self._points
        all_dropped = sum(dropped.values()) + sum(refused.values())
        return BatchMetricsStats(
            total_events=recorded + sum(refused.values()),
            processed_events=processed,
            dropped_events=all_dropped,
            failed_events=failed,
            spooled_events=spooled,
            pending_events=recorded - sum(dropped.values()) - processed - spooled - failed,
            batch_count=self.batch_count,
            last_flush_time=self.last_flush_time,
            time_since_last_flush=time_since_last_flush,
            dropped={
                reason: dropped.get(reason, 0) + refused.get(reason, 0)
                for reason in sorted(dropped.keys() | refused.keys())
            },
            sinks=sinks,
        )

    # -- inside

    def _read_recorded(self) -> tuple[int, int]:
        """Return how many events, points excepted, were recorded, and how many after the end, by other threads.

        In another thread than Trio's, events may be moved meanwhile; then it reads again. Should that happen each time,
        those that were moved last are counted twice.
        """
        recorded = late = 0
        for _ in range(_READINGS):
            moved, carried = self.moved, self._carried  # first: the count of what is moved never runs ahead
            recorded, end = self._in_lists + self.handed_in.count, self._end
            late = 0 if end is None else max(0, recorded - sum(end))  # by threads that had looked before the end
            recorded -= late + moved
            if self.moved == moved and self._carried == carried:
                break
        return recorded, late

    def forget_if_done(self, cohort: Cohort) -> None:
        """Keep a cohort no longer, if each of its events has an outcome."""
        if cohort.unsettled == 0:
            self._cohorts.pop(cohort, None)

    def _drop(self, cohort: Cohort, reason: str, count: int) -> None:
        self._dropped[reason] += count
        cohort.settled += count
        self._flushes.settle(cohort.stretch, DROPPED, count)

    def _have_outcome(self, cohort: Cohort, outcome: int, count: int, refused_by: frozenset[Account] = _NOBODY) -> None:
        """Events are settled by every event sink: final, unless series sinks hold them."""
        outcome = max(outcome, cohort.worst)
        holders: frozenset[tuple[Account, int]] = frozenset()
        if cohort.series:
            holders = frozenset(pair for pair in cohort.series.items() if pair[0] not in refused_by)
        if holders:
            self._keep((holders, cohort.stretch), outcome, count)
        elif count:
            self._finish(cohort.stretch, outcome, count)
        cohort.settled += count
        self.forget_if_done(cohort)

    def _keep(self, key: _TailKey, outcome: int, count: int) -> None:
        self._tails.setdefault(key, [0, 0, 0])[outcome] += count

    def _finish(self, stretch: Stretch, outcome: int, count: int) -> None:
        self._settled[outcome] += count
        self._flushes.settle(stretch, outcome, count)

    def _change_tails(self, change: Callable[[Account, int], tuple[Account, int] | None]) -> None:
        """Make each tail anew by what has become of its holders; one without holders is settled."""
        tails, self._tails = self._tails, {}
        finished: list[tuple[Stretch, list[int]]] = []
        for (holders, stretch), counts in tails.items():
            left = frozenset(pair for holder in holders if (pair := change(*holder)) is not None)
            if not left:
                finished.append((stretch, counts))
                continue
            for outcome, count in enumerate(counts):
                self._keep((left, stretch.current()), outcome, count)
        for stretch, counts in finished:
            for outcome, count in enumerate(counts):
                if count:
                    self._finish(stretch.current(), outcome, count)
