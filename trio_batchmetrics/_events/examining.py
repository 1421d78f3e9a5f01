"""Examines one row by itself: finds the fault that makes its event invalid, or makes the row plain.

:mod:`.validation` checks whole columns. Rows are examined one by one only if a column isn't valid as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, cast

from .._reprs import type_name
from .invalid import InvalidError
from .measured import NOT_A_NUMBER, fault_of, number
from .reading import declared_bools, plain_labels, reader_of
from .rows import Row, UnusualRow, class_of
from .schema import Kind, Measure, MetricEvent, Schema
from .values import Unreadable, plain_label, text

__all__ = ["examined", "is_count", "plain_row", "unreadable"]

_PLAIN = frozenset({str, float, bool, type(None)})

_NO_NUMBERS: Mapping[Any, type[MetricEvent]] = {}
"""Examined rows contain their class, not its number."""


def examined(row: Row) -> Row | InvalidError:
    """Return the row with plain numbers and durations in seconds, or the fault that makes the event invalid.

    An event is invalid if a measured value isn't a number (see :func:`number`), isn't finite, is too large for a float,
    or is below 0 for a counter or a duration; if the name is empty or isn't a str; if the labels aren't a mapping or
    have no text; or if the timestamp isn't an int. An object of another class is invalid too.
    """
    try:
        return _examined(row)
    except InvalidError as fault:
        return fault
    except Exception as exc:  # noqa: BLE001 - an event's values may be any objects, and run any code: counted as invalid
        return unreadable(row, exc)


def unreadable(row: Row, error: Exception) -> InvalidError:
    """Return the fault of an event that raised an exception while it was read."""
    return InvalidError(_class_name(row), "", "must be an event that can be read", Unreadable(row, error))


def _class_name(row: Row) -> str:
    return row[0].__name__ if type(row) is tuple else type_name(row)


def _examined(row: Row) -> Row:
    if type(row) is UnusualRow:
        row = row.row
    kind, schema = _class_name(row), getattr(class_of(row, _NO_NUMBERS), "__metric_schema__", None)
    if type(row) is tuple:
        timestamp: object = row[1]
        values = list(row[2:])
    elif isinstance(row, MetricEvent):
        timestamp = row.timestamp
        values = [getattr(row, field) for field in schema.fields] if schema else []
    else:
        raise InvalidError(kind, "", "must be a MetricEvent", row)
    if schema is None:
        raise InvalidError(kind, "", "must be declared with @metric_event", row)
    if type(timestamp) is not int:
        raise InvalidError(kind, "timestamp", "must be an int", timestamp)
    _examine(kind, schema, values)
    return (row[0], timestamp, *values) if type(row) is tuple else row


def _examine(kind: str, schema: Schema, values: list[Any]) -> None:
    """Check a row's values, and make its numbers plain in place.

    Raises:
        InvalidError: a value is invalid.
    """
    if schema.named:
        name = values[0]
        if not isinstance(name, str) or not name:
            raise InvalidError(kind, "name", "must be a non-empty str", name)
        _examine_labels(kind, values[1])
        if schema.buckets:
            _examine_point(kind, name, *values[2:])
        else:
            values[2] = _measured(kind, "value", values[2], schema.measures[0], name)
        return
    position = dict(zip(schema.fields, range(len(values)), strict=False))
    for measure in schema.measures:
        if measure.field is not None:
            index = position[measure.field]
            values[index] = _measured(kind, measure.field, values[index], measure, "")
    for label in schema.labels:
        _examine_text(kind, label.field, values[position[label.field]])


def _measured(kind: str, field: str, value: object, measure: Measure, instrument: str) -> float:
    checked = number(value, measure)
    if checked is None:
        raise fault_of(kind, field, value, measure, instrument) or InvalidError(
            kind, field, NOT_A_NUMBER, value, instrument
        )
    return checked


def _examine_text(kind: str, field: str, value: object) -> None:
    if type(value) in _PLAIN:
        return
    try:
        text(value)
    except Exception as exc:  # noqa: BLE001 - a value may run any code; the event is counted as invalid
        original = value if type(value) is Unreadable else Unreadable(value, exc)
        raise InvalidError(kind, field, "must have text", original) from None


def _examine_labels(kind: str, labels: object) -> None:
    if type(labels) is Unreadable:
        raise InvalidError(kind, "labels", "must be readable", labels)
    if not isinstance(labels, Mapping):
        raise InvalidError(kind, "labels", "must be a mapping", labels)
    pairs = cast("Mapping[object, object]", labels)
    for name, value in pairs.items():
        _examine_text(kind, "labels", name)
        _examine_text(kind, "labels", value)


def plain_row(row: Row) -> tuple[Any, ...]:
    """Return the row of an examined event with plain labels and float values.

    Raises:
        Exception: of any kind, if the application's own objects behave differently than when they were examined.
    """
    event_class = class_of(row, _NO_NUMBERS)
    reader = reader_of(event_class)
    if reader is None:
        raise ValueError(f"{event_class.__name__} must be declared with @metric_event")
    schema = reader.schema
    if isinstance(row, UnusualRow):
        row = row.row
    _, timestamp, *given = row if isinstance(row, tuple) else reader.row(row)
    values = dict(zip(schema.fields, given, strict=True))
    bools = declared_bools(event_class)
    for item in schema.labels:
        values[item.field] = plain_label(values[item.field], among_bools=item.field in bools)
    if schema.named:
        values["name"] = text(values["name"])
        values["labels"] = dict(plain_labels({**values["labels"]}))
    if schema.buckets:
        values["sum"] = float(values["sum"])
        values["bounds"] = tuple(map(float, values["bounds"]))
        values["counts"] = tuple(map(int, values["counts"]))
        values["count"] = int(values["count"])
    else:
        for measure in schema.measured:
            checked = number(values[measure.field or ""], measure)
            if checked is None:
                raise ValueError(f"{measure.field} must be a finite number (got {values[measure.field or '']!r})")
            values[measure.field or ""] = float(checked)
    return (event_class, timestamp, *values.values())


def is_count(value: object) -> bool:
    """Return whether a value is an int >= 0 that fits into a float."""
    return isinstance(value, int) and not isinstance(value, bool) and float(value) >= 0


def _examine_point(kind: str, name: str, count: object, total: object, bounds: Any, counts: Any) -> None:
    if not is_count(count):
        raise InvalidError(kind, "count", "must be an int >= 0", count, name)
    _measured(kind, "sum", total, Measure(None, Kind.HISTOGRAM, ""), name)
    if not issubclass(type(bounds), tuple) or not _increase(bounds):
        raise InvalidError(kind, "bounds", "must be a tuple of finite numbers, strictly increasing", bounds, name)
    if not issubclass(type(counts), tuple) or not _match_count(counts, len(bounds) + 1, count):
        rule = "must be a tuple of ints >= 0, one more than bounds, that sum to count"
        raise InvalidError(kind, "counts", rule, counts, name)


def _increase(bounds: tuple[Any, ...]) -> bool:
    if not all(isinstance(bound, float | int) and math.isfinite(bound) for bound in bounds):
        return False
    return all(low < high for low, high in pairwise(bounds))


def _match_count(counts: tuple[Any, ...], buckets: int, count: object) -> bool:
    return len(counts) == buckets and all(is_count(each) for each in counts) and sum(counts) == count
