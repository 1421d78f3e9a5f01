"""Aggregates events into series: a sum, last value or histogram with explicit buckets per instrument and label set.

How this works
==============

A ``SeriesFamily`` (:mod:`.family`) has the ``Series`` of one instrument (:mod:`.series`), to which its ``Aggregation``
(:mod:`.aggregations`) adds whole columns of values. The back-end's :mod:`.identity` decides which instruments and which
labels are the same. This is determined once per combination of the application's original values, which is then
remembered (:mod:`.label_sets`). Equal values have equal texts there (:mod:`trio_batchmetrics._events` ensures this:
``True`` and 1 are never equal).

Labels that the back-end doesn't accept also have a ``Series``, which is never shown. It carries the reason, and the
events added to it are rejected. So are events of instruments beyond ``max_instruments``.

Beyond ``max_series`` label sets of an instrument, the rest share one series (OpenTelemetry's "cardinality limits"). A
family is forgotten together with its last series.

The series of a bound instrument exists from the instrument's creation on (``_adopt``), at 0 unless it is a gauge, and
never expires.

Other threads
-------------

Only Trio's thread adds and forgets. Any thread may take a snapshot meanwhile, without a lock: CPython switches threads
only after calls, at function entry and at backward jumps. Attributes of a series that belong together are written with
none of these in between, ``updated`` last, and read the same way. Dictionaries are copied in one step before they are
iterated over. So with a global interpreter lock, each series is consistent in itself; a snapshot may contain only some
series of a batch. A signal handler may also read the series in the middle of a merge; it then adopts nothing.
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
from .series import Series

__all__ = ["SeriesStore"]


class SeriesStore:
    """Aggregates events into series. Synchronous, no I/O; for a sink's ``merge``.

    It keeps a sum per counter, the last value per gauge, and bucket counts per histogram. If several event classes set
    one gauge, the latest timestamp among them wins. A histogram keeps its first bounds. Merge and forget in Trio's
    thread; read in any thread, without a lock: each series is consistent in itself.

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
            clock: returns the points' timestamps in nanoseconds; None: the wall clock, since 1970.
            identity: decides which instruments and series the back-end can distinguish; None: those whose texts differ.
            observer: keeps its own object next to each series.
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
        self._last_taken = 0
        self._oldest_update = 0
        self._adopted = 0
        self._is_changing = False
        """Whether series are being added or forgotten, which a signal handler that reads them must not disturb."""

    def __len__(self) -> int:
        """Return the number of series."""
        return sum(map(len, self._families))

    @property
    def generation(self) -> int:
        """Increases with each merge; 0 before the first. For :meth:`points`: read it before the points, not after."""
        return self._generation

    @property
    def remembered(self) -> int:
        """How many label sets are remembered, series included, over all instruments: bounded, like their bytes."""
        return sum(len(column.known) for column in self._index)

    # -- adding

    def merge(self, events: Sequence[MetricEvent]) -> dict[int, str] | None:
        """Add events, each once. Call it in Trio's thread.

        Invalid events are skipped, unless they are in a ``Batch`` (a collector hands over none).

        Returns:
            The refused events, by position, with the reason: the back-end can't distinguish their instrument from one
            of another kind or unit, or doesn't accept their labels, or there are ``max_instruments`` already. Their
            other measures stay added. None: all events were added.
        """
        self._adopt()
        refused: dict[int, str] = {}
        self._is_changing = True
        try:
            # No two merges have the same time, so a series that wasn't updated since a time hasn't changed since.
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
            self._is_changing = False
        return refused or None

    # -- reading

    def families(self) -> list[SeriesFamily]:
        """Return each instrument with its live series, in order of creation. Safe in any thread.

        For sinks that keep text next to their series and write all of them each time; other sinks use :meth:`points`.
        """
        self._adopt()
        return [*self._families]

    def points(self, since: int = 0) -> Iterator[tuple[Measure, Any, Point]]:
        """Return an iterator over the changed series, in a stable order: by creation of instruments and series.

        It can be consumed in steps, with merges in between. Each series is consistent in itself, in its state when the
        iterator reaches it. Series that are created or forgotten meanwhile may be missing. Safe in any thread.

        Args:
            since: a :attr:`generation`; series that haven't changed after it are left out. 0: all series.

        Returns:
            Tuples of the instrument with its effective bounds, the observer's slot (None without an observer), and the
            point.
        """
        live = self.live_series(since)
        return ((instrument, series.slot, series.point()) for instrument, series in live)

    def live_series(self, since: int = 0) -> Iterator[tuple[Measure, Series]]:
        """Return an iterator over the changed series, like :meth:`points`, without a copy of each.

        Read each one before the next: a merge may change it. For the thread of the Trio run, where that can only happen
        at a checkpoint.

        Args:
            since: a :attr:`generation`; series that haven't changed after it are left out. 0: all series.

        Returns:
            Tuples of the instrument with its effective bounds, and the series; don't change it.
        """
        self._adopt()
        self._listing = Listing()
        return self._live_series([*self._families], since, self._listing)

    def _live_series(
        self, families: list[SeriesFamily], since: int, listing: Listing
    ) -> Iterator[tuple[Measure, Series]]:
        for family in families:
            if family.updated > since:
                for series in [each for each in family.series if each.updated > since]:
                    if not series.forgotten and listing.add(series):
                        yield family.instrument, series

    def snapshot(self) -> tuple[Metric, ...]:
        """Return the current state of every series, cumulative since the store was created. Safe in any thread."""
        self._adopt()
        metrics: list[Metric] = []
        for family in self._families:
            series = [each for each in family.series if each.updated]  # one may be about to get its first value
            if series:
                metrics.append(family.metric(series))
        return tuple(metrics)

    def take(self) -> tuple[Metric, ...]:
        """Return the changes since the last :meth:`take` (delta), and start over. For stores used only this way."""
        self._adopt()
        taken: list[Metric] = []
        for family in self._families:
            series = [each for each in family.series if each.updated > self._last_taken]
            if series:
                taken.append(family.metric(series))
            for each in series:
                family.aggregation.restart(each, self._now)
        self._last_taken = self._now
        return tuple(taken)

    # -- refusals by series, for the library

    def track_groups(self) -> Groups:
        """Record from now on which events are merged into the same series. For the library's own use."""
        groups = self._merging.groups = self._merging.groups or Groups()
        return groups

    @property
    def listing(self) -> Listing:
        """The series that the last :meth:`points` has yielded so far. For the library's own use."""
        return self._listing

    # -- forgetting

    def expire(self, before: int) -> int:
        """Forget series without updates since then. If they return, they start at 0.

        An instrument is forgotten with its last series. Series of bound instruments stay. Call it in Trio's thread.

        Args:
            before: nanoseconds by the store's clock.

        Returns:
            How many series were forgotten.
        """
        if before <= self._oldest_update:  # no series is that old: this check is cheap enough for each merge
            return 0
        self._is_changing = True
        try:
            forgotten_count, self._oldest_update = 0, self._now
            for family in self._families:
                forgotten_count += self._members.expire(family, before)
                self._oldest_update = min(
                    [self._oldest_update, *(each.updated for each in family.series if each.expires)]
                )
            if forgotten_count:
                self._index.forget()
                if self._merging.groups is not None:
                    self._merging.groups.forget()
        finally:
            self._is_changing = False
        return forgotten_count

    def reconsider(self) -> None:
        """Check refused labels again, because the back-end has turned out to accept more."""
        self._index.reconsider()

    # -- bound instruments

    def _adopt(self) -> None:
        """Create the series of bound instruments created since the last call. Does nothing in other threads."""
        if self._is_changing or self._adopted == len(self._context.bound) or get_ident() != self._thread:
            return
        self._is_changing = True
        try:
            self._now = max(self._clock(), self._now + 1)
            for _ in range(self._adopted, len(self._context.bound)):
                self._adopt_next(*self._context.bound[self._adopted])
            self._generation = self._now
        finally:
            self._is_changing = False

    def _adopt_next(self, measure: Measure, labels: Mapping[str, Any]) -> None:
        self._adopted += 1
        family = self._families.of(measure)
        series, _, _ = self._members.find(family, labels.items(), self._now, pinned=True)
        series.expires = False
        if measure.kind is not GAUGE and not series.updated:
            family.updated = series.updated = self._now
