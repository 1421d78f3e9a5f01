"""Events to series: sums, last values and histograms by explicit buckets, one for each instrument and label set.

How this works
==============

A ``Family`` is an instrument, a ``Cell`` one of its series (:mod:`.cells`). Which instruments and
which labels are the same is the back-end's matter (:mod:`.identity`), and is worked out once for each
combination of values as the application gave them, which is looked up in ``known`` from then on. Values that are equal
have equal text there (:mod:`trio_batchmetrics._events` sees to that: ``True`` and 1 do not meet).

Labels that the back-end cannot take have a cell too, which isn't a series: it carries the reason, and the events that
are added to it are rejected.

Beyond ``max_series`` label sets of an instrument, the rest share one series (OpenTelemetry's "cardinality limits").

The series of a bound instrument are there from its creation on (``adopt``), at 0 unless it is a gauge, and never
expire.

Other threads
-------------

Only Trio's thread adds and forgets. Any thread may take a snapshot meanwhile, with no lock: CPython lets another thread
run after a call, at function entry and when it jumps back. What belongs together in a cell is written with none of
these in between, ``updated`` last, and read the same way; dictionaries are copied in one step before they are walked.
So each series is consistent in itself, where there is a global interpreter lock; those of one batch need not all be
there yet. A signal handler may look at the series too, in the middle of a merge; it adopts nothing then.
"""

from __future__ import annotations

import logging
import time
from bisect import bisect_left
from collections import Counter as Tallied
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from operator import add
from threading import get_ident
from typing import Any

from .._events import (
    COUNTER,
    GAUGE,
    HISTOGRAM,
    LIMITS,
    OVERFLOW,
    Batch,
    Columns,
    Measure,
    MetricEvent,
    Schema,
    text,
    valid,
)
from .cells import Cell, Family, Metric, refusing
from .columns import Column, Known
from .context import SinkContext
from .identity import Identity

__all__ = ["SeriesStore"]

_logger = logging.getLogger("trio_batchmetrics")


_SPARE_MAX_CHARS = 8_000_000
"""Most characters of labels that are remembered without a series: 50 000 usual label sets, or eight of a megabyte."""

_OVERFLOWED = (tuple(OVERFLOW.items()),)
"""The labels of events whose labels were lost already, in a bound instrument."""


def _columns_of(events: Sequence[MetricEvent]) -> Sequence[Columns]:
    """Return the columns of a batch; of any other sequence of events, those of the valid ones, at their positions."""
    if isinstance(events, Batch):
        return events.columns()
    bad: list[int] = []
    rows, _, found = valid([*events])
    if len(rows) < len(events):
        places = {id(row): at for at, row in enumerate(rows)}
        bad = [at for at, event in enumerate(events) if id(event) not in places]
        good = [at for at in range(len(events)) if at not in bad]
        for columns in found:
            columns.positions = [good[at] for at in columns.positions]
    return found


class SeriesStore:
    """Adds events up to series. Synchronous, no I/O; for a sink's ``merge`` or ``encode``.

    Where several classes of events set one gauge, the latest timestamp among them wins. The bounds of a histogram are
    those that it first came with.

    Example:
        >>> from trio_batchmetrics import CacheMetric
        >>> from trio_batchmetrics.abc import SeriesStore
        >>> store = SeriesStore()
        >>> store.merge([CacheMetric("redis", "hit"), CacheMetric("redis", "miss"), CacheMetric("redis", "hit")])
        >>> [(metric.name, [point.value for point in metric.points]) for metric in store.snapshot()]
        [('cache.operations', [2.0, 1.0])]
    """

    def __init__(
        self,
        context: SinkContext | None = None,
        *,
        clock: Callable[[], int] | None = None,
        identity: Identity | None = None,
    ) -> None:
        """Have no series yet. Made in Trio's thread, once the collector opens.

        Args:
            context: what the collector told the sink: static labels, ``max_series``, bounds, the bound instruments; by
                default, defaults.
            clock: tells the nanoseconds that points are stamped with; by default the wall clock's, since 1970.
            identity: which instruments and series the back-end can tell apart; by default those whose texts differ.
        """
        self._context = SinkContext() if context is None else context
        self._clock = time.time_ns if clock is None else clock
        self._identity = identity or Identity()
        self._thread = get_ident()
        self._families: list[Family] = []
        self._taken_names: dict[Hashable, Family] = {}
        self.overflowed: dict[str, int] = {}
        """How many events of an instrument lost their labels to ``max_series``, by its name."""
        self._declared: dict[Schema, list[Column]] = {}
        self._named: dict[Hashable, Column] = {}
        self._now = 0
        self._settled = 0
        self._taken = 0
        self._oldest = 0
        self._adopted = 0
        self._spare_chars = 0
        self._working = False
        """Whether series are being added or forgotten, which a signal handler that looks at them must not disturb."""
        self._warned = False

    def __len__(self) -> int:
        """Return how many series there are."""
        return sum(len(family.cells) + (family.overflow is not None) for family in [*self._families])

    def merge(self, events: Sequence[MetricEvent]) -> dict[int, str] | None:
        """Add events, each once; those that are invalid are passed over (none are that a collector hands over).

        Returns:
            The events that are refused, by position, with the reason: the back-end cannot tell their instrument from
            one of another kind or unit, or cannot take their labels. What else they measured stays added. None: all
            were added.
        """
        self._adopt()
        refused: dict[int, str] = {}
        self._working = True
        try:
            # No two merges have the same time, so that a cell that was not updated since has not changed since.
            self._now = max(self._clock(), self._now + 1)
            for columns in _columns_of(events):
                merge = self._merge_named if columns.schema.named else self._merge_declared
                if found := merge(columns):
                    refused |= {columns.positions[at]: reason for at, reason in found.items()}
            self._settled = self._now
        finally:
            self._working = False
        return refused or None

    def snapshot(self) -> tuple[Metric, ...]:
        """Return every series as it stands: since the store was made (cumulative). Safe in any thread."""
        self._adopt()
        metrics: list[Metric] = []
        for family in [*self._families]:
            cells = [cell for cell in family.all_cells() if cell.updated]  # one may be about to get its first value
            if cells:
                metrics.append(family.metric(cells))
        return tuple(metrics)

    def take(self) -> tuple[Metric, ...]:
        """Return what came since the last :meth:`take` (delta), and begin anew. For a store that does only this."""
        self._adopt()
        taken: list[Metric] = []
        for family in self._families:
            cells = [cell for cell in family.all_cells() if cell.updated > self._taken]
            if cells:
                taken.append(family.metric(cells))
            for cell in cells:
                cell.started = self._now
                if family.measure.kind is not GAUGE:
                    cell.value = 0.0
                    cell.counts = [0] * family.buckets
        self._taken = self._now
        return tuple(taken)

    def expire(self, before: int) -> int:
        """Forget series to which nothing was added since then; they begin at 0 should they come back.

        Those of bound instruments stay.

        Args:
            before: nanoseconds by the store's clock.

        Returns:
            How many series were forgotten.
        """
        if before <= self._oldest:  # nothing can be that old: cheap enough to ask at each merge
            return 0
        gone, self._oldest = 0, self._now
        for family in self._families:
            idle = [(key, cell) for key, cell in [*family.cells.items()] if cell.updated < before and not cell.pinned]
            for key, cell in idle:
                del family.cells[key]
                self._forget(family, cell)
            if (overflow := family.overflow) is not None and overflow.updated < before and not overflow.pinned:
                family.overflow = None
                self._forget(family, overflow)
                gone += 1
            gone += len(idle)
            self._oldest = min([self._oldest, *(cell.updated for cell in family.all_cells() if not cell.pinned)])
        if gone:
            for column in self._columns():
                column.known.forget()
        return gone

    def reconsider(self) -> None:
        """Ask anew about labels that were refused: the back-end has turned out to take more."""
        for column in self._columns():
            if column.known.refuses:
                column.known.forget()

    def _columns(self) -> list[Column]:
        return [*self._named.values(), *(column for columns in self._declared.values() for column in columns)]

    def _adopt(self) -> None:
        """Have the series of the bound instruments that were created since the last time. Nothing in other threads."""
        if self._working or self._adopted == len(self._context.bound) or get_ident() != self._thread:
            return
        self._working = True
        try:
            self._now = max(self._clock(), self._now + 1)
            for _ in range(self._adopted, len(self._context.bound)):
                self._adopt_next()
            self._settled = self._now
        finally:
            self._working = False

    def _adopt_next(self) -> None:
        measure, labels = self._context.bound[self._adopted]
        self._adopted += 1
        family = self._family(measure)
        cell = self._cell(family, labels.items(), pinned=True)
        cell.pinned = True
        if measure.kind is not GAUGE and not cell.updated:
            family.updated = cell.updated = self._now

    def _begin(self, family: Family, cell: Cell) -> None:
        """Hear of a new series, before anything is added to it; for a subclass that keeps something alongside it."""

    def _forget(self, family: Family, cell: Cell) -> None:
        """Hear of a series that was forgotten; for the same."""

    # -- classes with declared labels

    def _merge_declared(self, columns: Columns) -> dict[int, str]:
        schema, keys = columns.schema, columns.label_sets
        known = self._declared.get(schema)
        if known is None:
            known = self._declared[schema] = [self._column_of(schema, measure) for measure in schema.measures]
        refused: dict[int, str] = {}
        values = iter(columns.values)
        for column in known:
            self._add(column, keys, next(values) if column.measured else None, columns.timestamps)
            refused |= self._look_after(column, keys)
        return refused

    def _column_of(self, schema: Schema, measure: Measure) -> Column:
        family = self._family(measure)
        known = Known(lambda key: self._cell(family, schema.label_pairs(key)))
        return Column(measure.name, family, measure.field is not None, known)

    def _add(
        self, column: Column, keys: Sequence[Any], values: Sequence[float] | None, timestamps: Sequence[int]
    ) -> None:
        known, kind, now = column.known, column.family.measure.kind, self._now
        column.family.updated = now
        if values is None:
            for key, count in Tallied(keys).items():
                cell = known[key]
                cell.value += count
                cell.updated = now
        elif kind is HISTOGRAM:
            bounds = column.family.bounds
            for key, value in zip(keys, values, strict=True):
                cell = known[key]
                bucket = bisect_left(bounds, value)
                cell.counts[bucket] += 1  # from here on no call, for the sake of other threads
                cell.value += value
                cell.updated = now
        elif kind is COUNTER:
            for key, value in zip(keys, values, strict=True):
                cell = known[key]
                cell.value += value
                cell.updated = now
        else:
            latest = {known[key]: at for at, key in enumerate(keys)}
            for cell, at in latest.items():
                if cell.updated != now or cell.set_at <= timestamps[at]:  # another class may have set it after this one
                    cell.value, cell.set_at = values[at], timestamps[at]
                cell.updated = now

    # -- events that carry their instrument's name and their labels

    def _merge_named(self, columns: Columns) -> dict[int, str]:
        schema, timestamps = columns.schema, columns.timestamps
        by_name: dict[str, list[int]] = {}
        for at, name in enumerate(columns.labels[0]):
            by_name.setdefault(name, []).append(at)
        refused: dict[int, str] = {}
        for name, places in by_name.items():
            keys = [columns.label_sets[at] for at in places]
            values = [[column[at] for at in places] for column in columns.values]
            column = self._named_column(schema, name, values)
            if schema.buckets:
                column.family.updated = self._now
                for key, total, bounds, counts in zip(keys, *values[1:], strict=True):
                    self._add_point(column.family, column.known[key], total, bounds, counts)
            else:
                self._add(column, keys, values[0], [timestamps[at] for at in places])
            refused |= {places[at]: reason for at, reason in self._look_after(column, keys).items()}
        return refused

    def _named_column(self, schema: Schema, name: str, values: Sequence[Sequence[Any]]) -> Column:
        """Return where the values of a name go; a bound instrument may have been declared since the last time."""
        kind = schema.measures[0].kind
        declaration = self._context.declared.get(name)
        column = self._named.get((kind, name))
        if column is None or column.declared is not declaration:
            declared = None if declaration is None else declaration.of_kind(kind)
            own = Measure("value", kind, text(name) or "", bounds=values[2][0] if schema.buckets else None)
            family = self._family(declared or own)
            known = Known(lambda key: self._cell(family, schema.label_pairs(key)))
            column = self._named[kind, name] = Column(own.name, family, True, known, declaration)
            if declared is not None and declared.name == family.measure.name:
                family.measure = declared
        return column

    def _add_point(
        self, family: Family, cell: Cell, total: float, bounds: tuple[float, ...], counts: Iterable[int]
    ) -> None:
        """Add values that are counted by bucket already; by other buckets, as near as these bounds allow."""
        if bounds == family.bounds:
            added = [*map(add, cell.counts, counts)]
        else:
            if not family.warned:
                family.warned = True
                _logger.warning("metrics: %r comes with other bucket bounds; counted by the first", family.measure.name)
            places = [*(bisect_left(family.bounds, bound) for bound in bounds), len(family.bounds)]
            added = cell.counts[:]
            for place, count in zip(places, counts, strict=True):
                added[place] += count
        cell.counts = added  # no call, for the sake of other threads
        cell.value += total
        cell.updated = self._now

    # -- series

    def _family(self, measure: Measure) -> Family:
        """Return the instrument that this is to the back-end; one that is refused, if another has its name."""
        names, terms = self._identity.names(measure), self._identity.terms(measure)
        family = self._taken_names.get(names[0])
        if family is not None and family.terms == terms:
            return family
        bounds = self._context.bounds.get(measure.name) or measure.default_bounds
        family = Family(measure, bounds if measure.kind is HISTOGRAM else (), terms)
        other = next((other for name in names if (other := self._taken_names.get(name)) is not None), None)
        if (refusal := self._identity.refusal(measure)) is not None:
            family.refusal = refusal
            self._warn(measure.name, refusal)
        elif other is None:
            self._taken_names.update(dict.fromkeys(names, family))
            self._families.append(family)
        else:
            family.refusal = f"{other.measure.name!r} of another kind or unit has the name"
            self._warn(measure.name, family.refusal)
        return family

    def _cell(self, family: Family, pairs: Iterable[tuple[object, object]], *, pinned: bool = False) -> Cell:
        """Return the series of these labels, a new one if it must be; or what stands for labels that are refused.

        Args:
            family: their instrument.
            pairs: label and value.
            pinned: whether they are a bound instrument's, now and whenever they get a series of their own.
        """
        labels = dict(self._context.static_labels)
        for name, value in pairs:
            string = text(value)
            if string is not None:
                labels[text(name) or ""] = string
        kept = self._identity.labels(family, labels)
        if (refusal := self._refusal(family, kept)) is not None:
            return self._without_series(labels, refusing(family, refusal))
        key = self._identity.key(family, kept)
        if pinned:
            family.pinned.add(key)
        known = family.cells.get(key)
        if known is not None:
            return known
        shared, shared_key = family.shared or self._shared(family)
        if len(family.cells) < self._context.max_series and key != shared_key:
            cell = family.cells[key] = Cell(kept, family.buckets, self._now)
            cell.pinned = key in family.pinned
            self._begin(family, cell)
            return cell
        if family.overflow is None:
            if (refusal := self._refusal(family, shared)) is not None:
                return self._without_series(labels, refusing(family, refusal))
            family.overflow = Cell(shared, family.buckets, self._now)
            self._begin(family, family.overflow)
        return self._without_series(labels, family.overflow)

    def _without_series(self, labels: Mapping[str, str], cell: Cell) -> Cell:
        """Note that labels will be remembered that no series has of its own."""
        self._spare_chars += sum(map(len, labels)) + sum(map(len, labels.values()))
        return cell

    def _refusal(self, family: Family, labels: Mapping[str, str]) -> str | None:
        """Return why events of a series are rejected; None if they are not."""
        if family.refusal is not None:
            return family.refusal
        broken = self._identity.broken_limit(family, labels)
        if broken is None:
            return None
        self._warn(family.measure.name, broken)
        return LIMITS

    def _shared(self, family: Family) -> tuple[Mapping[str, str], Hashable]:
        """Return the labels of the series that label sets beyond the cap share, and what tells it from others."""
        labels = self._identity.labels(family, {**self._context.static_labels, **OVERFLOW})
        family.shared = (labels, self._identity.key(family, labels))
        return family.shared

    def _warn(self, name: str, why: str) -> None:
        """Log that events are refused; the first time only."""
        if not self._warned:
            self._warned = True
            _logger.warning("metrics: events of %r are rejected: %s; others are only counted", name, why)

    def _look_after(self, column: Column, keys: Sequence[Any]) -> dict[int, str]:
        """Count what overflowed, and bound what is remembered: label sets beyond the cap, the same in other orders.

        Returns:
            Which of these labels are refused, by position, and why.
        """
        known, overflow = column.known, column.family.overflow
        if overflow is not None and overflow.updated == self._now:
            count = sum(known[key] is overflow and key[1:2] != _OVERFLOWED for key in keys)
            if count:
                self.overflowed[column.name] = self.overflowed.get(column.name, 0) + count
        refused: dict[int, str] = {}
        if known.refuses:
            refused = {at: reason for at, key in enumerate(keys) if (reason := known[key].refusal) is not None}
        if len(known) > 4 * self._context.max_series + 1000:
            known.forget()
        if self._spare_chars > _SPARE_MAX_CHARS:
            self._spare_chars = 0
            for each in self._columns():
                each.known.forget()
        return refused
