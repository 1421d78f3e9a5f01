"""Who waits for what to settle: flushes, and the stretches of batches between them.

How this works
==============

A flush waits for everything that was pending at its call: for one *stretch* of batches and for all stretches before it.
An event that settles is counted once, in the stretch of its batch. A stretch of which nothing remains is folded into a
sum, from the front; a flush has its answer when its stretch is folded: the sum then, less what it was at the call. So a
flush costs the same however many batches are pending and however many other flushes wait.

Only the ledger calls these, in Trio's thread; a signal handler may do so in the middle of another call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from operator import add

from .stats import FlushReport

__all__ = ["DROPPED", "Flushes", "Stretch", "Watch"]

_OUTCOMES = 4
"""Processed, spooled, failed, dropped: by these numbers."""

DROPPED = 3


class Watch:
    """A flush that waits until everything that was pending at its call has settled."""

    def __init__(self, done: Callable[[], object], stretch: Stretch, base: Sequence[int]) -> None:
        """Wait for a stretch and for all before it.

        Args:
            done: called once nothing remains.
            stretch: the last one that it waits for.
            base: what had settled of these by the time of the call, by outcome.
        """
        self.stretch: Stretch | None = stretch
        """None once nothing remains."""
        self._base = tuple(base)
        self._done = done
        self._outcomes = [0] * _OUTCOMES

    def finish(self, settled: Sequence[int]) -> None:
        """Nothing remains.

        Args:
            settled: what has settled of the stretch and of all before it, by outcome.
        """
        self.stretch = None
        self._outcomes = self._since(settled)
        self._done()

    def report(self, settled: Sequence[int] = (), pending: int = 0) -> FlushReport:
        """Return what became of the events; what is settled so far, and what is pending, where it has not finished."""
        outcomes = self._outcomes if self.stretch is None else self._since(settled)
        processed, spooled, failed, dropped = outcomes
        return FlushReport(processed=processed, spooled=spooled, failed=failed, dropped=dropped, pending=pending)

    def _since(self, settled: Sequence[int]) -> list[int]:
        return [now - before for now, before in zip(settled, self._base, strict=True)]


class Stretch:
    """The batches that were opened between two flushes.

    A flush waits for one stretch and for all before it. So a batch that settles is counted once, in its own stretch,
    however many flushes wait for it.
    """

    __slots__ = ("_into", "counts", "remaining", "watches")

    def __init__(self) -> None:
        """Begin with no batches."""
        self.remaining: int = 0
        """Events of sealed batches that have not settled."""
        self.counts: list[int] = [0, 0, 0, 0]
        """Events that have settled: processed, spooled, failed, dropped."""
        self.watches: list[Watch] = []
        self._into: Stretch | None = None

    def merge_into(self, other: Stretch) -> None:
        """Become part of the next stretch, because no flush tells them apart any more."""
        self._into = other
        other.remaining += self.remaining
        other.counts = [*map(add, other.counts, self.counts)]

    def current(self) -> Stretch:
        """Return the stretch that this has become part of, if it has."""
        stretch = self
        while stretch._into is not None:
            stretch = stretch._into
        return stretch


class Flushes:
    """The stretches, the oldest first; the last one is still growing."""

    def __init__(self) -> None:
        """Start with a stretch that no flush waits for."""
        self.growing: Stretch = Stretch()
        """The stretch that new batches belong to."""
        self._stretches: deque[Stretch] = deque([self.growing])
        self.counted: list[int] = [0] * _OUTCOMES
        """What has settled in any stretch, by outcome."""
        self._folded = [0] * _OUTCOMES
        """What has settled in those that are gone."""
        self._folding = False

    def __len__(self) -> int:
        """Return how many stretches flushes wait for."""
        return len(self._stretches) - 1

    def settle(self, stretch: Stretch, outcome: int, count: int) -> None:
        """Events of a stretch have settled."""
        self.counted[outcome] += count
        stretch.counts[outcome] += count
        stretch.remaining -= count
        if not stretch.remaining and len(self._stretches) > 1:
            self.fold()

    def settle_rest(self, outcome: int) -> None:
        """All that remains has settled one way."""
        for stretch in tuple(self._stretches):
            self.settle(stretch, outcome, stretch.remaining)

    def watch(self, done: Callable[[], object]) -> Watch:
        """Wait for all that is pending in sealed batches; there is no other one.

        Args:
            done: called once nothing remains; at once, if nothing does.
        """
        newest = self._stretches[-1]
        if len(self._stretches) > 1 and not newest.remaining and not any(newest.counts):
            newest = self._stretches[-2]  # nothing was recorded since the last flush
        else:
            self.growing = Stretch()
            self._stretches.append(self.growing)
        watch = Watch(done, newest, self.counted)
        newest.watches.append(watch)
        self.fold()
        return watch

    def unwatch(self, watch: Watch) -> bool:
        """Let a flush wait no more; return whether its stretch has become part of the next one by that."""
        stretch = watch.stretch
        if stretch is None:
            return False
        stretch.watches.remove(watch)
        if stretch.watches:
            return False
        at = self._stretches.index(stretch)
        stretch.merge_into(self._stretches[at + 1])
        del self._stretches[at]
        return True

    def report(self, watch: Watch) -> FlushReport:
        """Return what has become of what a flush waits for, so far."""
        settled, pending = self._folded, 0
        for stretch in () if watch.stretch is None else tuple(self._stretches):
            settled, pending = [*map(add, settled, stretch.counts)], pending + stretch.remaining
            if stretch is watch.stretch:
                break
        return watch.report(settled, pending)

    def fold(self) -> None:
        """Fold the stretches of which nothing remains, and let the flushes that wait for them know."""
        # No ``while`` inside ``try``: see ``Waker._make_calls``.
        while len(self._stretches) > 1 and not self._stretches[0].remaining:
            if self._folding:
                return  # re-entered: the outer call goes on
            self._folding = True
            try:
                stretch = self._stretches[0]  # it stays there until it is done: a signal handler may raise in between
                folded, nothing = [*map(add, self._folded, stretch.counts)], [0] * _OUTCOMES
                self._folded, stretch.counts = folded, nothing
                for watch in tuple(stretch.watches):
                    watch.finish(self._folded)
                self._stretches.popleft()
            finally:
                self._folding = False
