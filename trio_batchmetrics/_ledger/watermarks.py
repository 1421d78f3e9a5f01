"""Comparisons by batch number: which flush waits for an event, and which push delivers it.

How this works
==============

Batches are numbered, and handed over in that order. A *watermark* is a number: the batches up to it are in a snapshot,
or belong to a flush. Watermarks cut the numbers into *sections*. Events in one section that the same series sinks owe
an outcome for can't be told apart any more, so a section keeps counts instead of batches. There are as many sections as
flushes wait and pushes are under way, plus one that is still growing, however many batches are pending::

    numbers      1 ......... 17 | 18 ........... 40 | 41 ...
    cut by       in a snapshot    a flush            (growing)

A flush up to batch N waits until as many events have settled in the sections up to N as the batches up to N hold. That
number is known at its call, as a running sum.

Only the ledger calls these, in Trio's thread. A signal handler that evicts an event may interrupt any of it, so a
section is cut or joined without a call in between: CPython runs signal handlers after calls, at function entry and when
it jumps back.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from operator import attrgetter
from typing import Any

from .counters import FAILED, SinkCounters
from .stats import FlushReport

__all__ = ["FlushWaiter", "Section", "Watermarks"]

Owing = frozenset[SinkCounters]
"""The series sinks that owe an outcome for an event."""

_through: Callable[[Section], Any] = attrgetter("through")


class FlushWaiter:
    """A flush that waits until all batches up to a number have settled."""

    def __init__(self, notify: Callable[[], object], through: int, target: int, base: list[int]) -> None:
        """Wait for the batches up to a number.

        Args:
            notify: called once all of them have settled.
            through: the number.
            target: how many events the batches up to it hold.
            base: how many events had settled by the time of the call, by outcome.
        """
        self.through: int = through
        self.target: int = target
        self._base = base
        self._notify = notify
        self._report: FlushReport | None = None

    @property
    def finished(self) -> bool:
        """Whether all have settled."""
        return self._report is not None

    def finish(self, settled: list[int]) -> None:
        """Notify the flush, once.

        Args:
            settled: how many events of the batches up to ``through`` have settled, by outcome.
        """
        self._report = self.report(settled)
        self._notify()

    def report(self, settled: list[int]) -> FlushReport:
        """Return the outcomes of the events that were pending at the call."""
        if self._report is not None:
            return self._report
        processed, spooled, failed, dropped = [now - before for now, before in zip(settled, self._base, strict=True)]
        pending = self.target - sum(settled)
        return FlushReport(processed=processed, spooled=spooled, failed=failed, dropped=dropped, pending=pending)


class Section:
    """The batches between two watermarks."""

    __slots__ = ("owed", "settled", "through", "waiters")

    def __init__(self, through: float) -> None:
        """Create a section without events.

        Args:
            through: the number of its last batch; infinite while it is growing.
        """
        self.through: float = through
        self.settled: list[int] = [0, 0, 0, 0]
        """Events that have settled: processed, spooled, failed, dropped."""
        self.owed: dict[Owing, list[int]] = {}
        """Events that every event sink has settled, by the series sinks that still owe an outcome: processed, spooled,
        failed."""
        self.waiters: list[FlushWaiter] = []

    def owe(self, owing: Owing, outcome: int, count: int) -> None:
        """Keep events until these series sinks have settled them."""
        counts = self.owed.get(owing)
        if counts is None:
            counts = self.owed[owing] = [0, 0, 0]
        counts[outcome] += count


class Watermarks:
    """The sections, in the order of their numbers. The last one is growing."""

    def __init__(self, sinks: tuple[SinkCounters, ...]) -> None:
        """Start with one section.

        Args:
            sinks: the series sinks.
        """
        self._sinks = sinks
        self._sections: list[Section] = [Section(math.inf)]
        self._before = [0, 0, 0, 0]
        """Events that settled in sections which are gone, by outcome."""
        self._notifying = False

    def __len__(self) -> int:
        """Return how many things are remembered: watermarks, and counts that are owed."""
        return len(self._sections) - 1 + sum(len(section.owed) for section in self._sections)

    def section_of(self, number: int) -> Section:
        """Return the section of a batch."""
        sections = self._sections
        return sections[bisect_left(sections, number, key=_through)] if len(sections) > 1 else sections[0]

    def settle(self, number: int, outcome: int, count: int) -> None:
        """Settle events of a batch, and notify the flushes that waited for them."""
        sections = self._sections
        if len(sections) == 1:
            sections[0].settled[outcome] += count
            return
        self.section_of(number).settled[outcome] += count
        self.notify()

    # -- pushes

    def begin_push(self, sink: SinkCounters) -> None:
        """Note that the sink's new snapshot contains every batch that the sink has merged."""
        earlier, sink.snapshot_through = sink.snapshot_through, sink.merged_through
        self._cut(sink.snapshot_through)
        self._join(earlier)

    def pushed(self, sink: SinkCounters) -> list[int]:
        """Note that the sink's last snapshot was pushed.

        Returns:
            How many events no sink owes an outcome for any more: processed, spooled, failed.
        """
        sink.pushed_through = sink.snapshot_through
        final = [0, 0, 0]
        for section in self._sections:
            if section.through > sink.pushed_through:
                break
            owed, section.owed = section.owed, {}
            for owing, counts in owed.items():
                left = owing - {sink}
                for outcome, count in enumerate(counts):
                    if left:
                        section.owe(left, outcome, count)
                    else:
                        final[outcome] += count
                        section.settled[outcome] += count
        self._join(sink.pushed_through)
        return final

    # -- flushes

    def add_waiter(self, notify: Callable[[], object], through: int, target: int) -> FlushWaiter:
        """Wait for the batches up to a number, which are sealed.

        Args:
            notify: called once all have settled; at once, if they have already.
            through: the newest batch's number.
            target: how many events the batches up to it hold.
        """
        section = self._cut(through)
        waiter = FlushWaiter(notify, through, target, self._settled_through(through))
        section.waiters.append(waiter)
        self.notify()
        return waiter

    def remove_waiter(self, waiter: FlushWaiter) -> None:
        """Let a flush wait no more."""
        if not waiter.finished:
            self.section_of(waiter.through).waiters.remove(waiter)
            self._join(waiter.through)

    def report(self, waiter: FlushWaiter) -> FlushReport:
        """Return what has become of the events that a flush waits for, so far."""
        return waiter.report([] if waiter.finished else self._settled_through(waiter.through))

    def notify(self) -> None:
        """Notify the flushes whose batches have all settled."""
        # No ``while`` inside ``try``: see ``Waker._make_calls``.
        while len(self._sections) > 1 and not self._notifying:  # re-entered: the outer call goes on
            self._notifying = True
            try:
                if not self._notify_first():
                    return
            finally:
                self._notifying = False

    def _notify_first(self) -> bool:
        """Notify the flushes of the first section that has any; return whether they were finished."""
        at = next((at for at, section in enumerate(self._sections) if section.waiters), None)
        if at is None:
            return False
        section = self._sections[at]
        settled = self._settled_through(section.through)
        if sum(settled) < section.waiters[0].target:
            return False
        for waiter in section.waiters:
            waiter.finish(settled)  # twice is as good as once: an exception of a signal handler may end this early
        self._before = settled  # with no call from here on; nothing in these sections is pending or owed any more
        del self._sections[: at + 1]
        return True

    def fail_rest(self, target: int) -> None:
        """Give up everything pending: all of it has failed.

        Args:
            target: how many events all batches hold.
        """
        for section in self._sections:
            section.owed.clear()
        for section in tuple(self._sections):
            known = section.waiters[0].target if section.waiters else target if section.through == math.inf else 0
            section.settled[FAILED] += max(0, known - sum(self._settled_through(section.through)))
        self.notify()
        self._before = self._settled_through(math.inf)
        self._sections = [Section(math.inf)]

    # -- inside

    def _settled_through(self, number: float) -> list[int]:
        """Return how many events of the batches up to a watermark have settled, by outcome."""
        processed, spooled, failed, dropped = self._before
        for section in self._sections:
            if section.through > number:
                break
            counts = section.settled
            processed, spooled = processed + counts[0], spooled + counts[1]
            failed, dropped = failed + counts[2], dropped + counts[3]
        return [processed, spooled, failed, dropped]

    def _cut(self, number: int) -> Section:
        """Return the section that ends with this number; its events go along where it is new.

        None of them is of a later batch, except for events dropped before their batch was handed over. These make no
        difference: a flush always cuts at the newest batch.
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
        """Join the section that ends with this number to the next one, unless something still compares with it."""
        sections = self._sections
        at = bisect_left(sections, number, key=_through)
        section = sections[at]
        if section.through != number or section.waiters:
            return
        if any(sink.snapshot_through == number and sink.pushed_through < number for sink in self._sinks):
            return
        following = sections[at + 1]
        for owing, counts in section.owed.items():
            for outcome, count in enumerate(counts):
                following.owe(owing, outcome, count)
        settled, more = following.settled, section.settled
        settled[0] += more[0]  # with no call from here on
        settled[1] += more[1]
        settled[2] += more[2]
        settled[3] += more[3]
        del sections[at]
