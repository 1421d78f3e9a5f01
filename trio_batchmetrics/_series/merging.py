"""Adds the columns of a batch to series."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .._events import OVERFLOW, Columns, pick
from .aggregations import Buckets
from .columns import Column, ColumnIndex
from .groups import Groups
from .series import Series

__all__ = ["Merging"]

_OVERFLOWED = (tuple(OVERFLOW.items()),)
"""The labels of events that have already lost their own, in a bound instrument."""


class Merging:
    """Adds the columns of a batch to series. Use it in Trio's thread; for other threads, see :mod:`.store`."""

    def __init__(self, index: ColumnIndex) -> None:
        """Create an object that has added nothing yet.

        Args:
            index: the columns of each class and name.
        """
        self._index = index
        self.overflowed: dict[str, int] = {}
        """How many events of an instrument lost their labels to ``max_series``, by its name."""
        self.groups: Groups | None = None
        """The groups of events, if a push may reject series."""

    def add(self, columns: Columns) -> dict[int, str]:
        """Add the events of one class; return the reasons of refused events, by position in the columns."""
        return self._add_named(columns) if columns.schema.named else self._add_declared(columns)

    def _add_declared(self, columns: Columns) -> dict[int, str]:
        """Add events of a class with declared labels."""
        timestamps, keys, now = columns.timestamps, columns.label_sets, self._index.now
        values = iter(columns.values)
        refused: dict[int, str] = {}
        added: list[Sequence[Series]] = []
        for column in self._index.of_class(columns.schema):
            series = [*map(column.known.__getitem__, keys)]
            added.append(series)
            family = column.family
            family.updated = now
            if column.measured:
                family.aggregation.add(series, next(values), timestamps, now)
            else:
                family.aggregation.count(series, timestamps, now)
            if reasons := self._finish_adding(column, keys, series):
                refused |= reasons
        if self.groups is not None and added:
            self.groups.note(columns.positions, added)
        return refused

    def _add_named(self, columns: Columns) -> dict[int, str]:
        """Add events that carry their instrument's name and their labels."""
        names, positions, timestamps = columns.labels[0], columns.positions, columns.timestamps
        if names.count(names[0]) == len(names):
            return self._add_name(names[0], columns, columns.label_sets, columns.values, timestamps, positions)
        by_name: dict[str, list[int]] = {}
        for at, name in enumerate(names):
            by_name.setdefault(name, []).append(at)
        keys, refused = [*columns.label_sets], dict[int, str]()
        for name, places in by_name.items():
            parts = [pick(column, places) for column in (keys, timestamps, positions, *columns.values)]
            if reasons := self._add_name(name, columns, parts[0], parts[3:], parts[1], parts[2]):
                refused |= {places[at]: reason for at, reason in reasons.items()}
        return refused

    def _add_name(
        self,
        name: str,
        columns: Columns,
        keys: Sequence[Any],
        values: Sequence[Sequence[Any]],
        timestamps: Sequence[int],
        positions: Sequence[int],
    ) -> dict[int, str]:
        """Add events of one instrument."""
        now = self._index.now
        column = self._index.of_name(columns.schema, name, values)
        series = [*map(column.known.__getitem__, keys)]
        family = column.family
        family.updated = now
        if columns.schema.buckets and isinstance(family.aggregation, Buckets):
            family.aggregation.add_counted(series, values, now)
        else:
            family.aggregation.add(series, values[0], timestamps, now)
        if self.groups is not None:
            self.groups.note(positions, [series])
        return self._finish_adding(column, keys, series)

    def _finish_adding(self, column: Column, keys: Iterable[Any], series: Sequence[Series]) -> dict[int, str]:
        """Count overflowed events, and bound the remembered label sets: those beyond the cap, or in other orders.

        Returns:
            The reasons of the refused events, by position.
        """
        known, overflow = column.known, column.family.overflow
        if overflow is not None and overflow.updated == self._index.now:
            pairs = zip(keys, series, strict=True)
            count = sum([each is overflow and key[1:2] != _OVERFLOWED for key, each in pairs])
            if count:
                self.overflowed[column.name] = self.overflowed.get(column.name, 0) + count
        refused: dict[int, str] = {}
        if known.has_refusals:
            refused = {at: each.refusal for at, each in enumerate(series) if each.refusal is not None}
        if len(known) > self._index.remembered.max_each:
            known.forget()
        return refused
