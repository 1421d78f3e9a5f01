"""What makes an event invalid, and how a batch is checked.

Checked in the flush task, off the application's path. Rows are sorted by class once, for the check and for every series
sink; a function compiled from the class's declaration then tells whether all of them are valid as they stand, which is
what nearly all are. Where it cannot tell, each row of that class is looked at by itself.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any, cast

from ._batch import Batch, Groups, Row, event_of, plain_as_they_stand, rows_and_groups
from ._compiled import plan_of
from ._schema import Kind, Measure, MetricEvent, Schema
from ._text import text

__all__ = ["Row", "checked", "groups_of", "is_count", "number", "plain_rows", "valid"]

_PLAIN = frozenset({str, float, bool, type(None)})


def valid(rows: list[Row]) -> Batch:
    """Return those of the rows that are valid, in order, and sorted by class.

    Args:
        rows: at most a few hundred; kept, where all are valid.
    """
    groups, suspects = _sort(rows)
    for event_class, group in groups.items():
        if event_class not in suspects and not plan_of(event_class).check(group):
            suspects.add(event_class)
    return _looked_closer(rows, suspects) if suspects else Batch(rows, groups)


def groups_of(events: Sequence[MetricEvent]) -> Groups:
    """Return events sorted by class; for other sequences than the library's batches, those that are valid."""
    _, groups = rows_and_groups(events if isinstance(events, Batch) else Batch([]))
    if groups is None:
        _, groups = rows_and_groups(valid([*events]))
    return groups or {}


def plain_rows(events: Sequence[MetricEvent]) -> list[tuple[Any, ...]]:
    """Return valid events as rows, in recording order: durations in seconds, labels equal only where their texts are.

    Raises:
        Exception: of any kind, for events that are not valid; a collector hands over none.
    """
    batch = events if isinstance(events, Batch) else Batch([*events])
    plain = plain_as_they_stand(batch)
    if plain is not None:
        return plain
    rows, _ = rows_and_groups(batch)
    groups, suspects = _sort(rows)
    if not suspects and all(plan_of(event_class).check(group) for event_class, group in groups.items()):
        if len(groups) == 1:
            return next(iter(groups.values()))
        following = {event_class: iter(group) for event_class, group in groups.items()}
        return [next(following[_class_of(row)]) for row in rows]
    return [*map(_made_plain, rows)]


def _class_of(row: Row) -> type[MetricEvent]:
    event_class: Any = row[0] if type(row) is tuple else type(row)
    return cast("type[MetricEvent]", event_class)


def _sort(rows: list[Row]) -> tuple[Groups, set[type]]:
    """Return rows by class, and the classes whose rows are to be looked at one by one."""
    groups: Groups = defaultdict(list)
    suspects: set[type] = set()
    for row in rows:
        if type(row) is tuple:
            groups[row[0]].append(row)
            continue
        event_class: Any = type(row)
        try:
            groups[event_class].append(plan_of(event_class).row(row))
        except Exception:  # noqa: BLE001 - a field may be a property that raises, the object no event
            suspects.add(event_class)
    return groups, suspects


def _looked_closer(rows: list[Row], suspects: set[type]) -> Batch:
    """Look at each row of some classes by itself."""
    good: list[Row] = []
    groups: Groups = defaultdict(list)
    for row in rows:
        event_class = _class_of(row)
        if event_class not in suspects:
            good.append(row)
            groups[event_class].append(row if type(row) is tuple else plan_of(event_class).row(row))
            continue
        fine = checked(row)
        plain = None if fine is None else _plain(fine)
        kept = None if fine is None or plain is None else _kept(fine, plain)
        if kept is not None and plain is not None:
            good.append(kept)
            groups[event_class].append(plain)
    return Batch(good, groups)


def _kept(row: Row, plain: tuple[Any, ...]) -> Row | None:
    """Return a valid row as batches keep it: itself if it is plain, else its event; so tuples in them are plain."""
    try:
        return row if row is plain else event_of(row)
    except Exception:  # noqa: BLE001 - values may run any code: counted as invalid
        return None


def _plain(row: Row) -> tuple[Any, ...] | None:
    """Return the row of a valid event with labels that are equal only where their texts are, and plain numbers.

    None, should what was to be had a moment ago raise now.
    """
    try:
        return _made_plain(row)
    except Exception:  # noqa: BLE001 - values may run any code: counted as invalid
        return None


def _made_plain(row: Row) -> tuple[Any, ...]:
    """Return the row of a valid event made plain.

    Raises:
        Exception: of any kind, where what was to be had a moment ago raises now.
    """
    event_class: Any = _class_of(row)
    if type(row) is not tuple:
        row = plan_of(event_class).row(row)
    if plan_of(event_class).check([row]):
        return row
    schema: Schema = event_class.__metric_schema__
    values = dict(zip(schema.fields, row[2:], strict=True))
    for item in schema.labels:
        values[item.field] = text(values[item.field])
    if schema.named:
        values["name"] = text(values["name"])
        pairs = [(text(name), text(value)) for name, value in values["labels"].items()]
        values["labels"] = {name: value for name, value in pairs if value is not None}
    if schema.buckets:
        values["sum"] = float(values["sum"])
        values["bounds"] = tuple(map(float, values["bounds"]))
        values["counts"] = tuple(map(int, values["counts"]))
    else:
        for measure in schema.measures:
            if measure.field is not None:
                good = number(values[measure.field], measure)
                if good is None:
                    raise ValueError(f"{measure.field} must be a finite number (got {values[measure.field]!r})")
                values[measure.field] = good
    return (event_class, row[1], *values.values())


def checked(row: Row) -> Row | None:
    """Return the row with its durations in seconds, or None if the event is invalid.

    Invalid is: a measured value that is not an int, a float or (for durations) a ``timedelta``; NaN and infinities;
    below 0 for counters and durations; an int that no float can hold; a name that is empty or no str; labels that are
    no mapping or cannot be turned to text; a timestamp that is no int; an object that is no event.
    """
    try:
        return _checked(row)
    except Exception:  # noqa: BLE001 - an event's values may be any objects, and run any code: counted as invalid
        return None


def _checked(row: Row) -> Row | None:
    if type(row) is tuple:
        schema: Schema | None = row[0].__metric_schema__
        timestamp: object = row[1]
        values = list(row[2:])
    elif isinstance(row, MetricEvent):
        schema = row.__metric_schema__
        timestamp = row.timestamp
        values = [getattr(row, field) for field in schema.fields] if schema else []
    else:
        return None
    if schema is None or type(timestamp) is not int or not _well_formed(schema, values):
        return None
    return (row[0], timestamp, *values) if type(row) is tuple else row


def number(value: object, measure: Measure) -> float | None:
    """Return a measured value if it is valid (durations as float seconds), else None."""
    try:
        return _number(value, measure)
    except Exception:  # noqa: BLE001 - a subclass of a number may run any code, an int be too large for a float
        return None


def _number(value: object, measure: Measure) -> float | None:
    if type(value) is float:
        good = value
    elif isinstance(value, bool):
        return value if measure.kind is Kind.GAUGE and measure.field is not None and measure.name else None
    elif isinstance(value, int):
        as_float = float(value)
        good = as_float if measure.seconds else int(value)
    elif isinstance(value, float):
        good = float(value)
    elif measure.seconds and isinstance(value, timedelta):
        good = value.total_seconds()
    else:
        return None
    if good - good != 0 or (good < 0 and not measure.negative):
        return None
    return good


def _well_formed(schema: Schema, values: list[Any]) -> bool:
    """Check a row's values, and turn its durations into seconds in place."""
    if schema.named:
        name, labels = values[0], values[1]
        if not isinstance(name, str) or not name or not _readable_labels(labels):
            return False
        if schema.buckets:
            return _is_point(*values[2:])
        values[2] = good = number(values[2], schema.measures[0])
        return good is not None
    position = dict(zip(schema.fields, range(len(values)), strict=False))
    for measure in schema.measures:
        if measure.field is not None:
            index = position[measure.field]
            values[index] = good = number(values[index], measure)
            if good is None:
                return False
    return all(_readable(values[position[label.field]]) for label in schema.labels)


def _readable(value: object) -> bool:
    """Tell that a value has text; raise if it has not."""
    if type(value) in _PLAIN:
        return True
    text(value)
    return True


def _readable_labels(labels: object) -> bool:
    if not isinstance(labels, Mapping):
        return False
    pairs = cast("Mapping[object, object]", labels)
    return all(_readable(name) and _readable(value) for name, value in pairs.items())


def is_count(value: object) -> bool:
    """Tell whether a value is a whole number of things that a float can hold."""
    return isinstance(value, int) and not isinstance(value, bool) and float(value) >= 0


def _is_point(count: object, total: object, bounds: object, counts: object) -> bool:
    if not is_count(count) or number(total, Measure(None, Kind.HISTOGRAM, "")) is None:
        return False
    if not isinstance(bounds, tuple) or not isinstance(counts, tuple):
        return False
    sizes = cast("Sequence[Any]", counts)
    limits = cast("Sequence[Any]", bounds)
    if len(sizes) != len(limits) + 1 or not all(is_count(size) for size in sizes) or sum(sizes) != count:
        return False
    if not all(isinstance(limit, float | int) and math.isfinite(limit) for limit in limits):
        return False
    return all(low < high for low, high in pairwise(limits))
