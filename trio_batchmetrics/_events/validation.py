"""What makes an event invalid, and how a batch is checked.

Checked in the flush task, off the application's path. A function compiled from a class's declaration tells whether all
rows are of that class, and plain as they stand. Otherwise the rows are sorted by class once, for the check and for
every series sink, and each class is checked by itself; nearly all rows are plain. Another compiled function makes
labels plain that are bools, floats or members of an ``enum``. Where neither will do, each row of that class is looked
at by itself.

Plain rows are what series are looked up by: numbers are exact ints or floats, and labels are equal only where their
texts are (so ``True``, 1 and 1.0 do not meet). A batch keeps labels as they were given; the plain rows are its groups.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, cast

from .._reprs import type_name
from .batch import Batch, Groups, Row, UnusualRow, plain_as_they_stand, rows_and_groups
from .compiled import plan_of
from .invalid import InvalidError
from .measured import NO_NUMBER, fault_of, number
from .schema import Kind, Measure, MetricEvent, Schema
from .values import Unreadable, text

__all__ = ["Row", "checked", "examined", "fault_of", "groups_of", "is_count", "number", "plain_rows", "valid"]

_PLAIN = frozenset({str, float, bool, type(None)})


def _ignore(_: InvalidError) -> None:
    pass


def valid(rows: list[Row], note: Callable[[InvalidError], object] = _ignore) -> Batch:
    """Return those of the rows that are valid, in order, and sorted by class.

    Args:
        rows: at most a few hundred; kept, where all are valid.
        note: called with what is wrong with each of the others; not to keep it, and not to raise.
    """
    if rows and type(rows[0]) is tuple:
        event_class = _class_of(rows[0])
        if plan_of(event_class).check_recorded(rows):
            as_given: list[Any] = rows.copy()  # the batch puts events in the place of rows that are looked at
            return Batch(rows, {event_class: as_given}, plain=True)
    if UnusualRow in {*map(type, rows)}:
        rows = [tuple(row) if type(row) is UnusualRow else row for row in rows]
    groups, suspects = _sort(rows)
    plain = True
    for event_class, group in groups.items():
        if event_class not in suspects and not plan_of(event_class).check(group):
            made = _with_plain_labels(event_class, group)
            if made is None:
                suspects.add(event_class)
            else:
                groups[event_class], plain = made, False
    if suspects:
        rows, all_plain = _looked_closer(rows, groups, suspects, note)
        plain = plain and all_plain
    return Batch(rows, groups, plain=plain)


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
    if suspects:
        return [*map(_made_plain, rows)]
    for event_class, group in groups.items():
        if not plan_of(event_class).check(group):
            made = _with_plain_labels(event_class, group)
            groups[event_class] = [*map(_made_plain, group)] if made is None else made
    if len(groups) == 1:
        return next(iter(groups.values()))
    following = {event_class: iter(group) for event_class, group in groups.items()}
    return [next(following[_class_of(row)]) for row in rows]


def _with_plain_labels(event_class: type[MetricEvent], group: list[tuple[Any, ...]]) -> list[tuple[Any, ...]] | None:
    """Return the rows of a class with labels that are plain; None if that alone does not make them plain."""
    try:
        return plan_of(event_class).with_plain_labels(group)
    except Exception:  # noqa: BLE001 - text is not to be had of each label; each row is looked at by itself
        return None


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


def _looked_closer(
    rows: list[Row], groups: Groups, suspects: set[type], note: Callable[[InvalidError], object]
) -> tuple[list[Row], bool]:
    """Look at each row of some classes by itself, and sort them anew.

    Returns:
        All rows that are valid; whether those of the looked at that are tuples are plain as they stand.
    """
    good: list[Row] = []
    plain = True
    for event_class in suspects:
        groups.pop(event_class, None)
    for row in rows:
        event_class = _class_of(row)
        if event_class not in suspects:
            good.append(row)
            continue
        made = _plain_as_it_stands(row)
        if made is not None:
            groups[event_class].append(made)
            good.append(row)
            continue
        fine = examined(row)
        if not isinstance(fine, InvalidError):
            try:
                made = _made_plain(fine)
            except Exception as exc:  # noqa: BLE001 - values may run any code: counted as invalid
                fine = _unreadable(row, exc)
            else:
                groups[event_class].append(made)
                good.append(fine)
                plain = plain and (made is fine or type(fine) is not tuple)
        if isinstance(fine, InvalidError):
            note(fine)
    return good, plain


def _plain_as_it_stands(row: Row) -> tuple[Any, ...] | None:
    """Return the plain row that a row or an event is; None if it takes a closer look to tell."""
    try:
        plan = plan_of(_class_of(row))
        made: tuple[Any, ...] = row if type(row) is tuple else plan.row(row)
        return made if plan.check((made,)) else None
    except Exception:  # noqa: BLE001 - an event may run any code, or be none: that is looked into
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
    """Return the row with plain numbers, its durations in seconds; None if the event is invalid."""
    found = examined(row)
    return None if isinstance(found, InvalidError) else found


def examined(row: Row) -> Row | InvalidError:
    """Return the row with plain numbers, its durations in seconds; or what makes the event invalid.

    An event is invalid if a measured value isn't a number (see :func:`number`), isn't finite, or is too large for a
    float; if it is below 0 for a counter or a duration; if the name is empty or not a str; if the labels are not a
    mapping or have no text; if the timestamp isn't an int. An object of another class is invalid, too.
    """
    try:
        return _examined(row)
    except InvalidError as fault:
        return fault
    except Exception as exc:  # noqa: BLE001 - an event's values may be any objects, and run any code: counted as invalid
        return _unreadable(row, exc)


def _unreadable(row: Row, error: Exception) -> InvalidError:
    return InvalidError(_kind_of(row), "", "must be an event that can be read", Unreadable(row, error))


def _kind_of(row: Row) -> str:
    return row[0].__name__ if type(row) is tuple else type_name(row)


def _examined(row: Row) -> Row:
    kind, schema = _kind_of(row), getattr(_class_of(row), "__metric_schema__", None)
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
        InvalidError: one is invalid.
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
    good = number(value, measure)
    if good is None:
        raise fault_of(kind, field, value, measure, instrument) or InvalidError(
            kind, field, NO_NUMBER, value, instrument
        )
    return good


def _examine_text(kind: str, field: str, value: object) -> None:
    if type(value) in _PLAIN:
        return
    try:
        text(value)
    except Exception as exc:  # noqa: BLE001 - a value may run any code; the event is counted as invalid
        given = value if type(value) is Unreadable else Unreadable(value, exc)
        raise InvalidError(kind, field, "must have text", given) from None


def _examine_labels(kind: str, labels: object) -> None:
    if type(labels) is Unreadable:
        raise InvalidError(kind, "labels", "must be readable", labels)
    if not isinstance(labels, Mapping):
        raise InvalidError(kind, "labels", "must be a mapping", labels)
    pairs = cast("Mapping[object, object]", labels)
    for name, value in pairs.items():
        _examine_text(kind, "labels", name)
        _examine_text(kind, "labels", value)


def is_count(value: object) -> bool:
    """Tell whether a value is a whole number of things that a float can hold."""
    return isinstance(value, int) and not isinstance(value, bool) and float(value) >= 0


def _examine_point(kind: str, name: str, count: object, total: object, bounds: Any, counts: Any) -> None:
    if not is_count(count):
        raise InvalidError(kind, "count", "must be an int >= 0", count, name)
    _measured(kind, "sum", total, Measure(None, Kind.HISTOGRAM, ""), name)
    if not issubclass(type(bounds), tuple) or not _rise(bounds):
        raise InvalidError(kind, "bounds", "must be a tuple of finite numbers, strictly increasing", bounds, name)
    if not issubclass(type(counts), tuple) or not _fill(counts, len(bounds) + 1, count):
        rule = "must be a tuple of ints >= 0, one more than bounds, that sum to count"
        raise InvalidError(kind, "counts", rule, counts, name)


def _rise(bounds: tuple[Any, ...]) -> bool:
    if not all(isinstance(bound, float | int) and math.isfinite(bound) for bound in bounds):
        return False
    return all(low < high for low, high in pairwise(bounds))


def _fill(counts: tuple[Any, ...], buckets: int, count: object) -> bool:
    return len(counts) == buckets and all(is_count(one) for one in counts) and sum(counts) == count
