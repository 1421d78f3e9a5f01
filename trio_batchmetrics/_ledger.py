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
``defaultdict`` is one step. ``counts[reason] = counts.get(reason, 0) + n`` is not.)

Events that were recorded together form a :class:`Cohort`, which lives until each of them is settled. With two or more
event sinks a cohort has a byte for each event, ``3 × (sinks that have yet to settle it) + (the worst outcome so far)``,
so that a range is settled by one ``bytes.translate``. What only series sinks still hold is kept as counts (a *tail*): a
back-end that is down for a day costs a few numbers, not a byte an event.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence, Sized
from datetime import datetime

from ._accounts import FAILED, MAX_EVENT_SINKS, PROCESSED, SETTLING, SPOOLED, Account, Cohort, Tally, Verdict, Watch
from ._stats import BatchMetricsStats

__all__ = ["Ledger"]

_TailKey = tuple[frozenset[tuple[Account, int]], tuple[Watch, ...]]


class Ledger:
    """Every event's state, as counts. See the module for the state table."""

    def __init__(self, accounts: Sequence[Account]) -> None:
        """Keep the books for these sinks."""
        self.accounts: tuple[Account, ...] = tuple(accounts)
        self._event_sinks = sum(not account.series for account in accounts)
        if self._event_sinks > MAX_EVENT_SINKS:
            raise ValueError(f"sinks must be at most {MAX_EVENT_SINKS} event sinks (got {self._event_sinks})")
        self._recorded: tuple[int, Sized, Sized] = (0, (), ())
        self._points = 0
        self._released = 0
        self._refused: dict[str, Tally] = {}
        self._dropped: defaultdict[str, int] = defaultdict(int)
        self._settled = [0, 0, 0]
        self._cohorts: dict[Cohort, None] = {}
        self._tails: dict[_TailKey, list[int]] = {}
        self._watches: dict[Watch, None] = {}
        self.batch_count: int = 0
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

    def refusals(self, reason: str) -> Tally:
        """Return the tally of events that were not taken, recorded and dropped at once. Counting is ``count += 1``."""
        return self._refused.setdefault(reason, Tally())

    def refuse(self, reason: str, count: int = 1) -> None:
        """Events were not taken."""
        self.refusals(reason).count += count

    @property
    def refused(self) -> dict[str, int]:
        """How many events were not taken, by reason."""
        return {reason: tally.count for reason, tally in tuple(self._refused.items()) if tally.count}

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

    def forget(self, cohort: Cohort) -> None:
        """Nothing of the cohort waits any more, and nothing was taken of it: it was pushed out whole."""
        self._forget_if_done(cohort)

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

    def merged(self, account: Account, cohort: Cohort, count: int, *, refused: Collection[int] = ()) -> None:
        """A series sink has merged the cohort's events, but for those that it refused for good."""
        account.unpushed += count - len(refused)
        cohort.series[account] = account.epoch
        self._refuse_in_series(account, cohort, refused)

    def not_merged(self, account: Account, cohort: Cohort, count: int) -> None:
        """A series sink failed to merge some of the cohort's events: given up, all of them."""
        account.add(Verdict.FAILED, count, "merge")
        cohort.worst = FAILED

    def scraped(self, account: Account, cohort: Cohort, count: int, *, refused: Collection[int] = ()) -> None:
        """The cohort's events stand in the series that a scrape reads: delivered, but for those that were refused."""
        account.add(Verdict.DELIVERED, count - len(refused), "")
        self._refuse_in_series(account, cohort, refused)

    def _refuse_in_series(self, account: Account, cohort: Cohort, refused: Collection[int]) -> None:
        account.add(Verdict.REJECTED, len(refused), "")
        cohort.refused.update(refused)

    def hand_over(self, cohort: Cohort, count: int, now: datetime) -> None:
        """The cohort's events reach every event sink; merging them into the series sinks has ended."""
        for account in self.accounts:
            if not account.series:
                account.total += count
        self.batch_count += 1
        self.last_flush_time = now
        if self._event_sinks > 1:
            cohort.fates = bytearray([3 * self._event_sinks]) * count
            for at in cohort.refused:
                cohort.fates[at] += FAILED
        elif self._event_sinks == 0:
            if bad := len(cohort.refused):
                self._have_outcome(cohort, FAILED, bad)
            if count - bad:
                self._have_outcome(cohort, PROCESSED, count - bad)

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
            bad = len(cohort.refused.intersection(range(start, stop)))
            if bad:
                self._have_outcome(cohort, FAILED, bad)
            if stop - start - bad:
                self._have_outcome(cohort, verdict.outcome, stop - start - bad)
            return
        settled = cohort.fates[start:stop].translate(SETTLING[verdict.outcome])
        cohort.fates[start:stop] = settled
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
        for cohort in tuple(self._cohorts):
            cohort.close()
        rest = self.pending
        self._settled[FAILED] += rest
        self._cohorts.clear()
        self._tails.clear()
        earlier, older, newer = self._recorded
        self._released = earlier + len(older) + len(newer)
        for watch in tuple(self._watches):
            self._tell((watch,), FAILED, watch.remaining)

    def watch(self, done: Callable[[], object]) -> Watch:
        """Follow all that is pending now; ``done`` is called at once if nothing is. What is followed must not grow."""
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
        return sum(self.refused.values()) + sum(self._dropped.values()) + self._settled[FAILED]

    def snapshot(self, time_since_last_flush: float | None) -> BatchMetricsStats:
        """Return the books as they stand.

        Args:
            time_since_last_flush: seconds, for the field of that name.
        """
        processed, spooled, failed = self._settled
        dropped, refused = dict(self._dropped), self.refused
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
