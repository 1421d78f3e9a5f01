"""How an event class is declared: ``label()``, ``measure()`` and ``@metric_event``."""

from __future__ import annotations

import enum
import inspect
import re
import types
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Literal, TypeVar, cast, dataclass_transform, overload

import attrs

from .._exceptions import ConfigError, DeclarationError
from .._reprs import tolerant_repr
from .bounds import checked_bounds
from .schema import Kind, LabelField, Measure, MetricEvent, Schema
from .values import text

__all__ = ["instrument_name", "label", "label_set", "measure", "metric_event", "seconds", "value_of"]

_EventT = TypeVar("_EventT")

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_./-]{0,254}")
"""OpenTelemetry's "instrument name syntax" (metrics API specification)."""

_UNIT_MAX_CHARS = 63
"""OpenTelemetry's "instrument unit" (metrics API specification): at most 63 ASCII characters."""


class _Role(enum.Enum):
    LABEL = enum.auto()
    MEASURE = enum.auto()
    NAME = enum.auto()
    LABELS = enum.auto()


_ROLE = "trio_batchmetrics role"
_SPEC = "trio_batchmetrics spec"


def _field(role: _Role, spec: dict[str, object], default: object, converter: Callable[[Any], Any] | None = None) -> Any:
    return attrs.field(
        default=attrs.NOTHING if default is ... else default,
        converter=converter,
        metadata={_ROLE: role, _SPEC: spec},
        hash=False if role is _Role.LABELS else None,
    )


def label(name: str | None = None, *, default: Any = ...) -> Any:
    """Declare a field of a :func:`metric_event` class as a label.

    Args:
        name: the label's name; by default the field's.
        default: the field's default value; by default it has none.

    Returns:
        A field specifier; use it as the field's value in the class body.
    """
    return _field(_Role.LABEL, {"name": name}, default)


def measure(
    kind: type[MetricEvent],
    name: str,
    *,
    unit: str = "",
    description: str = "",
    bounds: Iterable[float] | None = None,
    default: Any = ...,
) -> Any:
    """Declare a field of a :func:`metric_event` class as measured by an instrument.

    Args:
        kind: the class ``Counter``, ``Histogram`` or ``Gauge``.
        name: the instrument's name, as OpenTelemetry allows them.
        unit: the instrument's unit; values in ``s`` may be given as ``timedelta`` and are never negative.
        description: one sentence for people.
        bounds: bucket bounds of a histogram; by default those that suit the unit.
        default: the field's default value; by default it has none.

    Returns:
        A field specifier; use it as the field's value in the class body. The class decorator raises what is wrong.
    """
    spec: dict[str, object] = {"kind": kind, "name": name, "unit": unit, "description": description, "bounds": bounds}
    return _field(_Role.MEASURE, spec, default, seconds if unit == "s" else None)


def value_of(kind: Kind) -> Any:
    """Declare the measured field of an event that names its own instrument, such as ``Counter``."""
    return _field(_Role.MEASURE, {"kind": kind, "name": ""}, ...)


def instrument_name() -> Any:
    """Declare the field that holds the name of an event's own instrument, as in ``Counter``."""
    return _field(_Role.NAME, {}, ...)


def label_set(converter: Callable[[Any], Any]) -> Any:
    """Declare the field that holds an event's own labels, as in ``Counter``."""
    return _field(_Role.LABELS, {}, ..., converter)


def seconds(value: object) -> Any:
    """Convert a duration to float seconds; return any other object as it is, for validation to refuse. Never raises."""
    if type(value) is float:
        return value
    try:
        if isinstance(value, timedelta):
            return value.total_seconds()
        kind = type(value)
        if kind is bool or not (hasattr(kind, "__float__") or hasattr(kind, "__index__")):
            return value
        return float(cast("Any", value))
    except Exception:  # noqa: BLE001 - a value may run any code; the event is counted as invalid
        return value


@overload
def metric_event(cls: type[_EventT], /) -> type[_EventT]: ...
@overload
def metric_event(*, counts: str | None = None) -> Callable[[type[_EventT]], type[_EventT]]: ...
@dataclass_transform(frozen_default=True, field_specifiers=(label, measure, value_of, instrument_name, label_set))
def metric_event(cls: Any = None, /, *, counts: str | None = None) -> Any:
    """Create an event class from a declaration: every field is a :func:`label` or a :func:`measure`.

    The class becomes a frozen attrs class and a :class:`MetricEvent` (name that as its base if a type checker should
    know ``timestamp``). Every sink handles its events without any change.

    Args:
        cls: the class.
        counts: the name of a counter that each event adds 1 to.

    Raises:
        DeclarationError: the declaration is invalid: two measures with one name differ in kind or unit, a label is also
            measured, an instrument's name is illegal, a field is neither label nor measure, or bounds do not increase.

    Example:
        >>> from trio_batchmetrics import Counter, Histogram, label, measure, metric_event
        >>> @metric_event
        ... class LLMCall:
        ...     model: str = label("gen_ai.request.model")
        ...     tokens: int = measure(Counter, "gen_ai.client.tokens", unit="{token}")
        ...     seconds: float = measure(Histogram, "gen_ai.client.operation.duration", unit="s")
        >>> LLMCall("gpt-4", 321, seconds=0.25, timestamp=1)
        LLMCall(model='gpt-4', tokens=321, seconds=0.25, timestamp=1)
    """

    def make(cls: type) -> type:
        try:
            made: Any = attrs.frozen(
                _with_base(cls), auto_attribs=True, weakref_slot=False, field_transformer=_timestamp_last
            )
            made = tolerant_repr(made)
        except attrs.exceptions.UnannotatedAttributeError as exc:
            raise DeclarationError(f"{cls.__name__}: {exc}") from None
        made.__metric_schema__, made.__metric_unchanging__ = _read_declaration(made, counts), None
        finished: type = made
        return finished

    return make if cls is None else make(cls)


def _timestamp_last(_: type, fields: list[attrs.Attribute[Any]]) -> list[attrs.Attribute[Any]]:
    return sorted(fields, key=lambda field: field.name == "timestamp")


def _with_base(cls: type) -> type:
    """Return the class as a subclass of MetricEvent; if it isn't one yet, create it again with that base."""
    if issubclass(cls, MetricEvent):
        return cls
    namespace = {name: value for name, value in cls.__dict__.items() if name not in ("__dict__", "__weakref__")}
    namespace["__qualname__"] = cls.__qualname__
    bases = (*(base for base in cls.__bases__ if base is not object), MetricEvent)
    made = types.new_class(cls.__name__, bases, exec_body=lambda body: body.update(namespace))
    for value in namespace.values():  # super() and __class__ in its methods must mean the new class
        function = getattr(value, "__func__", getattr(value, "fget", value))
        for cell in getattr(function, "__closure__", None) or ():
            if cell.cell_contents is cls:
                cell.cell_contents = made
    return made


def _read_declaration(cls: type, counts: str | None) -> Schema:
    """Read a class's declaration.

    Raises:
        DeclarationError: it is invalid.
    """
    labels: list[LabelField] = []
    measures: list[Measure] = []
    named = False
    own = [field for field in attrs.fields(cls) if field.name != "timestamp"]
    for field in own:
        role, spec = field.metadata.get(_ROLE), field.metadata.get(_SPEC, {})
        if role is _Role.LABEL:
            labels.append(_label(cls, field.name, spec["name"]))
        elif role is _Role.MEASURE:
            measures.append(_measure(cls, field.name, spec))
        elif role in (_Role.NAME, _Role.LABELS):
            named = True
        else:
            raise DeclarationError(f"{cls.__name__}.{field.name} must be declared with label() or measure()")
    if "timestamp" in inspect.get_annotations(cls):
        raise DeclarationError(f"{cls.__name__}.timestamp: every event has it already")
    if named and (labels or counts is not None or any(item.name for item in measures)):
        raise DeclarationError(f"{cls.__name__}: an event that names its instrument cannot declare labels or measures")
    if counts is not None:
        measures.append(Measure(None, Kind.COUNTER, _checked_name(cls, "counts", counts), "{event}"))
    _check_conflicts(cls, labels, measures)
    return Schema(tuple(field.name for field in own), tuple(labels), tuple(measures), named, event_class=cls)


def _label(cls: type, field: str, name: object) -> LabelField:
    name = field if name is None else name
    if not isinstance(name, str) or not name:
        raise DeclarationError(f"{cls.__name__}.{field}: a label's name must be a non-empty str (got {name!r})")
    return LabelField(field, text(name) or "")


def _measure(cls: type, field: str, spec: dict[str, Any]) -> Measure:
    where = f"{cls.__name__}.{field}"
    if isinstance(
        spec["kind"], Kind
    ):  # the built-in Counter, Histogram and Gauge: name and labels come with each event
        return Measure(field, spec["kind"], spec["name"])
    schema: Schema | None = getattr(spec["kind"], "__metric_schema__", None)
    if schema is None or not schema.named or schema.buckets:
        raise DeclarationError(f"{where}: measure() takes Counter, Histogram or Gauge (got {spec['kind']!r})")
    kind = schema.measures[0].kind
    unit, bounds = spec["unit"], spec["bounds"]
    if not isinstance(unit, str) or not unit.isascii() or len(unit) > _UNIT_MAX_CHARS:
        raise DeclarationError(f"{where}: a unit must be at most {_UNIT_MAX_CHARS} ASCII characters (got {unit!r})")
    if not isinstance(spec["description"], str):
        raise DeclarationError(f"{where}: a description must be a str (got {spec['description']!r})")
    if bounds is not None:
        if kind is not Kind.HISTOGRAM:
            raise DeclarationError(f"{where}: only a Histogram has bounds")
        try:
            bounds = checked_bounds("bounds", bounds)
        except ConfigError as exc:
            raise DeclarationError(f"{where}: {exc}") from None
    return Measure(field, kind, _checked_name(cls, field, spec["name"]), unit, text(spec["description"]) or "", bounds)


def _checked_name(cls: type, field: str | Literal["counts"], name: object) -> str:
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        rule = "a letter, then at most 254 of letters, digits, '_', '.', '-', '/'"
        raise DeclarationError(f"{cls.__name__}.{field}: an instrument's name must be {rule} (got {name!r})")
    return name


def _check_conflicts(cls: type, labels: list[LabelField], measures: list[Measure]) -> None:
    taken: dict[str, str] = {}
    for one in labels:
        if one.name in taken:
            where, other = f"{cls.__name__}.{one.field}", taken[one.name]
            raise DeclarationError(f"{where}: {other!r} has the label {one.name!r} already")
        taken[one.name] = one.field
    instruments: dict[str, Measure] = {}
    for item in measures:
        where = f"{cls.__name__}.{item.field or 'counts'}"
        if item.name in taken:
            raise DeclarationError(f"{where}: {item.name!r} is a label, it cannot be measured too")
        first = instruments.setdefault(item.name.lower(), item)
        if (first.kind, first.unit) != (item.kind, item.unit):
            raise DeclarationError(
                f"{where}: {item.name!r} is a {first.kind.value} in {first.unit!r} already, by {first.field}"
            )
