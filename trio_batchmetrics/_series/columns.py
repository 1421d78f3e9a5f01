"""The instruments of event classes and names, to which a batch's columns are added."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from .._events import Measure, Schema, text
from .families import TOO_MANY_INSTRUMENTS, Families
from .family import SeriesFamily
from .label_sets import KnownSeries, LabelSetBudget
from .members import Members

__all__ = ["Column", "ColumnIndex"]


@attrs.frozen(eq=False)
class Column:
    """One measure of an event class, and the series that its values are added to."""

    name: str
    family: SeriesFamily
    measured: bool
    """Whether there is a value column; otherwise, each event counts as 1."""
    known: KnownSeries
    declared: Measure | None = None
    """The name's declaration when this column was created, of any kind."""


class ColumnIndex:
    """The columns of a store: by event class, or by kind and name for events that carry their instrument's name."""

    def __init__(
        self, families: Families, members: Members, declared: Mapping[str, Measure], max_series: int, max_names: int
    ) -> None:
        """Create an index without columns.

        Args:
            families: the store's instruments.
            members: finds series.
            declared: the declared instruments, by name.
            max_series: the maximum number of label sets per instrument.
            max_names: the number of names to remember.
        """
        self._families = families
        self._members = members
        self._declarations = declared
        self._max_names = max_names
        self._classes: dict[Schema, list[Column]] = {}
        self._named: dict[Hashable, Column] = {}
        self.remembered: LabelSetBudget = LabelSetBudget(max_series)
        """The budget of the remembered label sets."""
        self.now: int = 0
        """The time of the merge, by the store's clock."""

    def __iter__(self) -> Iterator[Column]:
        """Yield all columns."""
        yield from self._named.values()
        for columns in self._classes.values():
            yield from columns

    def of_class(self, schema: Schema) -> list[Column]:
        """Return a column for each measure of a class with declared labels."""
        columns = self._classes.get(schema)
        if columns is None:
            columns = [self._create_column(schema, measure) for measure in schema.measures]
            if all(column.family.refusal != TOO_MANY_INSTRUMENTS for column in columns):
                self._classes[schema] = columns
        return columns

    def of_name(self, schema: Schema, name: str, values: Sequence[Sequence[Any]]) -> Column:
        """Return the column of a name. A bound instrument may have been declared since the last call.

        Args:
            schema: the class of the events, which carry the name.
            name: the name.
            values: the columns of values; the third column of ``HistogramPoint`` has the bounds.
        """
        kind = schema.measures[0].kind
        declaration = self._declarations.get(name)
        column = self._named.get((kind, name))
        if column is not None and column.declared is declaration:
            return column
        declared = None if declaration is None else declaration.of_kind(kind)
        own = Measure("value", kind, text(name) or "", bounds=values[2][0] if schema.buckets else None)
        column = self._create_column(schema, declared or own, own.name, declaration)
        if declared is not None:
            self._families.describe(column.family, declared)
        if column.family.refusal != TOO_MANY_INSTRUMENTS:
            if len(self._named) >= self._max_names:
                self._named.clear()
            self._named[kind, name] = column
        return column

    def _create_column(
        self, schema: Schema, measure: Measure, name: str | None = None, declared: Measure | None = None
    ) -> Column:
        family = self._families.of(measure)
        members = self._members
        admitted = family.refusal != TOO_MANY_INSTRUMENTS  # otherwise, the column and its label sets are used only once
        remembered = self.remembered if admitted else LabelSetBudget(0)
        known = KnownSeries(lambda key: members.find(family, schema.label_pairs(key), self.now), remembered)
        return Column(name or measure.name, family, measure.field is not None, known, declared)

    def forget(self) -> None:
        """Forget everything, so that it is determined again."""
        self._classes.clear()
        self._named.clear()
        self.remembered.extra_bytes = 0

    def forget_label_sets(self) -> None:
        """Forget the series of all label sets, so that they are looked up again."""
        self.remembered.extra_bytes = 0
        for column in self:
            column.known.forget()

    def reconsider(self) -> None:
        """Forget refused label sets, so that they are checked again."""
        for column in self:
            if column.known.has_refusals:
                column.known.forget()
