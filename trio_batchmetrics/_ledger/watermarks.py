"""Compares batch numbers to determine which flush waits for an event, and which push delivers it.

How this works
==============

Batches are numbered, and handed over in that order. A *watermark* is a batch number: the batches up to it are in a
snapshot, or belong to a flush. Watermarks divide the numbers into *sections*. If the same series sinks owe an outcome
for two events of one section, the events are indistinguishable, so a section keeps counts instead of batches. (If a
push may reject some of its events, they must also be in the same group: see :class:`.SinkCounters`.) There is one
section per waiting flush and per push in flight, plus one that is still growing, however many batches are pending::

    numbers      1 ......... 17 | 18 ........... 40 | 41 ...
    cut by       a snapshot       a flush            (growing)

A flush up to batch N waits until the sections up to N have settled as many events as the batches up to N contain. That
number is known when the flush is called, from a running sum.

Only the ledger uses this module, in Trio's thread. A signal handler that evicts an event may interrupt any of it, so
sections are cut and joined without a call in between: CPython runs signal handlers after calls, at function entry and
at backward jumps.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Container
from operator import attrgetter
from typing import Any

from .counters import FAILED, PROCESSED, SinkCounters
from .flush_waiter import FlushWaiter
from .stats import FlushReport

__all__ = ["NO_GROUPS", "Groups", "Section", "Watermarks"]

Owing = frozenset[SinkCounters]
"""The series sinks that owe an outcome for an event."""

Groups = tuple[int, ...]
"""The groups of an event, one for each sink that owes an outcome and rejects by group, in the order of all sinks."""

NO_GROUPS: Groups = ()

_through: Callable[[Section], Any] = attrgetter("through")


class Section:
    """The batches between two watermarks."""

    __slots__ = ("owed", "settled", "through", "waiters")

    def __init__(self, through: float) -> None:
        """Create a section without events.

        Args:
            through: the number of its last batch; infinite while the section is growing.
        """
        self.through: float = through
        self.settled: list[int] = [0, 0, 0, 0]
        """The settled events: processed, spooled, failed, dropped."""
        self.owed: dict[tuple[Owing, Groups], list[int]] = {}
        """The events that every event sink has settled, by the series sinks that still owe an outcome, and by group:
        processed, spooled, failed."""
        self.waiters: list[FlushWaiter] = []

    def owe(self, owing: Owing, outcome: int, count: int, groups: Groups = NO_GROUPS) -> None:
        """Keep the count of events for which these series sinks still owe an outcome."""
        counts = self.owed.get((owing, groups))
        if counts is None:
            counts = self.owed[owing, groups] = [0, 0, 0]
        counts[outcome] += count


class Watermarks:
    """The sections in the order of their numbers. The last one is growing."""

    def __init__(self, sinks: tuple[SinkCounters, ...]) -> None:
        """Create the watermarks, with a single growing section.

        Args:
            sinks: the series sinks.
        """
        self._sinks = sinks
        self._sections: list[Section] = [Section(math.inf)]
        self._settled_before = [0, 0, 0, 0]
        """Events that settled in sections that are deleted by now, by outcome."""
        self._notifying = False

    def __len__(self) -> int:
        """Return the number of entries kept: watermarks, and counts of owed events."""
        return len(self._sections) - 1 + sum(len(section.owed) for section in self._sections)

    def section_of(self, number: int) -> Section:
        """Return the section of a batch."""
        sections = self._sections
        return sections[bisect_left(sections, number, key=_through)] if len(sections) > 1 else sections[0]

    def settle(self, number: int, outcome: int, count: int) -> None:
        """Settle events of a batch, and notify the flushes that this completes."""
        sections = self._sections
        if len(sections) == 1:
            sections[0].settled[outcome] += count
            return
        self.section_of(number).settled[outcome] += count
        self.notify()

    # -- pushes

    def by_group(self, owing: Owing) -> list[SinkCounters]:
        """Return those of the sinks that reject by group, in the order of all sinks."""
        return [sink for sink in self._sinks if sink.by_group and sink in owing]

    def begin_push(self, sink: SinkCounters) -> None:
        """Note that the sink's new snapshot contains every batch merged so far."""
        earlier, sink.snapshot_through = sink.snapshot_through, sink.merged_through
        self._cut(sink.snapshot_through)
        self._join(earlier)

    def pushed(self, sink: SinkCounters, rejected: Container[int] = (), *, failed: bool = False) -> list[int]:
        """Note that the sink's last snapshot was pushed.

        Args:
            sink: the sink.
            rejected: the groups whose events are rejected.
            failed: whether all events of the snapshot have failed.

        Returns:
            The number of events for which no sink owes an outcome any more: processed, spooled, failed.
        """
        sink.pushed_through = sink.snapshot_through
        final = [0, 0, 0]
        for section in self._sections:
            if section.through > sink.pushed_through:
                break
            owed, section.owed = section.owed, {}
            for (owing, groups), counts in owed.items():
                left, others, floor = owing - {sink}, groups, PROCESSED
                if sink in owing and sink.by_group:
                    at = self.by_group(owing).index(sink)
                    others = groups[:at] + groups[at + 1 :]
                    floor = FAILED if groups[at] in rejected else PROCESSED
                if sink in owing and failed:
                    floor = FAILED
                for given, count in enumerate(counts):
                    outcome = max(given, floor)
                    if left:
                        section.owe(left, outcome, count, others)
                    else:
                        final[outcome] += count
                        section.settled[outcome] += count
        self._join(sink.pushed_through)
        return final

    # -- flushes

    def add_waiter(self, notify: Callable[[], object], through: int, target: int) -> FlushWaiter:
        """Register a flush that waits for the batches up to a number, all of which are sealed.

        Args:
            notify: called once all have settled; at once, if they have already.
            through: the newest batch's number.
            target: how many events the batches up to that number contain.
        """
        section = self._cut(through)
        waiter = FlushWaiter(notify, through, target, self._settled_through(through))
        section.waiters.append(waiter)
        self.notify()
        return waiter

    def remove_waiter(self, waiter: FlushWaiter) -> None:
        """Deregister a flush that no longer waits."""
        if not waiter.finished:
            self.section_of(waiter.through).waiters.remove(waiter)
            self._join(waiter.through)

    def report(self, waiter: FlushWaiter) -> FlushReport:
        """Return the outcomes so far of the events that a flush waits for."""
        return waiter.report([] if waiter.finished else self._settled_through(waiter.through))

    def notify(self) -> None:
        """Notify the flushes whose batches have all settled."""
        # No ``while`` inside ``try``: see ``Waker._make_calls``.
        while len(self._sections) > 1 and not self._notifying:  # re-entered: the outer call carries on
            self._notifying = True
            try:
                if not self._notify_first():
                    return
            finally:
                self._notifying = False

    def _notify_first(self) -> bool:
        """Finish the flushes of the first section that has any, if all its events have settled; return whether so."""
        total = sum(self._settled_before)
        for at, section in enumerate(self._sections):
            total += sum(section.settled)
            if section.waiters:
                if total < section.waiters[0].target:
                    return False
                self._finish(at)
                return True
        return False

    def _finish(self, at: int) -> None:
        """Finish the flushes of a section whose events, and those of all earlier sections, have settled."""
        section = self._sections[at]
        settled = self._settled_through(section.through)
        for waiter in section.waiters:
            waiter.finish(settled)  # idempotent, as an exception from a signal handler may end the loop early
        self._settled_before = settled  # no call from here on; nothing in these sections is pending or owed any more
        del self._sections[: at + 1]

    def fail_pending(self, target: int) -> None:
        """Count everything that is still pending as failed.

        Args:
            target: how many events all batches contain.
        """
        for section in self._sections:
            section.owed.clear()
        for section in tuple(self._sections):
            expected = section.waiters[0].target if section.waiters else target if section.through == math.inf else 0
            section.settled[FAILED] += max(0, expected - sum(self._settled_through(section.through)))
        self.notify()
        self._settled_before = self._settled_through(math.inf)
        self._sections = [Section(math.inf)]

    # -- internals

    def _settled_through(self, number: float) -> list[int]:
        """Return how many events of the batches up to a watermark have settled, by outcome."""
        processed, spooled, failed, dropped = self._settled_before
        for section in self._sections:
            if section.through > number:
                break
            counts = section.settled
            processed, spooled = processed + counts[0], spooled + counts[1]
            failed, dropped = failed + counts[2], dropped + counts[3]
        return [processed, spooled, failed, dropped]

    def _cut(self, number: int) -> Section:
        """Return the section that ends with this number. A new one takes all counts of the section it is cut from.

        None of the counted events is from a later batch, except for events dropped before their batch was handed over.
        These make no difference: a flush always cuts at the newest batch.
        """
        at = bisect_left(self._sections, number, key=_through)
        section = self._sections[at]
        if section.through == number:
            return section
        lower, settled = Section(number), [0, 0, 0, 0]
        lower.owed, section.owed = section.owed, lower.owed
        lower.settled, section.settled = section.settled, settled
        self._sections[at:at] = [lower]
        return lower

    def _join(self, number: int) -> None:
        """Merge the section that ends with this number into the next one, unless the number is still compared with."""
        sections = self._sections
        at = bisect_left(sections, number, key=_through)
        section = sections[at]
        if section.through != number or section.waiters:
            return
        if any(sink.snapshot_through == number and sink.pushed_through < number for sink in self._sinks):
            return
        following = sections[at + 1]
        for (owing, groups), counts in section.owed.items():
            for outcome, count in enumerate(counts):
                following.owe(owing, outcome, count, groups)
        settled, more = following.settled, section.settled
        settled[0] += more[0]  # no call from here on
        settled[1] += more[1]
        settled[2] += more[2]
        settled[3] += more[3]
        del sections[at]
