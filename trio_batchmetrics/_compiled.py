"""Functions compiled from an event class's declaration, as attrs compiles ``__init__``: recorder, check, row.

Straight-line code for the fields that a class has costs half of what a loop over them does. Tracebacks show it.
"""

from __future__ import annotations

import linecache
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from threading import get_ident
from types import FunctionType
from typing import Any

import attrs
import trio

from ._events import captured
from ._schema import Kind, Measure, MetricEvent, Schema, seconds

__all__ = ["Plan", "compiled_recorder", "plan_of"]

_RECORDER = """\
def {name}(self, {parameters}):
    {capture}
    intake = self._intake
    ident = get_ident()
    if ident != intake.gate:
        if intake.admits(ident):
            intake.put_slowly(ident, (event_class, {timestamp}{values}))
        return
    row = (event_class, {timestamp}{values})
    intake.rows.append(row)
    if len(intake.rows) >= intake.limit:
        intake.look()
"""
"""``Intake.put``, written out. The row is made before its list is looked up: what re-enters may exchange the list."""

_CHECK = """\
def check(rows):
    for _, timestamp{values} in rows:
        if not (type(timestamp) is int {conditions}):
            return False
        {label_loop}
    return True
"""

_LABEL_LOOP = """\
for name, value in labels.items():
            if not (type(name) is str and {condition}):
                return False
"""

_ROW = """\
def row(event):
    return (event_class, event.timestamp{values})
"""

_RESERVED = {"self", "timestamp", "intake", "ident", "row", "event_class", "time_ns", "get_ident", "len", "captured"}
_LARGE = 1 << 63
"""From here on an int among labels is looked at closely: text may not be had of it (``sys.set_int_max_str_digits``)."""


@attrs.frozen
class Plan:
    """What is compiled for one event class."""

    check: Callable[[Sequence[Any]], bool]
    """Whether every row of the class is valid as it stands. False where it takes a closer look to tell."""
    row: Callable[[Any], tuple[Any, ...]]
    """The row that an event stands for."""


def plan_of(event_class: type[MetricEvent]) -> Plan:
    """Return what is compiled for a class, the same each time; it is kept on the class."""
    plan: Plan | None = event_class.__dict__.get("__metric_plan__")
    if plan is None:
        event_class.__metric_plan__ = plan = _plan(event_class)
    return plan


def _plan(event_class: type[MetricEvent]) -> Plan:
    schema = event_class.__metric_schema__
    if schema is None:
        return Plan(_never, partial(_no_row, event_class))
    names = {"event_class": event_class}
    values = "".join(f", event.{field}" for field in schema.fields)
    row = _compiled(event_class, "row", _ROW.format(values=values), names)
    return Plan(_never if schema.buckets else _compiled(event_class, "check", _check(event_class, schema), {}), row)


def _never(rows: Sequence[Any]) -> bool:
    return not rows


def _no_row(event_class: type, event: Any) -> tuple[Any, ...]:
    return (event_class, event.timestamp)


def _check(event_class: type[MetricEvent], schema: Schema) -> str:
    """Return the source of the check of a class."""
    measures = {measure.field: measure for measure in schema.measures}
    labels = {label.field for label in schema.labels}
    types = {name: field.type for name, field in _fields(event_class).items()}
    conditions: list[str] = []
    for at, field in enumerate(schema.fields):
        if field in measures:
            conditions.append(_number_condition(f"v{at}", measures[field]))
        elif field in labels:
            conditions.append(_label_condition(f"v{at}", types[field]))
    values = [f"v{at}" for at in range(len(schema.fields))]
    label_loop = ""
    if schema.named:
        values[:2] = "name", "labels"
        conditions.append("type(name) is str and name and type(labels) is dict")
        label_loop = _LABEL_LOOP.format(condition=_label_condition("value", None))
    together = "".join(f"and {condition} " for condition in conditions)
    return _CHECK.format(values="".join(f", {value}" for value in values), conditions=together, label_loop=label_loop)


def _number_condition(value: str, measure: Measure) -> str:
    most = sys.float_info.max
    least = -most if measure.negative else 0
    types = ["float", "int"]
    if measure.kind is Kind.GAUGE and measure.name:
        types.append("bool")
    either = " or ".join(f"type({value}) is {one}" for one in types)
    return f"({either}) and {least!r} <= {value} <= {most!r}"


def _label_condition(value: str, annotation: object) -> str:
    """Return a condition for values that are equal only where their texts are: never both bools and ints."""
    declared = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    text = f"type({value}) is str"
    if declared.split(" ")[0] == "bool":
        return f"(type({value}) is bool or {text} or {value} is None)"
    number = f"type({value}) is int and {-_LARGE} < {value} < {_LARGE}"
    first, second = (number, text) if declared.split(" ")[0] == "int" else (text, number)
    return f"({first} or {second} or {value} is None)"


def compiled_recorder(
    event_class: type[MetricEvent], name: str = "record", *, timestamp: bool
) -> Callable[..., None] | None:
    """Compile a recorder: a method of what has an ``_intake``, that takes what the class's constructor takes.

    Args:
        event_class: an event class.
        name: the method's name.
        timestamp: whether it takes the keyword ``timestamp`` too.

    Returns:
        The method; None for a class whose constructor does more than to keep what it is given.
    """
    schema = event_class.__metric_schema__
    fields = _fields(event_class)
    if schema is None or not _keeps_what_it_is_given(event_class, [fields[name] for name in schema.fields]):
        return None
    names: dict[str, Any] = {
        "event_class": event_class,
        "time_ns": time.time_ns,
        "get_ident": get_ident,
        "captured": captured,
    }
    parameters: list[str] = []
    for field in (fields[name] for name in schema.fields):
        optional = field.default is not attrs.NOTHING
        names[f"default_{field.alias}"] = field.default
        parameters.append(f"{field.alias}=default_{field.alias}" if optional else f"{field.alias}")
    source = _RECORDER.format(
        name=name,
        parameters=", ".join([*parameters, *(["*", "timestamp=None"] if timestamp else [])]),
        capture="labels = labels.copy() if type(labels) is dict else captured(labels)" if schema.named else "",
        timestamp="time_ns() if timestamp is None else timestamp" if timestamp else "time_ns()",
        values="".join(f", {fields[name].alias}" for name in schema.fields),
    )
    return trio.lowlevel.enable_ki_protection(_compiled(event_class, name, source, names))


def _fields(event_class: Any) -> dict[str, Any]:
    return {field.name: field for field in attrs.fields(event_class)}


def _keeps_what_it_is_given(event_class: type, fields: Sequence[Any]) -> bool:
    """Tell whether an event can be made later of what a recorder is given now, with nothing noticed in between."""
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
        and field.converter in (None, seconds, captured)
        for field in fields
    )


def _compiled(event_class: type, name: str, source: str, names: dict[str, Any]) -> FunctionType:
    file = f"<trio_batchmetrics {name} {event_class.__module__}.{event_class.__qualname__}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), names)  # noqa: S102 - source made of a declaration's field names, which are identifiers
    function: FunctionType = names[name]
    function.__qualname__ = f"{event_class.__qualname__}.{name}"
    return function
