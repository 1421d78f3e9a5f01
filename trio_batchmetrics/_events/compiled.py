"""Compiles functions from an event class's declaration, as attrs compiles ``__init__``: its recorder, and one check.

Straight-line code for a class's fields costs half as much as a loop over them. Tracebacks show this code.
"""

from __future__ import annotations

import copy
import linecache
import time
from collections.abc import Callable, Iterable, Sequence
from gc import is_tracked
from types import FunctionType
from typing import Any

import attrs
import trio

from .declaring import seconds
from .reading import declared_type
from .rows import UnusualRow
from .schema import MetricEvent, Schema
from .values import IMMUTABLE_TYPES, by_value, captured, read_only

__all__ = ["compiled_recorder", "row_of_event"]

_RECORDER = """\
def record(self, {parameters}):
    buffer = self._buffer
    if not (buffer.gate or buffer.admits()):
        return
    {row}
    if buffer.gate:
        rows = buffer.rows
        rows.append(row)
        if len(rows) >= buffer.limit:
            buffer.maintain()
    else:
        buffer.put_slowly(row)
"""
"""The same code as in the recorders of built-in events. The row is built before the list is looked up, as code that
re-enters the buffer may replace the list."""

_ROW_OF_LABEL_SET = """\
labels = labels.copy() if type(labels) is dict and not is_tracked(labels) else captured(labels)
if timestamp is None:
    row = (_class, time_ns(){values})
else:
    row = UnusualRow((_class, timestamp{values}))"""
"""For the check of the labels, see :mod:`.values`."""

_ROW_OF_LABELS = """\
if {unusual}:
    row = UnusualRow((_class, {timestamp}{captured}))
else:
    row = (_class, time_ns(){values})"""
"""In a plain tuple, each label has its declared type."""

_IMMUTABILITY_CHECK = """\
def is_immutable(event):
    return {conditions}
"""

_RESERVED = {"self", "timestamp", "buffer", "rows", "ident", "row", "time_ns", "get_ident", "len"} | {
    *("captured", "by_value", "is_tracked", "UnusualRow", "_type", "_bool", "_int", "_str")
}


def compiled_recorder(event_class: type[MetricEvent], number: int) -> Callable[..., None] | None:
    """Compile a recorder: a method with the class's arguments, for an object that has a ``_buffer``.

    Args:
        event_class: the class.
        number: the class's number in rows.

    Returns:
        The method; None if the class's constructor does more than store its arguments.
    """
    schema = event_class.__metric_schema__
    fields = _fields_by_name(event_class)
    if schema is None or not _only_stores_arguments(event_class, [fields[name] for name in schema.fields]):
        return None
    names: dict[str, Any] = {
        "_class": number,
        "time_ns": time.time_ns,
        "captured": captured,
        "by_value": by_value,
        "is_tracked": is_tracked,
        "UnusualRow": UnusualRow,
    }
    names |= {"_type": type, "_bool": bool, "_int": int, "_str": str}  # no argument begins with an underscore
    parameters: list[str] = []
    for field in (fields[name] for name in schema.fields):
        optional = field.default is not attrs.NOTHING
        names[f"default_{field.alias}"] = field.default
        parameters.append(f"{field.alias}=default_{field.alias}" if optional else f"{field.alias}")
    source = _RECORDER.format(
        parameters=", ".join([*parameters, "*", "timestamp=None"]),
        row=_row_source(schema, fields).replace("\n", "\n    "),
    )
    return trio.lowlevel.enable_ki_protection(_compile(event_class, "record", source, names))


def _row_source(schema: Schema, fields: dict[str, Any]) -> str:
    """Return the statements that build the row and capture mutable labels by value."""
    now = "time_ns() if timestamp is None else timestamp"
    values = [fields[name].alias for name in schema.fields]
    if schema.named:
        return _ROW_OF_LABEL_SET.format(values=_tuple_items(values))
    unusual = ["timestamp is not None"]
    labels = {label.field for label in schema.labels}
    for field in (fields[name] for name in schema.fields if name in labels):
        has_other_type = f"_type({field.alias}) is not _{declared_type(field.type)}"
        unusual.append(f"({field.alias} is not None and {has_other_type})" if field.default is None else has_other_type)
    captured = [f"by_value({fields[name].alias})" if name in labels else fields[name].alias for name in schema.fields]
    return _ROW_OF_LABELS.format(
        unusual=" or ".join(unusual), timestamp=now, captured=_tuple_items(captured), values=_tuple_items(values)
    )


def row_of_event(event: MetricEvent) -> UnusualRow:
    """Return the row of an event, with its labels captured by value. Never raises."""
    return UnusualRow(_captured_event(event))


def _captured_event(event: MetricEvent) -> MetricEvent:
    """Return an event whose labels are immutable: the event itself, or a copy. Never raises."""
    try:
        if _immutability_check(type(event))(event):
            return event
        changed: dict[str, object] = {}
        for label in event.__metric_schema__.labels if event.__metric_schema__ is not None else ():
            value = getattr(event, label.field)
            captured_value = by_value(value)
            if captured_value is not value:
                changed[label.field] = captured_value
        if not changed:
            return event
        copied = copy.copy(event)
        for field, captured_value in changed.items():
            object.__setattr__(copied, field, captured_value)
    except Exception:  # noqa: BLE001 - an event may run any code; if it cannot be read later, it is counted as invalid
        return event
    return copied


def _immutability_check(event_class: type[MetricEvent]) -> Callable[[Any], bool]:
    """Return a function that checks whether all labels of an event have immutable types.

    It may raise. It is compiled once per class with its own declaration, and kept on that class.
    """
    check: Callable[[Any], bool] | None = event_class.__metric_unchanging__
    if check is None:
        schema = event_class.__metric_schema__
        if schema is None:
            return bool
        checks = [
            f"(type(event.{label.field}) is str or type(event.{label.field}) in IMMUTABLE_TYPES)"
            for label in schema.labels
        ]
        source = _IMMUTABILITY_CHECK.format(conditions=" and ".join(checks) or "True")
        check = _compile(event_class, "is_immutable", source, {"IMMUTABLE_TYPES": IMMUTABLE_TYPES})
        event_class.__metric_unchanging__ = staticmethod(check)
    return check


def _tuple_items(values: Iterable[str]) -> str:
    return "".join(f", {value}" for value in values)


def _fields_by_name(event_class: Any) -> dict[str, Any]:
    return {field.name: field for field in attrs.fields(event_class)}


def _only_stores_arguments(event_class: type, fields: Sequence[Any]) -> bool:
    """Return whether an event can be built later unnoticed: the class has no validators, converters or hooks."""
    init_owner = next(base for base in event_class.__mro__ if "__init__" in vars(base))
    if "__attrs_attrs__" not in vars(init_owner) or any("__new__" in vars(base) for base in event_class.__mro__[:-1]):
        return False
    if any(hasattr(event_class, hook) for hook in ("__attrs_init__", "__attrs_pre_init__", "__attrs_post_init__")):
        return False
    return all(
        field.init
        and field.alias not in _RESERVED
        and not hasattr(field.default, "takes_self")  # an attrs.Factory
        and field.validator is None
        and field.converter in (None, seconds, read_only)
        for field in fields
    )


def _compile(event_class: type, name: str, source: str, names: dict[str, Any]) -> FunctionType:
    file = f"<trio_batchmetrics {name} {event_class.__module__}.{event_class.__qualname__}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), names)  # noqa: S102 - source made of a declaration's field names, which are identifiers
    function: FunctionType = names[name]
    function.__qualname__ = f"{event_class.__qualname__}.{name}"
    return function
