"""Functions compiled from an event class's declaration, as attrs compiles ``__init__``: recorder, checks, row.

Straight-line code for the fields that a class has costs half of what a loop over them does. Tracebacks show it.
"""

from __future__ import annotations

import copy
import linecache
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from gc import is_tracked
from types import FunctionType
from typing import Any

import attrs
import trio

from .batch import UnusualRow
from .points import LARGE, check_points, points_with_plain_labels
from .schema import Kind, Measure, MetricEvent, Schema, seconds
from .values import UNCHANGING, ReadOnlyDict, by_value, captured, read_only, text

__all__ = ["Plan", "compiled_recorder", "event_by_value", "plan_of"]

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
"""As the recorders of built-in events are written. The row is made before its list is looked up: what re-enters may
exchange the list."""

_ROW_OF_LABEL_SET = """\
labels = labels.copy() if type(labels) is dict and not is_tracked(labels) else captured(labels)
row = (event_class, {timestamp}{values})"""
"""See :mod:`.values`."""

_ROW_OF_LABELS = """\
if {unusual}:
    row = UnusualRow((event_class, {timestamp}{captured}))
else:
    row = (event_class, time_ns(){values})"""
"""A plain tuple tells that each label has the type that was declared."""

_CHECK = """\
def check(rows):
    for _, timestamp{values} in rows:
        if not (type(timestamp) is int {conditions}):
            return False
        {label_loop}
    return True
"""

_CHECK_RECORDED = """\
def check_recorded(rows):
    for row in rows:
        if type(row) is not tuple or row[0] is not event_class:
            return False
        _, timestamp{values} = row
        if not ({conditions}):
            return False
        {label_loop}
    return True
"""

_LABEL_LOOP = """\
for key, item in labels.items():
            if not (type(key) is str and {condition}):
                return False
"""

_WITH_PLAIN_LABELS = """\
def with_plain_labels(rows):
    made = []
    for row in rows:
        _, timestamp{values} = row
        if not (type(timestamp) is int {conditions}):
            return None
        {made}
    return made
"""

_MADE_OF_LABELS = "made.append(row if {condition} else (event_class, timestamp{texts}))"

_MADE_OF_LABEL_SET = """\
for key, item in labels.items():
            if not (type(key) is str and {condition}):
                break
        else:
            made.append(row)
            continue
        texts = {{}}
        for key, item in labels.items():
            if (string := {text}) is not None:
                texts[key if type(key) is str else text(key)] = string
        made.append((event_class, timestamp, name, texts, value))
"""

_TEXT = (
    '{value} if type({value}) is str else ("true" if {value} else "false") if type({value}) is bool else text({value})'
)

_ROW = """\
def row(event):
    return (event_class, event.timestamp{values})
"""

_UNCHANGING = """\
def unchanging(event):
    return {conditions}
"""

_SMALL = (1 << 30) - 1
"""CPython compares ints below this, of one digit, faster than others."""

_RESERVED = {"self", "timestamp", "buffer", "rows", "ident", "row", "event_class", "time_ns", "get_ident", "len"} | {
    *("captured", "by_value", "is_tracked", "UnusualRow", "_type", "_bool", "_int", "_str")
}


class Plan:
    """What is compiled for one event class: each function when it is first asked for, in about 0.2 ms."""

    event_class: type[MetricEvent]
    check: Callable[[Sequence[Any]], bool]
    """Whether every row of the class is valid as it stands. False where it takes a closer look to tell."""
    check_recorded: Callable[[Sequence[Any]], bool]
    """The same of rows as the recorders leave them: False if any is an event, unusual, or of another class."""
    with_plain_labels: Callable[[Sequence[Any]], list[tuple[Any, ...]] | None]
    """Rows of the class with text for each label that is not plain; None where that is not enough. It may raise."""
    row: Callable[[Any], tuple[Any, ...]]
    """The row that an event stands for."""
    unchanging: Callable[[Any], bool]
    """Whether the labels of an event are of a kind that nothing can change. It may raise."""

    def __init__(self, event_class: type[MetricEvent]) -> None:
        """Compile nothing yet."""
        self.event_class = event_class

    def __getattr__(self, name: str) -> Any:
        """Compile a function; from then on it is there."""
        made = self._made(name)
        setattr(self, name, made)
        return made

    def _made(self, name: str) -> Any:
        event_class, schema = self.event_class, self.event_class.__metric_schema__
        found: Any = None
        if schema is None:
            found = {**_UNDECLARED, "row": partial(_no_row, event_class)}.get(name)
        elif schema.buckets and name in _POINTS:
            found = _POINTS[name]
        elif (source_of := _SOURCES.get(name)) is not None:
            names = {"event_class": event_class, "text": text, "ReadOnlyDict": ReadOnlyDict, "UNCHANGING": UNCHANGING}
            found = _compiled(event_class, name, source_of(event_class, schema), names)
        if found is None:
            raise AttributeError(name)
        return found


def plan_of(event_class: type[MetricEvent]) -> Plan:
    """Return what is compiled for a class, the same each time; it is kept on the class."""
    plan: Any = event_class.__metric_plan__
    if plan is None or plan.event_class is not event_class:  # a subclass has its base's until it has its own
        event_class.__metric_plan__ = plan = Plan(event_class)
    made: Plan = plan
    return made


def _never(rows: Sequence[Any]) -> bool:
    return not rows


def _none(_: Sequence[Any]) -> None:
    return None


def _no_row(event_class: type, event: Any) -> tuple[Any, ...]:
    return (event_class, event.timestamp)


_UNDECLARED: dict[str, Any] = {
    "check": _never,
    "check_recorded": _never,
    "with_plain_labels": _none,
    "unchanging": bool,
}
"""For a class that was never declared: none of its events is valid."""

_POINTS: dict[str, Any] = {
    "check": check_points,
    "check_recorded": _never,
    "with_plain_labels": points_with_plain_labels,
}


def _row(_: type[MetricEvent], schema: Schema) -> str:
    return _ROW.format(values="".join(f", event.{field}" for field in schema.fields))


def _unchanging(_: type[MetricEvent], schema: Schema) -> str:
    kinds = [f"(type(event.{one.field}) is str or type(event.{one.field}) in UNCHANGING)" for one in schema.labels]
    return _UNCHANGING.format(conditions=" and ".join(kinds) or "True")


def _check(event_class: type[MetricEvent], schema: Schema) -> str:
    values, conditions, label = _parts(event_class, schema)
    if schema.named:
        return _CHECK.format(values=values, conditions=conditions, label_loop=_LABEL_LOOP.format(condition=label))
    return _CHECK.format(values=values, conditions=f"{conditions}and {label} ", label_loop="")


def _check_recorded(event_class: type[MetricEvent], schema: Schema) -> str:
    values, conditions, label = _parts(event_class, schema)
    label_loop = ""
    if schema.named:
        conditions = f"type(timestamp) is int {conditions}"
        label_loop = _LABEL_LOOP.format(condition=label)
    else:
        place, fields = _places(schema), _fields(event_class)
        for one in schema.labels:
            if _declared_type(fields[one.field].type) == "int":
                none = f"{place[one.field]} is None or " if fields[one.field].default is None else ""
                conditions += f"and ({none}{_range_condition(place[one.field])}) "
        conditions = conditions.removeprefix("and ")
    return _CHECK_RECORDED.format(values=values, conditions=conditions or "True", label_loop=label_loop)


def _with_plain_labels(event_class: type[MetricEvent], schema: Schema) -> str:
    values, conditions, label = _parts(event_class, schema)
    if schema.named:
        made = _MADE_OF_LABEL_SET.format(condition=label, text=_TEXT.format(value="item"))
    else:
        place = _places(schema)
        texts = place | {one.field: _TEXT.format(value=place[one.field]) for one in schema.labels}
        made = _MADE_OF_LABELS.format(condition=label, texts=_listed(texts.values()))
    return _WITH_PLAIN_LABELS.format(values=values, conditions=conditions, made=made)


_SOURCES: dict[str, Callable[[type[MetricEvent], Schema], str]] = {
    "check": _check,
    "check_recorded": _check_recorded,
    "with_plain_labels": _with_plain_labels,
    "row": _row,
    "unchanging": _unchanging,
}
"""What returns the source of each function of a class that was declared."""


def _parts(event_class: type[MetricEvent], schema: Schema) -> tuple[str, str, str]:
    """Return the names of a row's values, the condition for those that are measured, and that for the labels."""
    if schema.named:
        number = _number_condition("value", schema.measures[0])
        labels_are_read = "(type(labels) is dict or type(labels) is ReadOnlyDict)"
        conditions = _together([number, "type(name) is str and name", labels_are_read])
        return _NAMED, conditions, _label_condition("item", None)
    place = _places(schema)
    types = {name: field.type for name, field in _fields(event_class).items()}
    numbers = [_number_condition(place[one.field], one) for one in schema.measures if one.field is not None]
    labels = [_label_condition(place[one.field], types[one.field]) for one in schema.labels]
    return _listed(place.values()), _together(numbers), " and ".join(labels) or "True"


def _places(schema: Schema) -> dict[str, str]:
    return {field: f"v{at}" for at, field in enumerate(schema.fields)}


_NAMED = ", name, labels, value"


def _listed(values: Iterable[str]) -> str:
    return "".join(f", {value}" for value in values)


def _together(conditions: Iterable[str]) -> str:
    return "".join(f"and {condition} " for condition in conditions)


def _number_condition(value: str, measure: Measure) -> str:
    most = sys.float_info.max
    least = -most if measure.negative else 0.0  # a float: CPython compares two of one type faster
    types = ["float", "int"]
    if measure.kind is Kind.GAUGE and measure.name:
        types.append("bool")
    either = " or ".join(f"type({value}) is {one}" for one in types)
    return f"({either}) and {least!r} <= {value} and {value} <= {most!r}"


def _label_condition(value: str, annotation: object) -> str:
    """Return a condition for values that are equal only where their texts are: never both bools and ints."""
    text = f"type({value}) is str"
    declared = _declared_type(annotation)
    if declared == "bool":
        return f"(type({value}) is bool or {text} or {value} is None)"
    number = f"type({value}) is int and ({_range_condition(value)})"
    first, second = (number, text) if declared == "int" else (text, number)
    return f"({first} or {second} or {value} is None)"


def _range_condition(value: str) -> str:
    """Return a condition for an int that is written the same everywhere."""
    return f"{-_SMALL} < {value} and {value} < {_SMALL} or {-LARGE} < {value} < {LARGE}"


def _declared_type(annotation: object) -> str:
    """Return which of the plain types a field is annotated with, ``None`` or not; else, str."""
    declared = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    first: str = declared.split(" ")[0]
    return first if first in ("bool", "int") else "str"


def compiled_recorder(event_class: type[MetricEvent]) -> Callable[..., None] | None:
    """Compile a recorder: a method of an object with a ``_buffer``, that takes what the class's constructor takes.

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
        "captured": captured,
        "by_value": by_value,
        "is_tracked": is_tracked,
        "UnusualRow": UnusualRow,
    }
    names |= {"_type": type, "_bool": bool, "_int": int, "_str": str}  # not names of fields: those lose underscores
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
    """Return statements that make the row, with each label that could change by value."""
    now = "time_ns() if timestamp is None else timestamp"
    values = [fields[name].alias for name in schema.fields]
    if schema.named:
        return _ROW_OF_LABEL_SET.format(timestamp=now, values=_listed(values))
    unusual = ["timestamp is not None"]
    labels = {label.field for label in schema.labels}
    for field in (fields[name] for name in schema.fields if name in labels):
        other = f"_type({field.alias}) is not _{_declared_type(field.type)}"
        unusual.append(f"({field.alias} is not None and {other})" if field.default is None else other)
    captured = [f"by_value({fields[name].alias})" if name in labels else fields[name].alias for name in schema.fields]
    return _ROW_OF_LABELS.format(
        unusual=" or ".join(unusual), timestamp=now, captured=_listed(captured), values=_listed(values)
    )


def event_by_value(event: MetricEvent) -> MetricEvent:
    """Return an event whose labels nothing can change any more: itself, if that is so. Never raises."""
    try:
        if plan_of(type(event)).unchanging(event):
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
