"""Functions compiled from an event class's declaration, as attrs compiles ``__init__``: its recorder, and one check.

Straight-line code for the fields of a class costs half as much as a loop over them. Tracebacks show it.
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
from .values import UNCHANGING, by_value, captured, read_only

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
"""As the recorders of built-in events are written. The row is built before its list is looked up, because code that
re-enters the buffer may exchange the list."""

_ROW_OF_LABEL_SET = """\
labels = labels.copy() if type(labels) is dict and not is_tracked(labels) else captured(labels)
if timestamp is None:
    row = (_class, time_ns(){values})
else:
    row = UnusualRow((_class, timestamp{values}))"""
"""See :mod:`.values`."""

_ROW_OF_LABELS = """\
if {unusual}:
    row = UnusualRow((_class, {timestamp}{captured}))
else:
    row = (_class, time_ns(){values})"""
"""A plain tuple shows that each label has its declared type."""

_UNCHANGING = """\
def unchanging(event):
    return {conditions}
"""

_RESERVED = {"self", "timestamp", "buffer", "rows", "ident", "row", "time_ns", "get_ident", "len"} | {
    *("captured", "by_value", "is_tracked", "UnusualRow", "_type", "_bool", "_int", "_str")
}


def compiled_recorder(event_class: type[MetricEvent], number: int) -> Callable[..., None] | None:
    """Compile a recorder: a method of an object with a ``_buffer`` that takes the arguments of the class.

    Args:
        event_class: the class.
        number: what stands for the class in rows.

    Returns:
        The method; None for a class whose constructor does more than store its arguments.
    """
    schema = event_class.__metric_schema__
    fields = _fields(event_class)
    if schema is None or not _only_stores(event_class, [fields[name] for name in schema.fields]):
        return None
    names: dict[str, Any] = {
        "_class": number,
        "time_ns": time.time_ns,
        "captured": captured,
        "by_value": by_value,
        "is_tracked": is_tracked,
        "UnusualRow": UnusualRow,
    }
    names |= {"_type": type, "_bool": bool, "_int": int, "_str": str}  # arguments never begin with an underscore
    parameters: list[str] = []
    for field in (fields[name] for name in schema.fields):
        optional = field.default is not attrs.NOTHING
        names[f"default_{field.alias}"] = field.default
        parameters.append(f"{field.alias}=default_{field.alias}" if optional else f"{field.alias}")
    source = _RECORDER.format(
        parameters=", ".join([*parameters, "*", "timestamp=None"]),
        row=_recorded_row(schema, fields).replace("\n", "\n    "),
    )
    return trio.lowlevel.enable_ki_protection(_compiled(event_class, "record", source, names))


def _recorded_row(schema: Schema, fields: dict[str, Any]) -> str:
    """Return statements that build the row, with each label that could change captured by value."""
    now = "time_ns() if timestamp is None else timestamp"
    values = [fields[name].alias for name in schema.fields]
    if schema.named:
        return _ROW_OF_LABEL_SET.format(values=_listed(values))
    unusual = ["timestamp is not None"]
    labels = {label.field for label in schema.labels}
    for field in (fields[name] for name in schema.fields if name in labels):
        other = f"_type({field.alias}) is not _{declared_type(field.type)}"
        unusual.append(f"({field.alias} is not None and {other})" if field.default is None else other)
    captured = [f"by_value({fields[name].alias})" if name in labels else fields[name].alias for name in schema.fields]
    return _ROW_OF_LABELS.format(
        unusual=" or ".join(unusual), timestamp=now, captured=_listed(captured), values=_listed(values)
    )


def row_of_event(event: MetricEvent) -> UnusualRow:
    """Return the row of an event, whose labels can no longer change. Never raises."""
    return UnusualRow(_event_by_value(event))


def _event_by_value(event: MetricEvent) -> MetricEvent:
    """Return an event whose labels can no longer change: the event itself if it is one. Never raises."""
    try:
        if _unchanging_of(type(event))(event):
            return event
        changed: dict[str, object] = {}
        for label in event.__metric_schema__.labels if event.__metric_schema__ is not None else ():
            value = getattr(event, label.field)
            kept = by_value(value)
            if kept is not value:
                changed[label.field] = kept
        if not changed:
            return event
        copied = copy.copy(event)
        for field, kept in changed.items():
            object.__setattr__(copied, field, kept)
    except Exception:  # noqa: BLE001 - an event may run any code; if it cannot be read later, it is counted as invalid
        return event
    return copied


def _unchanging_of(event_class: type[MetricEvent]) -> Callable[[Any], bool]:
    """Return a function that tells whether all labels of an event have types whose values never change.

    It may raise. It is compiled once for each class that has a declaration of its own, and kept on that class.
    """
    found: Callable[[Any], bool] | None = event_class.__metric_unchanging__
    if found is None:
        schema = event_class.__metric_schema__
        if schema is None:
            return bool
        kinds = [f"(type(event.{one.field}) is str or type(event.{one.field}) in UNCHANGING)" for one in schema.labels]
        source = _UNCHANGING.format(conditions=" and ".join(kinds) or "True")
        found = _compiled(event_class, "unchanging", source, {"UNCHANGING": UNCHANGING})
        event_class.__metric_unchanging__ = staticmethod(found)
    return found


def _listed(values: Iterable[str]) -> str:
    return "".join(f", {value}" for value in values)


def _fields(event_class: Any) -> dict[str, Any]:
    return {field.name: field for field in attrs.fields(event_class)}


def _only_stores(event_class: type, fields: Sequence[Any]) -> bool:
    """Return whether building the event later is unobservable: the class has no validators, converters or hooks."""
    maker = next(base for base in event_class.__mro__ if "__init__" in vars(base))
    if "__attrs_attrs__" not in vars(maker) or any("__new__" in vars(base) for base in event_class.__mro__[:-1]):
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


def _compiled(event_class: type, name: str, source: str, names: dict[str, Any]) -> FunctionType:
    file = f"<trio_batchmetrics {name} {event_class.__module__}.{event_class.__qualname__}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), names)  # noqa: S102 - source made of a declaration's field names, which are identifiers
    function: FunctionType = names[name]
    function.__qualname__ = f"{event_class.__qualname__}.{name}"
    return function
