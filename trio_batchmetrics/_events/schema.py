"""The declaration of an event class: its labels, its measured fields, and their instruments.

A declaration (:mod:`.declaring`) is read into a :class:`Schema` once, when the class is created. Validation, sinks and
series read the schema, and depend on no particular class.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any, ClassVar, TypeGuard, TypeVar, dataclass_transform

import attrs

from .._reprs import tolerant_repr
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
    "schema_of",
]

_EventT = TypeVar("_EventT")

SECONDS_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Bounds of a histogram in seconds: OpenTelemetry's advice for ``http.server.request.duration``."""

DEFAULT_BOUNDS = (
    *(0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0),
    10_000.0,
)
"""Bounds of any other histogram: the default of OpenTelemetry's explicit bucket aggregation."""


_NAMED_BOUNDS = {"backend.request.duration": tuple(0.01 * 2**n for n in range(14))}
"""0.01 to 81.92 s: OpenTelemetry's advice for ``gen_ai.client.operation.duration``; models respond slowly."""


OVERFLOW = {"otel.metric.overflow": "true"}
"""The labels of the series that all label sets beyond ``max_series`` share (OpenTelemetry's "cardinality limits")."""


class Kind(enum.Enum):
    """How an instrument aggregates its values."""

    COUNTER = "counter"
    """Sums them; they are never negative."""
    HISTOGRAM = "histogram"
    """Counts them by bucket."""
    GAUGE = "gauge"
    """Keeps the last one."""


COUNTER, HISTOGRAM, GAUGE = Kind.COUNTER, Kind.HISTOGRAM, Kind.GAUGE
"""For frequent use: CPython 3.11 takes 0.2 µs to look up an enum member."""


@tolerant_repr
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
    """The instrument's unit, in UCUM, as in OpenTelemetry: ``s``, ``By``, ``{token}``."""
    description: str = ""
    """One sentence for people."""
    bounds: tuple[float, ...] | None = None
    """Bucket bounds of a histogram, as declared."""
    any_kind: bool = False
    """Whether the name was only described so far; it may become an instrument of any kind, and ``kind`` is a guess."""

    def of_kind(self, kind: Kind) -> Measure | None:
        """Return the measure for an instrument of this kind; None if the instrument has another kind."""
        if self.any_kind:
            bounds = self.bounds if kind is Kind.HISTOGRAM else None
            return attrs.evolve(self, kind=kind, bounds=bounds, any_kind=False)
        return self if self.kind is kind else None

    @property
    def seconds(self) -> bool:
        """Whether the values are durations, which are never negative and may be given as ``timedelta``."""
        return self.unit == "s"

    @property
    def negative(self) -> bool:
        """Whether a value below 0 makes sense."""
        return self.kind is not Kind.COUNTER and not self.seconds

    @property
    def default_bounds(self) -> tuple[float, ...]:
        """The declared bounds, or else those that suit the unit."""
        return self.bounds or _NAMED_BOUNDS.get(self.name) or (SECONDS_BOUNDS if self.seconds else DEFAULT_BOUNDS)


@tolerant_repr
@attrs.frozen(eq=False, slots=False)
class Schema:
    """The declaration of an event class, in the order of its fields. There is one object per class."""

    fields: tuple[str, ...]
    """Every field except ``timestamp``."""
    labels: tuple[LabelField, ...]
    """The label fields."""
    measures: tuple[Measure, ...]
    """The instruments: one per measured field, and the count of events if declared."""
    named: bool = False
    """Whether the event carries its instrument's name and labels, in the fields ``name`` and ``labels``."""
    buckets: bool = False
    """Whether the event is a ``HistogramPoint``, whose values are already counted by bucket."""
    event_class: type[MetricEvent] = attrs.field(default=None, repr=False)
    """The class."""

    @cached_property
    def measured(self) -> tuple[Measure, ...]:
        """The measures that have a field, each of which has a column in ``Columns.values``."""
        return tuple(measure for measure in self.measures if measure.field is not None)

    def label_pairs(self, key: tuple[Any, ...]) -> list[tuple[str, Any]]:
        """Return the names and plain values of the labels in one of ``Columns.label_sets``.

        Labels added by a recorder come first, so in a ``dict`` of the pairs, the event's own labels win.
        """
        if self.named:
            return [(text(name) or "", value) for name, value in (*key[2:], *key[1])]
        own = len(self.labels)
        names = [label.name for label in self.labels]
        return [*key[own:], *zip(names, key[:own], strict=True)]


def schema_of(event_class: type[MetricEvent]) -> Schema | None:
    """Return the schema of a class; None if it was never declared. A subclass without a declaration has its base's."""
    schema = event_class.__metric_schema__
    if schema is not None and schema.event_class is not event_class:
        schema = event_class.__metric_schema__ = attrs.evolve(schema, event_class=event_class)
    return schema


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(attrs.field,))
def _event_base(cls: type[_EventT]) -> type[_EventT]:
    """Make the base an attrs class, in a way that shows its field to type checkers, in subclasses too."""
    return tolerant_repr(attrs.frozen(cls, kw_only=True, weakref_slot=False))


@_event_base
class MetricEvent:
    """The base of all event classes.

    Events are frozen. They print, compare by all fields (``timestamp`` included), pickle, and are hashable if their
    label values are.
    """

    __metric_schema__: ClassVar[Schema | None] = None
    __metric_reader__: ClassVar[object] = None
    __metric_unchanging__: ClassVar[Callable[[Any], bool] | None] = None

    timestamp: int = attrs.field(factory=time.time_ns)
    """Wall-clock time in nanoseconds since 1970 (UTC), taken when the event is recorded or created."""


def is_event(event: object) -> TypeGuard[MetricEvent]:
    """Return whether an object is an event, without running its code: ``isinstance`` would read ``__class__``."""
    return issubclass(type(event), MetricEvent)
