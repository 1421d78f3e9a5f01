"""Events on their way to one sink, each with its place in the ledger."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from itertools import groupby

import attrs

from .._events import Batch, Row
from .._ledger import Account, Cohort, Ledger, Verdict

__all__ = ["Load", "Queue", "Span"]


@attrs.define(eq=False)  # and never changed: a frozen one takes three times as long to make
class Span:
    """A run of events of one cohort."""

    cohort: Cohort
    rows: list[Row]
    """All that was handed over of the cohort."""
    start: int
    stop: int
    first: int = 0
    """The serial number of the first row, whatever ``start`` is."""
    plain: bool = True
    """Whether those of the rows that are tuples are plain (:mod:`trio_batchmetrics._events`)."""

    @property
    def serials(self) -> range:
        """The serial numbers of its events."""
        return range(self.first + self.start, self.first + self.stop)

    def __len__(self) -> int:
        """Return how many events it spans."""
        return self.stop - self.start


class Load:
    """A sequence of spans: the events of a queue, or of a payload."""

    __slots__ = ("_count", "spans")

    def __init__(self, spans: Collection[Span] = ()) -> None:
        """Hold these spans."""
        self.spans: list[Span] = [span for span in spans if len(span)]
        self._count = sum(map(len, self.spans))

    def __len__(self) -> int:
        """Return how many events it holds."""
        return self._count

    def __add__(self, other: Load) -> Load:
        """Return both, one behind the other."""
        return Load([*self.spans, *other.spans])

    def batch(self) -> Batch:
        """Return the events."""
        if len(self.spans) == 1:
            only = self.spans[0]
            rows = only.rows if len(only) == len(only.rows) else only.rows[only.start : only.stop]
            return Batch(rows, None, (only.serials,), plain=only.plain)
        rows = [row for span in self.spans for row in span.rows[span.start : span.stop]]
        plain = all(span.plain for span in self.spans)
        return Batch(rows, None, [span.serials for span in self.spans] or (range(0),), plain=plain)

    def split(self, at: int) -> tuple[Load, Load]:
        """Return the first events and the rest."""
        first: list[Span] = []
        rest: list[Span] = []
        for span in self.spans:
            cut = min(max(at, 0), len(span)) + span.start
            first.append(attrs.evolve(span, stop=cut))
            rest.append(attrs.evolve(span, start=cut))
            at -= len(span)
        return Load(first), Load(rest)

    def sort(self, kinds: Sequence[int], count: int) -> list[Load]:
        """Part the events by kind.

        Args:
            kinds: each event's, from 0 on.
            count: how many kinds there are.
        """
        parted: list[list[Span]] = [[] for _ in range(count)]
        offset = 0
        for span in self.spans:
            start = span.start
            for kind, run in groupby(kinds[offset : offset + len(span)]):
                stop = start + sum(1 for _ in run)
                parted[kind].append(attrs.evolve(span, start=start, stop=stop))
                start = stop
            offset += len(span)
        return [Load(spans) for spans in parted]

    def settle(self, ledger: Ledger, account: Account, verdict: Verdict, reason: str = "") -> None:
        """Settle all of them one way."""
        for span in self.spans:
            ledger.settle(account, span.cohort, span.start, span.stop, verdict, reason)


class Queue:
    """What waits for one sink: spans in recording order."""

    __slots__ = ("_spans", "count")

    def __init__(self) -> None:
        """Start without spans."""
        self._spans: deque[Span] = deque()
        self.count: int = 0
        """How many events wait."""

    @property
    def first(self) -> int:
        """How many events the first span has."""
        return len(self._spans[0])

    def append(self, span: Span) -> None:
        """Put events at the end."""
        self._spans.append(span)
        self.count += len(span)

    def put_back(self, load: Load) -> None:
        """Put events at the front, where they came from."""
        self._spans.extendleft(reversed(load.spans))
        self.count += len(load)

    def pull(self, most: float) -> Load:
        """Take the oldest events, at most so many."""
        pulled: list[Span] = []
        while self._spans and most > 0:
            span = self._spans.popleft()
            if len(span) > most:
                cut = span.start + int(most)
                self._spans.appendleft(attrs.evolve(span, start=cut))
                span = attrs.evolve(span, stop=cut)
            most -= len(span)
            pulled.append(span)
        load = Load(pulled)
        self.count -= len(load)
        return load
