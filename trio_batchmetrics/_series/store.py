"""Events to series: sums, last values and histograms by explicit buckets, one for each instrument and label set.

How this works
==============

A ``SeriesFamily`` (:mod:`.family`) has the ``Series`` of one instrument (:mod:`.series`), to which its ``Aggregation``
(:mod:`.aggregations`) adds whole columns of values. Which instruments and which labels are the same is the back-end's
matter (:mod:`.identity`), and is worked out once for each combination of values as the application gave them, which is
remembered from then on (:mod:`.label_sets`). Values that are equal have equal text there
(:mod:`trio_batchmetrics._events` sees to that: ``True`` and 1 do not meet).

Labels that the back-end cannot take have a ``Series`` too, which is never shown: it carries the reason, and the events
that are added to it are rejected. So are those of instruments beyond ``max_instruments``.

Beyond ``max_series`` label sets of an instrument, the rest share one series (OpenTelemetry's "cardinality limits"). A
family is forgotten with its last series.

The series of a bound instrument are there from its creation on (``adopt``), at 0 unless it is a gauge, and never
expire.

Other threads
-------------

Only Trio's thread adds and forgets. Any thread may take a snapshot meanwhile, with no lock: CPython lets another thread
run after a call, at function entry and when it jumps back. What belongs together in a series is written with none of
these in between, ``updated`` last, and read the same way; dictionaries are copied in one step before they are walked.
So each series is consistent in itself, where there is a global interpreter lock; those of one batch need not all be
there yet. A signal handler may look at the series too, in the middle of a merge; it adopts nothing then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import get_ident
from typing import Any

from .._events import GAUGE, Batch, Measure, MetricEvent, valid_columns
from .columns import ColumnIndex
from .context import SinkContext
from .families import Families
from .family import SeriesFamily
from .groups import Groups, Listing
from .identity import Identity
from .members import Members
from .merging import Merging
from .observer import SeriesObserver
from .points import Metric, Point

__all__ = ["SeriesStore"]


class SeriesStore:
    """Adds events up to series. Synchronous, no I/O; for a sink's ``merge``.

    It keeps a sum per counter, the last value per gauge, and counts by bucket per histogram. Where several classes of
    events set one gauge, the latest timestamp among them wins. The bounds of a histogram are those that it first came
    with. Merge and forget in Trio's thread; read in any thread, without a lock: each series is consistent in itself.

    Example:
        >>> from trio_batchmetrics import CacheMetric
        >>> from trio_batchmetrics.abc import SeriesStore
        >>> store = SeriesStore()
        >>> store.merge([CacheMetric("redis", "hit"), CacheMetric("redis", "miss"), CacheMetric("redis", "hit")])
        >>> [(metric.name, [point.value for point in metric.points]) for metric in store.snapshot()]
        [('cache.operations', [2.0, 1.0])]
        >>> pushed = store.generation
        >>> store.merge([CacheMetric("redis", "miss")])
        >>> [(instrument.name, point.value) for instrument, _, point in store.points(since=pushed)]
        [('cache.operations', 2.0)]
    """

    def __init__(
        self,
        context: SinkContext | None = None,
        *,
        clock: Callable[[], int] | None = None,
        identity: Identity | None = None,
        observer: SeriesObserver[Any] | None = None,
        typed_labels: bool = False,
    ) -> None:
        """Create a store without series, in Trio's thread, once the collector opens.

        Args:
            context: the collector's context: static labels, ``max_series``, ``max_instruments``, bounds, the bound
                instruments; None: the defaults.
            clock: returns the nanoseconds that points are stamped with; None: the wall clock's, since 1970.
            identity: which instruments and series the back-end can tell apart; None: those whose texts differ.
            observer: keeps an object of its own next to each series.
            typed_labels: whether label values of type bool, int and float keep their type in ``Point.labels``; values
                of different types are then different series. False: all values are text.
        """
        self._context = SinkContext() if context is None else context
        self._clock = time.time_ns if clock is None else clock
        identity = identity or Identity()
        self._thread = get_ident()
        self._families = Families(self._context, identity)
        self._members = Members(self._context, identity, self._families, observer, typed_labels=typed_labels)
        context, names = self._context, 2 * self._context.max_instruments + 100
        self._index = ColumnIndex(self._families, self._members, context.declared, context.max_series, names)
        self._merging = Merging(self._index)
        self.overflowed: dict[str, int] = self._merging.overflowed
        """How many events of an instrument lost their labels to ``max_series``, by its name."""
        self._listing = Listing()
        self._now = 0
        self._generation = 0
        self._taken = 0
        self._oldest = 0
        self._adopted = 0
        self._working = False
        """Whether series are being added or forgotten, which a signal handler that looks at them must not disturb."""

    def __len__(self) -> int:
        """Return how many series there are."""
        return sum(map(len, self._families))

    @property
    def generation(self) -> int:
        """Rises with each merge; 0 before the first. For :meth:`points`: read it before the points, not after."""
        return self._generation

    @property
    def remembered(self) -> int:
        """How many label sets are remembered, series included, over all instruments: bounded, like their bytes."""
        return sum(len(column.known) for column in self._index)

    # -- adding

    def merge(self, events: Sequence[MetricEvent]) -> dict[int, str] | None:
        """Add events, each once. In Trio's thread.

        Invalid events are skipped, unless they are in a ``Batch`` (a collector hands over none).

        Returns:
            The events that are refused, by position, with the reason: the back-end cannot tell their instrument from
            one of another kind or unit, or cannot take their labels, or there are ``max_instruments`` already. What
            else they measured stays added. None: all were added.
        """
        self._adopt()
        refused: dict[int, str] = {}
        self._working = True
        try:
            # No two merges have the same time, so that a series that was not updated since has not changed since.
            self._now = self._index.now = max(self._clock(), self._now + 1)
            if self._merging.groups is not None:
                self._merging.groups.begin(len(events))
            for columns in events.columns() if isinstance(events, Batch) else valid_columns(events):
                if found := self._merging.add(columns):
                    refused |= {columns.positions[at]: reason for at, reason in found.items()}
            if self._index.remembered.full:
                self._index.forget_label_sets()
            self._generation = self._now
        finally:
            self._working = False
        return refused or None

    # -- reading

    def families(self) -> list[SeriesFamily]:
        """Return each instrument with its series, live, in the order in which they began. Safe in any thread.

        For a sink that keeps text next to its series and writes all of them each time; others use :meth:`points`.
        """
        self._adopt()
        return [*self._families]

    def points(self, since: int = 0) -> Iterator[tuple[Measure, Any, Point]]:
        """Return an iterator over the series that have changed, in a stable order: as instruments and series began.

        It can be consumed in steps, with merges in between: each series is consistent in itself, as it stands when it
        is reached. Series that begin or are forgotten in the meantime may be missing. Safe in any thread.

        Args:
            since: a :attr:`generation`; series that have not changed after it are left out. 0: all.

        Returns:
            Tuples of the instrument, with the bounds that apply; the observer's slot (None without an observer); and
            the point.
        """
        self._adopt()
        self._listing = Listing()
        return self._points([*self._families], since, self._listing)

    def _points(
        self, families: list[SeriesFamily], since: int, listing: Listing
    ) -> Iterator[tuple[Measure, Any, Point]]:
        for family in families:
            if family.updated > since:
                for series in [each for each in family.series if each.updated > since]:
                    if not series.forgotten and listing.takes(series):
                        yield family.instrument, series.slot, series.point()

    def snapshot(self) -> tuple[Metric, ...]:
        """Return every series as it stands: since the store was made (cumulative). Safe in any thread."""
        self._adopt()
        metrics: list[Metric] = []
        for family in self._families:
            series = [each for each in family.series if each.updated]  # one may be about to get its first value
            if series:
                metrics.append(family.metric(series))
        return tuple(metrics)

    def take(self) -> tuple[Metric, ...]:
        """Return what came since the last :meth:`take` (delta), and begin anew. For a store that does only this."""
        self._adopt()
        taken: list[Metric] = []
        for family in self._families:
            series = [each for each in family.series if each.updated > self._taken]
            if series:
                taken.append(family.metric(series))
            for each in series:
                family.aggregation.restart(each, self._now)
        self._taken = self._now
        return tuple(taken)

    # -- refusals by series, for the library

    def track_groups(self) -> Groups:
        """Note from now on which events are merged into the same series. For the library's own use."""
        groups = self._merging.groups = self._merging.groups or Groups()
        return groups

    @property
    def listing(self) -> Listing:
        """What the last :meth:`points` has given so far. For the library's own use."""
        return self._listing

    # -- forgetting

    def expire(self, before: int) -> int:
        """Forget series to which nothing was added since then; they begin at 0 should they come back.

        An instrument is forgotten with its last series. Series of bound instruments stay. In Trio's thread.

        Args:
            before: nanoseconds by the store's clock.

        Returns:
            How many series were forgotten.
        """
        if before <= self._oldest:  # nothing can be that old: cheap enough to ask at each merge
            return 0
        self._working = True
        try:
            gone, self._oldest = 0, self._now
            for family in self._families:
                gone += self._members.expire(family, before)
                self._oldest = min([self._oldest, *(each.updated for each in family.series if each.expires)])
            if gone:
                self._index.forget()
                if self._merging.groups is not None:
                    self._merging.groups.forget()
        finally:
            self._working = False
        return gone

    def reconsider(self) -> None:
        """Ask anew about labels that were refused: the back-end has turned out to take more."""
        self._index.reconsider()

    # -- bound instruments

    def _adopt(self) -> None:
        """Have the series of the bound instruments that were created since the last time. Nothing in other threads."""
        if self._working or self._adopted == len(self._context.bound) or get_ident() != self._thread:
            return
        self._working = True
        try:
            self._now = max(self._clock(), self._now + 1)
            for _ in range(self._adopted, len(self._context.bound)):
                self._adopt_next(*self._context.bound[self._adopted])
            self._generation = self._now
        finally:
            self._working = False

    def _adopt_next(self, measure: Measure, labels: Mapping[str, Any]) -> None:
        self._adopted += 1
        family = self._families.of(measure)
        series, _, _ = self._members.find(family, labels.items(), self._now, pinned=True)
        series.expires = False
        if measure.kind is not GAUGE and not series.updated:
            family.updated = series.updated = self._now
