"""Settles events that were handed over: each gets the worst outcome of all sinks, once all of them have reported it.

With two or more event sinks, a batch keeps one byte per event, ``3 × (sinks that owe an outcome) + (the worst outcome
so far)``, so one ``bytes.translate`` settles a range. Once every event sink has settled an event, series sinks may
still owe an outcome until a push succeeds. Such events become counts in :mod:`.watermarks`: a back-end that is down for
a day costs a few numbers, not a byte per event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .counters import FAILED, PROCESSED, SPOOLED, SinkCounters
from .pending_batch import NO_SINKS, SETTLING, PendingBatch, PendingBatches
from .watermarks import NO_GROUPS, Watermarks

__all__ = ["Settling"]


class Settling:
    """Moves events from pending to their outcome. Only the ledger uses it."""

    def __init__(self, batches: PendingBatches, watermarks: Watermarks) -> None:
        """Start with nothing settled.

        Args:
            batches: the pending batches.
            watermarks: keep the events for which series sinks still owe an outcome.
        """
        self._batches = batches
        self._watermarks = watermarks
        self.counts: list[int] = [0, 0, 0]
        """The settled events: processed, spooled, failed."""

    def settle(self, batch: PendingBatch, start: int, stop: int, outcome: int) -> None:
        """Settle the events ``start:stop`` of a batch for one event sink."""
        if batch.outcomes is None:
            self.settle_all(batch, start, stop, outcome)
            return
        settled = batch.outcomes[start:stop].translate(SETTLING[outcome])
        batch.outcomes[start:stop] = settled
        for at in batch.refused.keys() & range(start, stop) if batch.refused else ():
            if settled[at - start] == FAILED:
                settled[at - start] = 3  # counted here, as fewer sinks owe an outcome for it than for the other events
                self._settle(batch, FAILED, (at,), batch.refused[at])
        for each in (PROCESSED, SPOOLED, FAILED):
            if count := settled.count(each):
                whole = count == stop - start
                positions = range(start, stop) if whole else [start + at for at, of in enumerate(settled) if of == each]
                self._settle(batch, each, positions)

    def settle_all(self, batch: PendingBatch, start: int, stop: int, outcome: int) -> None:
        """Settle the events ``start:stop``, which no event sink owes an outcome any more, all with the same outcome."""
        refused = batch.refused.keys() & range(start, stop) if batch.refused else ()
        for at in refused:
            self._settle(batch, FAILED, (at,), batch.refused[at])
        if len(refused) < stop - start:
            positions = [at for at in range(start, stop) if at not in refused] if refused else range(start, stop)
            self._settle(batch, outcome, positions)

    def _settle(
        self,
        batch: PendingBatch,
        outcome: int,
        positions: Sequence[int],
        refused_by: frozenset[SinkCounters] = NO_SINKS,
    ) -> None:
        """Settle events that every event sink has settled. The outcome is final unless series sinks still owe one."""
        outcome, count = max(outcome, batch.outcome_floor), len(positions)
        owing = batch.owing
        if owing:
            owing = frozenset([s for s in owing if s.pushed_through < batch.number and s not in refused_by])
        batch.settled += count
        if owing and batch.groups:
            self._owe_by_group(batch, owing, outcome, positions)
        elif owing:
            self._watermarks.section_of(batch.number).owe(owing, outcome, count)
        else:
            self.counts[outcome] += count
            self._watermarks.settle(batch.number, outcome, count)
        if batch.settled == batch.size:
            self._batches.pending.pop(batch.number, None)

    def _owe_by_group(
        self, batch: PendingBatch, owing: frozenset[SinkCounters], outcome: int, positions: Sequence[int]
    ) -> None:
        columns = [batch.groups[sink] for sink in self._watermarks.by_group(owing)]
        section = self._watermarks.section_of(batch.number)
        keys = zip(*([column[at] for at in positions] for column in columns), strict=True)
        for groups, count in (Counter(keys) if columns else {NO_GROUPS: len(positions)}).items():
            section.owe(owing, outcome, count, groups)

    def finish(self, final: Sequence[int]) -> None:
        """Settle events for which the last series sink has reported an outcome, by outcome."""
        for outcome, count in enumerate(final):
            self.counts[outcome] += count
