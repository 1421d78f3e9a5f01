"""How an event class says what it is: which fields are labels, which are measured.

A declaration is read once, when the class is made, into a :class:`Schema`; everything else (validation, sinks, series)
reads the schema and knows no class by name.
"""

from __future__ import annotations

import enum
import inspect
import re
import time
import types
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, ClassVar, Literal, TypeGuard, TypeVar, cast, dataclass_transform, overload

import attrs

from .._exceptions import ConfigError, DeclarationError
from .._reprs import tolerant_repr
from .bounds import checked_bounds
from .values import text

__all__ = [
    "COUNTER",
    "DEFAULT_BOUNDS",
    "GAUGE",
    "HISTOGRAM",
    "OVERFLOW",
    "SECONDS_BOUNDS",
    "Kind",
    "LabelField",
    "Measure",
    "MetricEvent",
    "Schema",
    "is_event",
    "label",
    "measure",
    "metric_event",
]

_EventT = TypeVar("_EventT")

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_./-]{0,254}")
"""OpenTelemetry's "instrument name syntax" (metrics API specification)."""

_UNIT_MAX_CHARS = 63
"""OpenTelemetry's "instrument unit" (metrics API specification): at most 63 ASCII characters."""

SECONDS_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Bounds of a histogram in seconds: OpenTelemetry's advice for ``http.server.request.duration``."""

DEFAULT_BOUNDS = (
    *(0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0),
    10_000.0,
)
"""Bounds of any other histogram: the default of OpenTelemetry's explicit bucket aggregation."""


_NAMED_BOUNDS = {"backend.request.duration": tuple(0.01 * 2**n for n in range(14))}
"""0.01 to 81.92 s: OpenTelemetry's advice for ``gen_ai.client.operation.duration``; models answer slowly."""


OVERFLOW = {"otel.metric.overflow": "true"}
"""Labels of the series that all label sets beyond ``max_series`` share (OpenTelemetry's "cardinality limits")."""


class Kind(enum.Enum):
    """What an instrument does with the values it is given."""

    COUNTER = "counter"
    """Adds them up; never negative."""
    HISTOGRAM = "histogram"
    """Counts them by bucket."""
    GAUGE = "gauge"
    """Keeps the last one."""


COUNTER, HISTOGRAM, GAUGE = Kind.COUNTER, Kind.HISTOGRAM, Kind.GAUGE
"""For what is done often: CPython 3.11 takes 0.2 µs to look up a member of an enum."""


@attrs.frozen
class LabelField:
    """A field that is a label."""

    field: str
    """The attribute of the event."""
    name: str
    """The label's name."""


@tolerant_repr
@attrs.frozen
class Measure:
    """A field that is measured, or the count of the events themselves."""

    field: str | None
    """The attribute of the event; None counts each event as 1."""
    kind: Kind
    """The instrument's kind."""
    name: str
    """The instrument's name; empty where the event carries the name (``Counter``, ``Histogram``, ``Gauge``)."""
    unit: str = ""
    """The instrument's unit, in UCUM as OpenTelemetry has it: ``s``, ``By``, ``{token}``."""
    description: str = ""
    """One sentence for people."""
    bounds: tuple[float, ...] | None = None
    """Bucket bounds of a histogram, as declared."""
    any_kind: bool = False
    """Whether the name was only described so far: it may become an instrument of any kind, and ``kind`` is a guess."""

    def of_kind(self, kind: Kind) -> Measure | None:
        """Return this for an instrument of that kind; None if it is of another."""
        if self.any_kind:
            bounds = self.bounds if kind is Kind.HISTOGRAM else None
            return attrs.evolve(self, kind=kind, bounds=bounds, any_kind=False)
        return self if self.kind is kind else None

    @property
    def seconds(self) -> bool:
        """Whether the values are durations: never negative, and a ``timedelta`` will do."""
        return self.unit == "s"

    @property
    def negative(self) -> bool:
        """Whether a value below 0 makes sense."""
        return self.kind is not Kind.COUNTER and not self.seconds

    @property
    def default_bounds(self) -> tuple[float, ...]:
        """The declared bounds, else those that suit the unit."""
        return self.bounds or _NAMED_BOUNDS.get(self.name) or (SECONDS_BOUNDS if self.seconds else DEFAULT_BOUNDS)


@attrs.frozen
class Schema:
    """What a class declared, in the order of its fields."""

    fields: tuple[str, ...]
    """Every field but ``timestamp``: the order of a row's values."""
    labels: tuple[LabelField, ...]
    """The label fields."""
    measures: tuple[Measure, ...]
    """The measured fields, and the count of events if asked for."""
    named: bool = False
    """The event carries its instrument's name and its labels itself, in fields ``name`` and ``labels``."""
    buckets: bool = False
    """The event is a ``HistogramPoint``: values already counted by bucket."""


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(attrs.field,))
def _event_base(cls: type[_EventT]) -> type[_EventT]:
    """Make the base an attrs class in a way that tells type checkers of its field, in subclasses too."""
    return tolerant_repr(attrs.frozen(cls, kw_only=True, weakref_slot=False))


@_event_base
class MetricEvent:
    """What every event is; the base of all event classes.

    Frozen. Events print, compare by all fields (``timestamp`` included), hash where their label values do, and pickle.
    """

    __metric_schema__: ClassVar[Schema | None] = None
    __metric_plan__: ClassVar[object] = None

    timestamp: int = attrs.field(factory=time.time_ns)
    """Wall-clock time in nanoseconds since 1970 (UTC), taken when the event is recorded or made."""


def is_event(event: object) -> TypeGuard[MetricEvent]:
    """Tell whether something is an event, without asking it: ``isinstance`` would run a ``__class__`` property."""
    return issubclass(type(event), MetricEvent)


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
        A field specifier; use it as the field's value in the class body. What cannot work is said when the class is
        made.
    """
    spec: dict[str, object] = {"kind": kind, "name": name, "unit": unit, "description": description, "bounds": bounds}
    return _field(_Role.MEASURE, spec, default, seconds if unit == "s" else None)


def value_of(kind: Kind) -> Any:
    """Declare the field that is measured by the instrument that the event names (``Counter`` and its like)."""
    return _field(_Role.MEASURE, {"kind": kind, "name": ""}, ...)


def instrument_name() -> Any:
    """Declare the field that holds an event's own instrument name (``Counter`` and its like)."""
    return _field(_Role.NAME, {}, ...)


def label_set(converter: Callable[[Any], Any]) -> Any:
    """Declare the field that holds an event's own labels (``Counter`` and its like)."""
    return _field(_Role.LABELS, {}, ..., converter)


def seconds(value: object) -> Any:
    """Turn a duration into float seconds; what is none is left for validation to refuse. Never raises."""
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
    """Make an event class of a declaration: every field is a :func:`label` or a :func:`measure`.

    The class becomes a frozen attrs class and a :class:`MetricEvent` (write that as its base where a type checker
    should know of ``timestamp``). Every sink handles its events with no change.

    Args:
        cls: the class.
        counts: the name of a counter that each event adds 1 to.

    Raises:
        DeclarationError: the declaration cannot work: two measures of one name that differ in kind or unit, a label
            that is also measured, an illegal instrument name, a field that is neither label nor measure, bounds that do
            not rise.

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
        made.__metric_schema__ = _read(made, counts)
        finished: type = made
        return finished

    return make if cls is None else make(cls)


def _timestamp_last(_: type, fields: list[attrs.Attribute[Any]]) -> list[attrs.Attribute[Any]]:
    return sorted(fields, key=lambda field: field.name == "timestamp")


def _with_base(cls: type) -> type:
    """Return the class as a subclass of MetricEvent; a class that is none yet is made anew."""
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


def _read(cls: type, counts: str | None) -> Schema:
    """Read a class's declaration.

    Raises:
        DeclarationError: it cannot work.
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
        measures.append(Measure(None, Kind.COUNTER, _legal(cls, "counts", counts), "{event}"))
    _no_clash(cls, labels, measures)
    return Schema(tuple(field.name for field in own), tuple(labels), tuple(measures), named)


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
    return Measure(field, kind, _legal(cls, field, spec["name"]), unit, text(spec["description"]) or "", bounds)


def _legal(cls: type, field: str | Literal["counts"], name: object) -> str:
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        rule = "a letter, then at most 254 of letters, digits, '_', '.', '-', '/'"
        raise DeclarationError(f"{cls.__name__}.{field}: an instrument's name must be {rule} (got {name!r})")
    return name


def _no_clash(cls: type, labels: list[LabelField], measures: list[Measure]) -> None:
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
