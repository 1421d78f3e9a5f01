"""Reads the rows of one event class by column: checks them, and reduces them to plain values.

Nearly all events are valid, and steps in C show this for a whole column at once: the set of its types, its minimum, and
whether its sum is finite. A recorder creates a plain tuple only if each label has its declared type, so the labels of
such rows aren't checked again. If a column has any unusual value, its values are converted one by one. If that fails,
:mod:`.sorting` examines each row.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from functools import partial
from itertools import chain
from math import isfinite
from operator import attrgetter
from typing import Any, cast, get_args

import attrs

from .measured import number
from .points import points_are_plain
from .schema import Kind, Measure, MetricEvent, Schema, schema_of
from .values import INT_LIMIT, ReadOnlyDict, plain_label, text

__all__ = ["ClassReader", "Plain", "declared_bools", "declared_type", "plain_labels", "reader_of"]

Plain = tuple[Sequence[int], tuple[Sequence[Any], ...], tuple[Sequence[Any], ...]]
"""The timestamps, the label columns and the value columns."""

_values, _items = dict[Any, Any].values, dict[Any, Any].items

_FIRST_FIELD = 2
"""The position of the first field in a row, after class and timestamp."""

_PLAIN_WITH_BOOLS = frozenset({bool, str, type(None)})
_PLAIN_WITH_INTS = frozenset({int, str, type(None)})
_TEXTS = frozenset({str, type(None)})
_DICTS = frozenset({dict, ReadOnlyDict})
_FLOATS = {float}
_NUMBERS = frozenset({int, float})
_NUMBERS_AND_BOOLS = frozenset({int, float, bool})
_DURATIONS = frozenset({int, float, timedelta})


@attrs.frozen
class _LabelColumn:
    position: int
    declared: str
    """``str``, ``int`` or ``bool``."""
    optional: bool
    """Whether a recorder's plain row may have None here."""


@attrs.frozen
class _ValueColumn:
    position: int
    measure: Measure
    types: frozenset[type]
    """The types whose values need no further check before conversion."""
    negative: bool
    """Whether a value below 0 is valid."""


class ClassReader:
    """Reads the rows of one event class."""

    __slots__ = ("_int_labels", "_label_places", "_labels", "_row_fields", "_values", "schema")

    def __init__(self, event_class: type[MetricEvent], schema: Schema) -> None:
        """Create the reader of a class with this schema."""
        self.schema: Schema = schema
        fields = {field.name: field for field in attrs.fields(cast("Any", event_class))}
        position = {name: at for at, name in enumerate(schema.fields, _FIRST_FIELD)}
        self._labels = [
            _LabelColumn(
                position[each.field], declared_type(fields[each.field].type), fields[each.field].default is None
            )
            for each in schema.labels
        ]
        self._label_places = [each.position for each in self._labels]
        self._int_labels = [each for each in self._labels if each.declared == "int"]
        self._values = [
            _ValueColumn(position[measure.field or ""], measure, _types_of(measure), measure.negative)
            for measure in schema.measured
        ]
        self._row_fields: Callable[[Any], Any] = (
            attrgetter("timestamp", *schema.fields) if schema.fields else _timestamp_alone
        )

    def row(self, event: MetricEvent) -> tuple[Any, ...]:
        """Return the row that represents an event.

        Raises:
            Exception: of any kind; a field may be a property that raises.
        """
        return (self.schema.event_class, *self._row_fields(event))

    def read(self, columns: Sequence[Sequence[Any]], *, trusted: bool) -> Plain | None:
        """Return the plain columns of rows; None if each row must be examined.

        Args:
            columns: the transposed rows.
            trusted: whether all rows are plain tuples from recorders.
        """
        timestamps = columns[1]
        if not trusted and {*map(type, timestamps)} != {int}:
            return None
        try:
            if self.schema.named:
                labels = _named_columns(columns[_FIRST_FIELD], columns[_FIRST_FIELD + 1])
                if labels is None:
                    return None
            elif trusted and all(
                _in_range(columns[each.position], optional=each.optional) for each in self._int_labels
            ):
                labels = tuple([columns[position] for position in self._label_places])
            else:
                labels = tuple([_plain_column(each, columns[each.position]) for each in self._labels])
            if self.schema.buckets:
                values = tuple(columns[_FIRST_FIELD + 2 : _FIRST_FIELD + 6])
                return (timestamps, labels, values) if points_are_plain(values) else None
            numbers: list[Sequence[float]] = []
            for each in self._values:
                found = _float_column(each, columns[each.position])
                if found is None:
                    return None
                numbers.append(found)
        except Exception:  # noqa: BLE001 - values may run any code: each row is then examined by itself
            return None
        return timestamps, labels, tuple(numbers)

    def plain_columns(self, timestamps: Sequence[int], columns: Sequence[Sequence[Any]]) -> Plain:
        """Return the plain columns of transposed plain rows.

        Args:
            timestamps: the rows' timestamps.
            columns: the rows' other columns.
        """
        if self.schema.named:
            return timestamps, (columns[0], [tuple(labels.items()) for labels in columns[1]]), tuple(columns[2:])
        labels = tuple([columns[each.position - _FIRST_FIELD] for each in self._labels])
        return timestamps, labels, tuple([columns[each.position - _FIRST_FIELD] for each in self._values])


def reader_of(event_class: type[MetricEvent]) -> ClassReader | None:
    """Return the class's reader, always the same object; None if it isn't an event class, or was never declared."""
    if not issubclass(event_class, MetricEvent):
        return None
    reader: Any = event_class.__metric_reader__
    if reader is None or reader.schema.event_class is not event_class:  # it may be a base class's
        schema = schema_of(event_class)
        if schema is None:
            return None
        event_class.__metric_reader__ = reader = ClassReader(event_class, schema)
    found: ClassReader = reader
    return found


def declared_type(annotation: object) -> str:
    """Return ``bool`` or ``int`` if a field is annotated with it, with or without ``None``; otherwise ``str``."""
    types = [each for each in get_args(annotation) if each is not type(None)]
    annotation = types[0] if len(types) == 1 else annotation
    declared = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    first: str = declared.split(" ")[0]
    return first if first in ("bool", "int") else "str"


def declared_bools(event_class: type[MetricEvent]) -> frozenset[str]:
    """Return the names of the fields annotated as bools."""
    fields = attrs.fields(cast("Any", event_class))
    return frozenset(field.name for field in fields if declared_type(field.type) == "bool")


def plain_labels(labels: Any) -> tuple[tuple[str, Any], ...]:
    """Return a mapping of labels as pairs of plain values.

    Raises:
        Exception: of any kind, if a name or a value has no text.
    """
    return tuple([(name if type(name) is str else text(name) or "", plain_label(labels[name])) for name in labels])


def _types_of(measure: Measure) -> frozenset[type]:
    if measure.kind is Kind.GAUGE and measure.name:
        return _NUMBERS_AND_BOOLS
    return _DURATIONS if measure.seconds else _NUMBERS


def _timestamp_alone(event: MetricEvent) -> tuple[int]:
    return (event.timestamp,)


def _plain_column(label: _LabelColumn, column: Sequence[Any]) -> Sequence[Any]:
    """Return a column of label values of any types, made plain.

    Raises:
        Exception: of any kind, if a value has no text.
    """
    bools = label.declared == "bool"
    types = {*map(type, column)}
    if types <= (_PLAIN_WITH_BOOLS if bools else _PLAIN_WITH_INTS) and (
        int not in types or _in_range(column, optional=True)
    ):
        return column
    return tuple(map(partial(plain_label, among_bools=bools), column))


def _in_range(column: Sequence[Any], *, optional: bool) -> bool:
    """Return whether all ints in a column are small enough to have text."""
    values: Collection[Any] = {*column}  # nearly always few
    if optional:
        values = [value for value in values if type(value) is int] or (0,)
    return bool(min(values) > -INT_LIMIT and max(values) < INT_LIMIT)


def _named_columns(names: Sequence[Any], labels: Sequence[Any]) -> tuple[Sequence[Any], ...] | None:
    """Return the columns of names and labels; None if any of them isn't valid as it is.

    Raises:
        Exception: of any kind, if a label has no text.
    """
    if {*map(type, names)} != {str} or "" in names or not {*map(type, labels)} <= _DICTS:
        return None
    values: list[Any] = [*chain.from_iterable(map(_values, labels))]
    types = {*map(type, values)}
    if not {str}.issuperset(map(type, chain.from_iterable(labels))) or not (
        types <= _TEXTS or (types <= _PLAIN_WITH_INTS and _in_range(values, optional=True))
    ):
        return names, [*map(plain_labels, labels)]
    return names, [*map(tuple, map(_items, labels))]


def _float_column(value_column: _ValueColumn, column: Sequence[Any]) -> Sequence[float] | None:
    """Return a measured column as floats; None if a value isn't valid as it is."""
    types = {*map(type, column)}
    if types != _FLOATS:
        if not types <= value_column.types:
            return None
        if timedelta in types:
            numbers = [number(value, value_column.measure) for value in column]
            if None in numbers:
                return None
            column = cast("list[float]", numbers)
        column = (*map(float, column),)
    if not isfinite(sum(column)) and not all(map(isfinite, column)):  # the sum of finite numbers may overflow
        return None
    return None if not value_column.negative and min(column) < 0 else column
