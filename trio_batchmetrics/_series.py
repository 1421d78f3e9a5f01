"""Events to series: sums, last values and histograms by explicit buckets, one for each instrument and label set.

How this works
==============

A ``Family`` is an instrument, a ``Cell`` one of its series (:mod:`trio_batchmetrics._cells`). What identifies a cell is
the text of its labels, whatever their order; but text and order are worked out once for each combination of values as
the application gave them, which is looked up in ``known`` from then on. Values that are equal have equal text there
(:mod:`trio_batchmetrics._validation` sees to that: ``True`` and 1 do not meet).

Beyond ``max_series`` label sets of an instrument, the rest share one series (OpenTelemetry's "cardinality limits").

Other threads
-------------

Only Trio's thread adds and forgets. Any thread may take a snapshot meanwhile, with no lock: CPython lets another thread
run after a call, at function entry and when it jumps back. What belongs together in a cell is written with none of
these in between, ``updated`` last, and read the same way; dictionaries are copied in one step before they are walked.
So each series is consistent in itself, where there is a global interpreter lock; those of one batch need not all be
there yet.
"""

from __future__ import annotations

import logging
import time
from bisect import bisect_left
from collections import Counter as Tallied
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from operator import add, itemgetter
from typing import Any

import attrs

from ._cells import Cell, Family, Metric
from ._context import SinkContext
from ._schema import OVERFLOW, Kind, Measure, MetricEvent, Schema
from ._text import text
from ._validation import groups_of

__all__ = ["SeriesStore"]

_logger = logging.getLogger("trio_batchmetrics")

_Row = tuple[Any, ...]


class _Known(dict[Any, Cell]):
    """Series by labels as the application gave them; one that is not there is looked for by text, and then it is."""

    def __init__(self, find: Callable[[Any], Cell]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, labels: Any) -> Cell:
        cell = self[labels] = self._find(labels)
        return cell


@attrs.frozen
class _Column:
    """One measure of an event class: where its values stand in a row, and its series."""

    family: Family
    at: int | None
    known: _Known


@attrs.frozen
class _Reader:
    """How the rows of an event class with declared labels are read."""

    key: Callable[[_Row], Any]
    columns: tuple[_Column, ...]


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

    def __init__(self, context: SinkContext | None = None, *, clock: Callable[[], int] | None = None) -> None:
        """Have no series yet.

        Args:
            context: what the collector told the sink: static labels, ``max_series``, bounds; by default, defaults.
            clock: tells the nanoseconds that points are stamped with; by default the wall clock's, since 1970.
        """
        self._context = SinkContext() if context is None else context
        self._clock = clock
        self._families: dict[Hashable, Family] = {}
        self._readers: dict[type, _Reader] = {}
        self._named: dict[Hashable, _Column] = {}
        self._now = 0
        self._settled = 0
        self._taken = 0
        self._oldest = 0

    def __len__(self) -> int:
        """Return how many series there are."""
        return sum(len(family.cells) + (family.overflow is not None) for family in [*self._families.values()])

    def merge(self, events: Sequence[MetricEvent]) -> None:
        """Add events, each once; those that are invalid are passed over (none are that a collector hands over)."""
        # No two merges have the same time, so that a cell that was not updated since has not changed since.
        self._now = max(self._time(), self._now + 1)
        for event_class, rows in groups_of(events).items():
            schema: Any = event_class.__metric_schema__
            if schema.named:
                self._merge_named(schema, rows)
            else:
                self._merge_declared(event_class, schema, rows)
        self._settled = self._now

    def snapshot(self) -> tuple[Metric, ...]:
        """Return every series as it stands: since the store was made (cumulative). Safe in any thread."""
        metrics: list[Metric] = []
        for family in [*self._families.values()]:
            cells = [cell for cell in family.all_cells() if cell.updated]  # one may be about to get its first value
            if cells:
                metrics.append(self._metric(family, cells))
        return tuple(metrics)

    def take(self) -> tuple[Metric, ...]:
        """Return what came since the last :meth:`take` (delta), and begin anew. For a store that does only this."""
        taken: list[Metric] = []
        for family in self._families.values():
            cells = [cell for cell in family.all_cells() if cell.updated > self._taken]
            if cells:
                taken.append(self._metric(family, cells))
            for cell in cells:
                cell.started = self._now
                if family.measure.kind is not Kind.GAUGE:
                    cell.value = 0.0
                    cell.counts = [0] * family.buckets
        self._taken = self._now
        return tuple(taken)

    def expire(self, before: int) -> int:
        """Forget series to which nothing was added since then; they begin at 0 should they come back.

        Args:
            before: nanoseconds by the store's clock.

        Returns:
            How many series were forgotten.
        """
        if before <= self._oldest:  # nothing can be that old: cheap enough to ask at each merge
            return 0
        gone, self._oldest = 0, self._now
        for family in self._families.values():
            idle = [key for key, cell in family.cells.items() if cell.updated < before]
            for key in idle:
                self._forget(family, family.cells.pop(key))
            overflow = family.overflow
            if overflow is not None and overflow.updated < before:
                family.overflow = None
                self._forget(family, overflow)
                gone += 1
            gone += len(idle)
            self._oldest = min([self._oldest, *(cell.updated for cell in family.all_cells())])
        if gone:
            for column in (
                *self._named.values(),
                *(one for reader in self._readers.values() for one in reader.columns),
            ):
                column.known.clear()
        return gone

    def _begin(self, family: Family, cell: Cell) -> None:
        """Hear of a new series, before anything is added to it; for a subclass that keeps something beside it."""

    def _forget(self, family: Family, cell: Cell) -> None:
        """Hear of a series that was forgotten; for the same."""

    def _time(self) -> int:
        return time.time_ns() if self._clock is None else self._clock()

    @staticmethod
    def _metric(family: Family, cells: Iterable[Cell]) -> Metric:
        measure = family.measure
        points = tuple(cell.point() for cell in cells)
        return Metric(measure.name, measure.kind, measure.unit, measure.description, family.bounds, points)

    # -- classes with declared labels

    def _merge_declared(self, event_class: type[MetricEvent], schema: Schema, rows: Sequence[_Row]) -> None:
        reader = self._readers.get(event_class)
        if reader is None:
            reader = self._readers[event_class] = self._reader(schema)
        keys = [*map(reader.key, rows)]
        for column in reader.columns:
            self._add(column, keys, rows)
            self._remember_little(column)

    def _reader(self, schema: Schema) -> _Reader:
        place = {field: at for at, field in enumerate(schema.fields, start=2)}
        names = [item.name for item in schema.labels]
        columns: list[_Column] = []
        for measure in schema.measures:
            known = _Known(partial(self._cell_of_values, self._family(measure), names))
            at = None if measure.field is None else place[measure.field]
            columns.append(_Column(self._family(measure), at, known))
        return _Reader(_key([place[item.field] for item in schema.labels]), tuple(columns))

    def _cell_of_values(self, family: Family, names: Sequence[str], values: Sequence[object]) -> Cell:
        return self._cell(family, zip(names, values, strict=True))

    def _add(self, column: _Column, keys: Sequence[Any], rows: Sequence[_Row]) -> None:
        known, at, kind, now = column.known, column.at, column.family.measure.kind, self._now
        column.family.updated = now
        if at is None:
            for key, count in Tallied(keys).items():
                cell = known[key]
                cell.value += count
                cell.updated = now
        elif kind is Kind.HISTOGRAM:
            bounds = column.family.bounds
            for key, row in zip(keys, rows, strict=True):
                cell = known[key]
                value = row[at]
                bucket = bisect_left(bounds, value)
                cell.counts[bucket] += 1  # from here on no call, for the sake of other threads
                cell.value += value
                cell.updated = now
        elif kind is Kind.COUNTER:
            for key, row in zip(keys, rows, strict=True):
                cell = known[key]
                cell.value += row[at]
                cell.updated = now
        else:
            latest = {known[key]: row for key, row in zip(keys, rows, strict=True)}
            for cell, row in latest.items():
                if cell.updated != now or cell.set_at <= row[1]:  # another class may have set it after this one
                    cell.value, cell.set_at = row[at], row[1]
                cell.updated = now

    # -- events that carry their instrument's name and their labels

    def _merge_named(self, schema: Schema, rows: Sequence[_Row]) -> None:
        kind = schema.measures[0].kind
        by_name: dict[str, list[_Row]] = {}
        for row in rows:
            by_name.setdefault(row[2], []).append(row)
        for name, same in by_name.items():
            column = self._column(schema, kind, name, same[0])
            keys = [tuple(row[3].items()) for row in same]
            if schema.buckets:
                column.family.updated = self._now
                for key, row in zip(keys, same, strict=True):
                    self._add_point(column.family, column.known[key], *row[5:])
            else:
                self._add(column, keys, same)
            self._remember_little(column)

    def _column(self, schema: Schema, kind: Kind, name: str, row: _Row) -> _Column:
        """Return where the rows of a name go; a bound instrument may have been declared since the last."""
        declared = self._context.declared.get(name)
        if declared is not None:
            declared = declared.of_kind(kind)
        column = self._named.get((kind, name))
        if column is None or (declared is not None and declared.unit != column.family.measure.unit):
            own = Measure("value", kind, text(name) or "", bounds=row[6] if schema.buckets else None)
            family = self._family(declared or own)
            column = self._named[kind, name] = _Column(family, 4, _Known(partial(self._cell, family)))
        if declared is not None and declared != column.family.measure:
            column.family.measure = declared
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
        key = (measure.name, measure.kind, measure.unit)
        family = self._families.get(key)
        if family is None:
            bounds = self._context.bounds.get(measure.name) or measure.default_bounds
            family = self._families[key] = Family(measure, bounds if measure.kind is Kind.HISTOGRAM else ())
        return family

    def _cell(self, family: Family, pairs: Iterable[tuple[object, object]]) -> Cell:
        """Return the series of these labels, a new one if it must be."""
        labels = dict(self._context.static_labels)
        for name, value in pairs:
            string = text(value)
            if string is not None:
                labels[text(name) or ""] = string
        key = tuple(sorted(labels.items()))
        cell = family.cells.get(key)
        if cell is not None:
            return cell
        shared = {**self._context.static_labels, **OVERFLOW}
        if len(family.cells) < self._context.max_series and labels != shared:
            cell = family.cells[key] = Cell(labels, family.buckets, self._now)
            self._begin(family, cell)
            return cell
        if family.overflow is None:
            family.overflow = Cell(shared, family.buckets, self._now)
            self._begin(family, family.overflow)
        return family.overflow

    def _remember_little(self, column: _Column) -> None:
        """Keep bounded what is remembered: label sets beyond the cap, and the same labels in other orders."""
        if len(column.known) > 4 * self._context.max_series + 1000:
            column.known.clear()


def _key(places: Sequence[int]) -> Callable[[_Row], Any]:
    """Return a function that takes a row's labels, as a tuple."""
    if not places:
        return lambda _: ()
    getter: Callable[[_Row], Any]
    getter = itemgetter(*places) if len(places) > 1 else itemgetter(slice(places[0], places[0] + 1))
    return getter
