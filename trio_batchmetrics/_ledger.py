"""The only place where counts change.

How this works
==============

An event is counted from the moment its row stands in a list that the ledger watches (:meth:`Ledger.watch_rows`). From there
each transition is one method here, and moves n events from one state to another::

    recorded → refused                                      dropped, by reason; it never stood in a list
    recorded → waiting ─┬→ pushed out                       dropped: buffer_full
                        └→ taken ─┬→ invalid                dropped: invalid
                                  └→ handed over: for each sink
                                        pending → delivered | rejected | failed (reason) | spooled
                                     settled by every sink → failed if any sink failed or rejected it,
                                        else spooled if any spooled it, else processed
    anything pending at the end → failed                    (:meth:`Ledger.fail_rest`)

Counters only grow, and each transition of events is one increment of one of them; *pending* is derived: recorded minus
settled. So the equation ``total == processed + dropped + failed + spooled + pending`` cannot be broken by forgetting, and
holds inside a signal handler that interrupts a transition. The same for each sink. (CPython runs signal handlers and switches
threads after calls, at function entry and when it jumps back, so ``counts[reason] += n`` on a ``defaultdict`` is one step.
``counts[reason] = counts.get(reason, 0) + n`` is not.)

Events that were recorded together form a :class:`Cohort`, which lives until each of them is settled. With two or more event
sinks a cohort has a byte for each event, ``3 × (sinks that have yet to settle it) + (the worst outcome so far)``, so that a
range is settled by one ``bytes.translate``. What only series sinks still hold is kept as counts (a *tail*): a back-end that
is down for a day costs a few numbers, not a byte an event.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Callable, Sequence, Sized
from datetime import datetime

from ._stats import BatchMetricsStats, FlushReport, SinkStats

__all__ = ["Account", "Cohort", "Ledger", "Verdict", "Watch"]

MAX_EVENT_SINKS = 80
"""A cohort's byte holds 3 × sinks + 2."""

_PROCESSED, _SPOOLED, _FAILED = range(3)


class Verdict(enum.Enum):
    """How a sink settles an event."""

    DELIVERED = _PROCESSED
    SPOOLED = _SPOOLED
    FAILED = _FAILED
    REJECTED = -1

    @property
    def outcome(self) -> int:
        """The event's own outcome, if this sink's is the worst."""
        return _FAILED if self is Verdict.REJECTED else self.value


def _settling(outcome: int) -> bytes:
    """Return the table that settles an event's byte for one sink."""
    return bytes(3 * (value // 3 - 1) + max(value % 3, outcome) if value >= 3 else value for value in range(256))


_TABLES = tuple(_settling(outcome) for outcome in (_PROCESSED, _SPOOLED, _FAILED))


class Account:
    """One sink's counters; only the ledger changes them, but for ``retries``, ``last_error`` and ``last_success``."""

    def __init__(self, name: str, *, series: bool) -> None:
        """Open an account.

        Args:
            name: the sink's key in ``stats().sinks``.
            series: a series sink's.
        """
        self.name = name
        self.series = series
        self.total = self.delivered = self.rejected = self.failed = self.spooled = 0
        self.failures: defaultdict[str, int] = defaultdict(int)
        self.unpushed = 0
        """Events merged since the last snapshot."""
        self.covered = 0
        """Events in the last snapshot, until a push of it or of a later one succeeds."""
        self.epoch = 0
        """Number of snapshots taken; an event merged at epoch e is in every snapshot after the e-th."""
        self.retries = 0
        self.last_error: str | None = None
        self.last_success: datetime | None = None

    @property
    def pending(self) -> int:
        """What reached the sink and is not settled."""
        return self.total - self.delivered - self.rejected - self.failed - self.spooled

    def add(self, verdict: Verdict, count: int, reason: str) -> None:
        """Settle n events of this account."""
        if verdict is Verdict.DELIVERED:
            self.delivered += count
        elif verdict is Verdict.REJECTED:
            self.rejected += count
        elif verdict is Verdict.SPOOLED:
            self.spooled += count
        else:
            self.failed += count
            self.failures[reason] += count

    def snapshot(self) -> SinkStats:
        """Return the account as it stands."""
        delivered, rejected, failed, spooled = self.delivered, self.rejected, self.failed, self.spooled
        total = self.total
        return SinkStats(
            total=total,
            delivered=delivered,
            rejected=rejected,
            failed=failed,
            spooled=spooled,
            pending=total - delivered - rejected - failed - spooled,
            retries=self.retries,
            failures=dict(self.failures),
            last_error=self.last_error,
            last_success=self.last_success,
        )


class Watch:
    """Follows the events that were pending at one moment until all are settled."""

    def __init__(self, done: Callable[[], object]) -> None:
        """Call ``done`` once nothing remains."""
        self.remaining = 0
        self.counts = [0, 0, 0]
        self.dropped = 0
        self._done = done

    def settle(self, count: int) -> None:
        """N of the events are settled (and counted)."""
        self.remaining -= count
        if self.remaining == 0:
            self._done()

    def report(self) -> FlushReport:
        """Return what became of them."""
        processed, spooled, failed = self.counts
        return FlushReport(
            processed=processed, failed=failed, spooled=spooled, dropped=self.dropped, pending=self.remaining
        )


class Cohort:
    """Events that were recorded together, until each is settled."""

    __slots__ = ("_rows", "_size", "fates", "gone", "points", "series", "settled", "watches", "worst")

    def __init__(self, rows: Sized, *, points: bool) -> None:
        """Account for the rows of a list that may still grow.

        Args:
            rows: the list.
            points: what bound instruments collected: takes no room in the buffer.
        """
        self._rows: Sized | None = rows
        self._size = 0
        self.points = points
        self.gone = 0
        """Rows pushed out while they waited."""
        self.settled = 0
        """Events that have their outcome, or are kept in a tail."""
        self.worst = _PROCESSED
        """An outcome that every event of the cohort has at least."""
        self.fates: bytearray | None = None
        self.series: dict[Account, int] = {}
        """Series sinks that hold the events merged, and the epoch they were merged at."""
        self.watches: tuple[Watch, ...] = ()

    @property
    def size(self) -> int:
        """How many events were recorded in it."""
        return self._size if self._rows is None else len(self._rows)

    @property
    def waiting(self) -> int:
        """How many of them wait for the flush task."""
        return len(self._rows) - self.gone if self._rows is not None else 0

    @property
    def unsettled(self) -> int:
        """How many have no outcome yet and are in no tail."""
        return self.size - self.settled

    def close(self) -> int:
        """Fix its size; return how many events it takes along."""
        taken = self.waiting
        self._size, self._rows = self.size, None
        return taken


_TailKey = tuple[frozenset[tuple[Account, int]], tuple[Watch, ...]]


class Ledger:
    """Every event's state, as counts. See the module for the state table."""

    def __init__(self, accounts: Sequence[Account]) -> None:
        """Keep the books for these sinks."""
        self.accounts = tuple(accounts)
        self._event_sinks = sum(not account.series for account in accounts)
        if self._event_sinks > MAX_EVENT_SINKS:
            raise ValueError(f"sinks must be at most {MAX_EVENT_SINKS} event sinks (got {self._event_sinks})")
        self._recorded: tuple[int, Sized, Sized] = (0, (), ())
        self._points = 0
        self._released = 0
        self._refused: defaultdict[str, int] = defaultdict(int)
        self._dropped: defaultdict[str, int] = defaultdict(int)
        self._settled = [0, 0, 0]
        self._cohorts: dict[Cohort, None] = {}
        self._tails: dict[_TailKey, list[int]] = {}
        self._watches: dict[Watch, None] = {}
        self.batch_count = 0
        self.last_flush_time: datetime | None = None

    # -- recorded

    def watch_rows(self, rows: Sized) -> None:
        """From now on whatever is appended to this list is recorded, beside what may still reach the one before it."""
        earlier, older, newer = self._recorded
        self._recorded = (earlier + len(older), newer, rows)

    def open_cohort(self, rows: Sized) -> Cohort:
        """Account together for the rows of a watched list."""
        return self._track(Cohort(rows, points=False))

    def record_points(self, rows: Sized) -> Cohort:
        """Points that a collection took: recorded, taking no room."""
        cohort = self._track(Cohort(rows, points=True))
        self._points += len(rows)
        return cohort

    def refuse(self, reason: str, count: int = 1) -> None:
        """An event was not taken: recorded and dropped at once."""
        self._refused[reason] += count

    # -- waiting

    @property
    def waiting(self) -> int:
        """How many events take room in the buffer."""
        earlier, older, newer = self._recorded
        return earlier + len(older) + len(newer) - self._released

    def push_out(self, cohort: Cohort) -> None:
        """A waiting event of the cohort made room: dropped."""
        cohort.gone += 1
        self._drop(cohort, "buffer_full", 1)
        self._released += 1

    def take(self, cohort: Cohort) -> None:
        """The flush task takes what waits: no room in the buffer is used any more. Its list is not looked at again."""
        earlier, older, newer = self._recorded
        taken = cohort.close()
        if not cohort.points:
            self._recorded = (earlier + len(older), (), newer)
            self._released += taken
        self._forget_if_done(cohort)

    # -- taken

    def invalid(self, cohort: Cohort, count: int) -> None:
        """Events of the cohort that no sink should see: dropped."""
        if count:
            self._drop(cohort, "invalid", count)
            self._forget_if_done(cohort)

    def reach(self, account: Account, count: int) -> None:
        """Events reach a sink."""
        account.total += count

    def merged(self, account: Account, cohort: Cohort, count: int) -> None:
        """A series sink has merged all of the cohort's events."""
        account.unpushed += count
        cohort.series[account] = account.epoch

    def not_merged(self, account: Account, cohort: Cohort, count: int) -> None:
        """A series sink failed to merge some of the cohort's events: given up, all of them."""
        account.add(Verdict.FAILED, count, "merge")
        cohort.worst = _FAILED

    def scraped(self, account: Account, count: int) -> None:
        """Events stand in the series that a scrape reads: delivered."""
        account.add(Verdict.DELIVERED, count, "")

    def hand_over(self, cohort: Cohort, count: int, now: datetime) -> None:
        """The cohort's events reach every event sink; merging them into the series sinks has ended."""
        for account in self.accounts:
            if not account.series:
                account.total += count
        self.batch_count += 1
        self.last_flush_time = now
        if self._event_sinks > 1:
            cohort.fates = bytearray([3 * self._event_sinks]) * count
        elif self._event_sinks == 0:
            self._have_outcome(cohort, _PROCESSED, count)

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
        settled = cohort.fates[start:stop].translate(_TABLES[verdict.outcome])
        cohort.fates[start:stop] = settled
        for outcome in (_PROCESSED, _SPOOLED, _FAILED):
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
        for cohort in tuple(self._cohorts):
            cohort.close()
        rest = self.pending
        self._settled[_FAILED] += rest
        self._cohorts.clear()
        self._tails.clear()
        earlier, older, newer = self._recorded
        self._released = earlier + len(older) + len(newer)
        for watch in tuple(self._watches):
            self._tell((watch,), _FAILED, watch.remaining)

    def watch(self, done: Callable[[], object]) -> Watch:
        """Follow everything that is pending now; ``done`` is called at once if nothing is."""
        watch = Watch(done)
        self._watches[watch] = None
        for cohort in tuple(self._cohorts):
            cohort.watches += (watch,)
            watch.remaining += cohort.unsettled
        for (holders, watches), counts in tuple(self._tails.items()):
            del self._tails[holders, watches]
            self._tails[holders, (*watches, watch)] = counts
            watch.remaining += sum(counts)
        self._settle_watch(watch, 0)
        return watch

    def unwatch(self, watch: Watch) -> None:
        """Follow no more."""
        self._watches.pop(watch, None)
        for cohort in tuple(self._cohorts):
            cohort.watches = tuple(other for other in cohort.watches if other is not watch)
        self._change_tails(lambda holder, epoch: (holder, epoch), without=watch)

    @property
    def pending(self) -> int:
        """How many events are recorded and not settled."""
        return self.snapshot(None).pending_events

    @property
    def lost(self) -> int:
        """How many events were dropped or failed."""
        return sum(self._refused.values()) + sum(self._dropped.values()) + self._settled[_FAILED]

    def snapshot(self, time_since_last_flush: float | None) -> BatchMetricsStats:
        """Return the books as they stand.

        Args:
            time_since_last_flush: seconds, for the field of that name.
        """
        processed, spooled, failed = self._settled
        dropped, refused = dict(self._dropped), dict(self._refused)
        earlier, older, newer = self._recorded
        recorded = earlier + len(older) + len(newer) + self._points
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
            sinks={account.name: account.snapshot() for account in self.accounts},
        )

    # -- inside

    def _track(self, cohort: Cohort) -> Cohort:
        self._cohorts[cohort] = None
        return cohort

    def _forget_if_done(self, cohort: Cohort) -> None:
        if cohort.unsettled == 0:
            self._cohorts.pop(cohort, None)

    def _drop(self, cohort: Cohort, reason: str, count: int) -> None:
        self._dropped[reason] += count
        cohort.settled += count
        for watch in cohort.watches:
            watch.dropped += count
            self._settle_watch(watch, count)

    def _have_outcome(self, cohort: Cohort, outcome: int, count: int) -> None:
        """Events are settled by every event sink: final, unless series sinks hold them."""
        outcome = max(outcome, cohort.worst)
        if cohort.series:
            self._keep((frozenset(cohort.series.items()), cohort.watches), outcome, count)
        else:
            self._finish(cohort.watches, outcome, count)
        cohort.settled += count
        self._forget_if_done(cohort)

    def _keep(self, key: _TailKey, outcome: int, count: int) -> None:
        self._tails.setdefault(key, [0, 0, 0])[outcome] += count

    def _finish(self, watches: tuple[Watch, ...], outcome: int, count: int) -> None:
        self._settled[outcome] += count
        self._tell(watches, outcome, count)

    def _tell(self, watches: tuple[Watch, ...], outcome: int, count: int) -> None:
        for watch in watches:
            watch.counts[outcome] += count
            self._settle_watch(watch, count)

    def _settle_watch(self, watch: Watch, count: int) -> None:
        if watch.remaining == count:
            self._watches.pop(watch, None)
        watch.settle(count)

    def _change_tails(
        self, change: Callable[[Account, int], tuple[Account, int] | None], without: Watch | None = None
    ) -> None:
        """Make each tail anew by what has become of its holders; one without holders is settled."""
        tails, self._tails = self._tails, {}
        finished: list[tuple[tuple[Watch, ...], list[int]]] = []
        for (holders, watches), counts in tails.items():
            left = frozenset(pair for holder in holders if (pair := change(*holder)) is not None)
            kept = tuple(watch for watch in watches if watch is not without)
            if not left:
                finished.append((kept, counts))
                continue
            for outcome, count in enumerate(counts):
                self._keep((left, kept), outcome, count)
        for kept, counts in finished:
            for outcome, count in enumerate(counts):
                if count:
                    self._finish(kept, outcome, count)
