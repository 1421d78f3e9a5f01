"""The ledger: the only place where counts change.

How this works
==============

An event is counted from the moment its row is in a list that the ledger watches (:mod:`.recorded`). Each transition
from there on is one method here, which moves n events from one state to another::

    recorded → refused                                      dropped, by reason; it was never in a list
    recorded → waiting ─┬→ evicted                          dropped: buffer_full
                        └→ taken ─┬→ invalid                dropped: invalid
                                  └→ handed over: for each sink
                                        pending → delivered | rejected | failed (reason) | spooled
                                     settled by every sink → failed if any sink failed or rejected it,
                                        else spooled if any spooled it, else processed
    anything pending at the end → failed                    (:meth:`Ledger.fail_pending`)

Counters only grow, and each transition increments one counter. *Pending* is derived: recorded minus settled. Therefore
no forgotten update can break ``total == processed + dropped + failed + spooled + pending``, which holds even inside a
signal handler that interrupts a transition. The same is true of each sink.
(CPython runs signal handlers and switches threads after calls, at function entry and at backward jumps, so
``counts[reason] += n`` on a ``defaultdict`` is one step. ``counts[reason] = counts.get(reason, 0) + n`` isn't.) A count
that other threads change is a ``SharedCount``, which needs no global interpreter lock.

Events recorded together form a :class:`.PendingBatch`, which :mod:`.settling` settles event by event.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any

from .counters import DROPPED, FAILED, PROCESSED, SinkCounters, Verdict
from .flush_waiter import FlushWaiter
from .pending_batch import MAX_EVENT_SINKS, PendingBatch, PendingBatches
from .recorded import Recorded
from .settling import Settling
from .stats import BatchMetricsStats, FlushReport
from .watermarks import Watermarks

__all__ = ["Ledger"]

_DELIVERED = Verdict.DELIVERED  # CPython 3.11 takes 0.2 µs to look up an enum member


class Ledger:
    """Every event's state, as counts. The module's docstring has the state table."""

    def __init__(self, sinks: Sequence[SinkCounters]) -> None:
        """Create a ledger for these sinks, with all counts at zero."""
        self.sinks: tuple[SinkCounters, ...] = tuple(sinks)
        self._event_sinks = tuple(sink for sink in sinks if not sink.series)
        if len(self._event_sinks) > MAX_EVENT_SINKS:
            raise ValueError(f"sinks must include at most {MAX_EVENT_SINKS} event sinks (got {len(self._event_sinks)})")
        self.recorded: Recorded = Recorded()
        self._dropped: defaultdict[str, int] = defaultdict(int)
        self.batches: PendingBatches = PendingBatches()
        self._watermarks = Watermarks(tuple(sink for sink in sinks if sink.series))
        self._settling = Settling(self.batches, self._watermarks)
        self.batch_count: int = 0
        self.last_flush_time: datetime | None = None

    # -- waiting

    def open_points(self, rows: list[Any], due: float = 0.0) -> PendingBatch:
        """Record the points of a collection as a sealed batch, which takes no room in the buffer."""
        batch = self.batches.open(rows, due, points=True)
        self.recorded.points += len(rows)
        self.batches.seal(batch)
        return batch

    def evict(self, batch: PendingBatch, at: int | None = None) -> None:
        """Drop a waiting event to make room.

        Args:
            batch: the event's batch.
            at: the event's position, where None replaces its row.
        """
        section = self._watermarks.section_of(batch.number)
        self._dropped["buffer_full"] += 1  # no call from here on: all of the change happens, or none of it
        self.recorded.released += 1
        batch.evicted += 1
        batch.settled += 1
        section.settled[DROPPED] += 1
        if at is not None:
            batch.rows[at] = None
        self._watermarks.notify()

    def take(self, batch: PendingBatch) -> None:
        """Note that the flush task takes a sealed batch, whose events free their room in the buffer."""
        batch.taken = True
        if not batch.points:
            self.recorded.released += batch.size - batch.evicted
        if batch.evicted:
            self.batches.forget_if_settled(batch)

    # -- taken

    def invalid(self, batch: PendingBatch, count: int) -> None:
        """Drop invalid events of the batch, before any sink gets them."""
        self._dropped["invalid"] += count
        batch.settled += count
        self._watermarks.settle(batch.number, DROPPED, count)
        self.batches.forget_if_settled(batch)

    def received(self, sink: SinkCounters, count: int) -> None:
        """Note that events have reached a sink."""
        sink.total += count

    def merged(
        self,
        sink: SinkCounters,
        batch: PendingBatch,
        count: int,
        refused: Collection[int] = (),
        groups: Sequence[int] = (),
    ) -> None:
        """Note that a series sink has merged the batch's events; it now owes an outcome for them.

        Args:
            sink: the sink.
            batch: the batch.
            count: how many events reached the sink.
            refused: the positions of the events that the sink refused. They count as rejected.
            groups: the group of each event, if a push may reject some of them.
        """
        sink.merged_through = batch.number
        if count > len(refused):
            batch.owing |= {sink}
            sink.unpushed += count - len(refused)
            if sink.by_group:
                batch.set_groups(sink, groups)
                sink.unpushed_groups.update([group for at, group in enumerate(groups) if at not in refused])
        if refused:
            self._refuse(sink, batch, refused)

    def merge_failed(self, sink: SinkCounters, batch: PendingBatch, count: int) -> None:
        """Note that a series sink failed to merge some of the batch's events. All of them count as failed there."""
        sink.merged_through = batch.number
        sink.settle(Verdict.FAILED, count, "merge")
        batch.outcome_floor = FAILED

    def scraped(self, sink: SinkCounters, batch: PendingBatch, count: int, refused: Collection[int] = ()) -> None:
        """Count events in the series that a scrape reads as delivered. The arguments are those of :meth:`merged`."""
        sink.delivered += count - len(refused)
        if refused:
            self._refuse(sink, batch, refused)

    def _refuse(self, sink: SinkCounters, batch: PendingBatch, refused: Collection[int]) -> None:
        sink.rejected += len(refused)
        for at in refused:
            batch.refuse(at, sink)

    def hand_over(self, batch: PendingBatch, count: int, now: datetime) -> None:
        """Note that every event sink gets the batch's events. The series sinks have already merged them."""
        for sink in self._event_sinks:
            sink.total += count
        self.batch_count += 1
        self.last_flush_time = now
        event_sinks = len(self._event_sinks)
        if event_sinks > 1 or (event_sinks and batch.refused):
            batch.outcomes = bytearray([3 * event_sinks]) * count
            for at in batch.refused:
                batch.outcomes[at] += FAILED
        elif event_sinks == 0:
            self._settling.settle_all(batch, 0, count, PROCESSED)

    # -- handed over

    def settle(
        self, sink: SinkCounters, batch: PendingBatch, start: int, stop: int, verdict: Verdict, reason: str = ""
    ) -> None:
        """Settle the events ``start:stop`` of a batch for an event sink. Each event is settled once per sink.

        Args:
            sink: the sink.
            batch: the batch.
            start: the first event's position among those handed over.
            stop: one past the last event's position.
            verdict: how the sink settles them.
            reason: why they failed.
        """
        if verdict is _DELIVERED:
            sink.delivered += stop - start
        else:
            sink.settle(verdict, stop - start, reason)
        self._settling.settle(batch, start, stop, verdict.outcome)

    # -- pushes

    def begin_push(self, sink: SinkCounters) -> None:
        """Note that a snapshot is being taken, which contains everything the sink has merged."""
        sink.begin_push()
        self._watermarks.begin_push(sink)

    def pushed(self, sink: SinkCounters, rejected: Collection[int] = ()) -> None:
        """Note that the push of the last snapshot succeeded, which delivers its events.

        Args:
            sink: the sink.
            rejected: the groups whose events the back-end rejected.
        """
        refused = sum(sink.snapshot_groups[group] for group in rejected)
        sink.delivered += sink.in_snapshot - refused
        sink.rejected += refused
        for batch in self.batches.in_snapshot(sink) if refused else ():
            batch.refuse_groups(sink, rejected)
        self._end_push(sink, self._watermarks.pushed(sink, rejected))

    def push_failed(self, sink: SinkCounters, reason: str) -> None:
        """Give up the events of the last snapshot: the back-end has refused it for good.

        Args:
            sink: the sink.
            reason: why they failed.
        """
        sink.settle(Verdict.FAILED, sink.in_snapshot, reason)
        for batch in self.batches.in_snapshot(sink):
            batch.outcome_floor = FAILED if sink in batch.owing else batch.outcome_floor
        self._end_push(sink, self._watermarks.pushed(sink, failed=True))

    def _end_push(self, sink: SinkCounters, final: Sequence[int]) -> None:
        sink.in_snapshot = 0
        sink.snapshot_groups.clear()
        self._settling.finish(final)
        self._watermarks.notify()

    # -- flushes

    def add_waiter(self, notify: Callable[[], object]) -> FlushWaiter:
        """Register a flush that waits for every event now pending in batches. All batches must be sealed.

        Args:
            notify: called once none of these events is pending; at once, if none is now.
        """
        return self._watermarks.add_waiter(notify, self.batches.newest, self.batches.sealed_events)

    def remove_waiter(self, waiter: FlushWaiter) -> None:
        """Deregister a flush that no longer waits."""
        self._watermarks.remove_waiter(waiter)

    def report(self, waiter: FlushWaiter) -> FlushReport:
        """Return the outcomes so far of the events that a flush waits for."""
        return self._watermarks.report(waiter)

    # -- the end, and queries

    def fail_pending(self, reason: str) -> None:
        """Count everything that is still pending as failed, overall and per sink."""
        for sink in self.sinks:
            if sink.pending:
                sink.settle(Verdict.FAILED, sink.pending, reason)
            sink.unpushed = sink.in_snapshot = 0
            sink.unpushed_groups.clear()
            sink.snapshot_groups.clear()
        self.recorded.end()
        if excess := self.recorded.excess:
            self._dropped["buffer_full"] += excess
            self.recorded.released += excess
        self._settling.counts[FAILED] += self.pending
        self.batches.clear()
        self.recorded.release_all()
        self._watermarks.fail_pending(self.batches.sealed_events)

    @property
    def retained(self) -> int:
        """The number of entries kept in addition to the counters; 0 once everything has settled."""
        return len(self.batches.pending) + len(self._watermarks)

    @property
    def pending(self) -> int:
        """How many events are recorded and not settled yet."""
        return self.snapshot(None).pending_events

    def snapshot(self, time_since_last_flush: float | None) -> BatchMetricsStats:
        """Return the current counts.

        Args:
            time_since_last_flush: the value of the field of that name, in seconds.
        """
        # Read against the direction of flow: an event from another thread is never seen at a sink before its recording.
        sinks = {sink.name: sink.snapshot() for sink in self.sinks}
        processed, spooled, failed = self._settling.counts
        recorded, dropped = self.recorded.snapshot(self._dropped)
        return BatchMetricsStats(
            total_events=recorded,
            processed_events=processed,
            dropped_events=sum(dropped.values()),
            failed_events=failed,
            spooled_events=spooled,
            pending_events=recorded - sum(dropped.values()) - processed - spooled - failed,
            batch_count=self.batch_count,
            last_flush_time=self.last_flush_time,
            time_since_last_flush=time_since_last_flush,
            dropped=dropped,
            sinks=sinks,
        )
