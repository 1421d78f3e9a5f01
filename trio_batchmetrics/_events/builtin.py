"""The built-in events, declared with the same ``@metric_event`` as user-defined ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from .declaring import instrument_name, label, label_set, measure, metric_event, value_of
from .schema import Kind, MetricEvent
from .values import read_only

__all__ = [
    "BUILTIN",
    "BackendRequest",
    "CacheMetric",
    "Counter",
    "Gauge",
    "HealthCheck",
    "Histogram",
    "HistogramPoint",
    "HttpRequest",
    "MetricEvent",
]


@metric_event
class Counter(MetricEvent):
    """Something that happened ``value`` times; a counter with that name adds it up."""

    name: str = instrument_name()
    """The instrument's name."""
    labels: Mapping[str, Any] = label_set(read_only)
    """The application's label values, captured by value; read-only."""
    value: float = value_of(Kind.COUNTER)
    """The amount to add; never negative."""


@metric_event
class Histogram(MetricEvent):
    """An observed value; a histogram with that name counts it by bucket."""

    name: str = instrument_name()
    """The instrument's name."""
    labels: Mapping[str, Any] = label_set(read_only)
    """The application's label values, captured by value; read-only."""
    value: float = value_of(Kind.HISTOGRAM)
    """The observed value."""


@metric_event
class Gauge(MetricEvent):
    """A current value; a gauge with that name keeps the last one."""

    name: str = instrument_name()
    """The instrument's name."""
    labels: Mapping[str, Any] = label_set(read_only)
    """The application's label values, captured by value; read-only."""
    value: float = value_of(Kind.GAUGE)
    """The value."""


@metric_event
class HistogramPoint(MetricEvent):
    """The values that a bound histogram observed since its last collection, counted by bucket."""

    name: str = instrument_name()
    """The instrument's name."""
    labels: Mapping[str, Any] = label_set(read_only)
    """The application's label values, captured by value; read-only."""
    count: int = value_of(Kind.HISTOGRAM)
    """The number of values."""
    sum: float = value_of(Kind.HISTOGRAM)
    """Their sum."""
    bounds: tuple[float, ...] = value_of(Kind.HISTOGRAM)
    """Upper bounds of the buckets, increasing; a value equal to a bound belongs to that bound's bucket."""
    counts: tuple[int, ...] = value_of(Kind.HISTOGRAM)
    """The number of values in each bucket, not cumulative; one more than ``bounds``, for values above the last."""


assert HistogramPoint.__metric_schema__ is not None  # noqa: S101 - made one line above
HistogramPoint.__metric_schema__ = attrs.evolve(HistogramPoint.__metric_schema__, buckets=True)


@metric_event
class HttpRequest(MetricEvent):
    """A request that this service answered (OpenTelemetry's semantic conventions for HTTP servers)."""

    method: str = label("http.request.method")
    """The request's method."""
    path: str = label("http.route")
    """The route's template, such as ``/users/{id}``, never the raw path."""
    status_code: int = label("http.response.status_code")
    """The response's status."""
    duration: float = measure(
        Histogram, "http.server.request.duration", unit="s", description="Duration of HTTP server requests."
    )
    """How long it took, in seconds."""


@metric_event
class BackendRequest(MetricEvent):
    """A request from this service to a provider behind it."""

    provider: str = label("provider")
    """The provider that the request went to."""
    model: str = label("model")
    """The model that it asked for."""
    success: bool = label("success")
    """Whether it succeeded."""
    latency: float = measure(
        Histogram,
        "backend.request.duration",
        unit="s",
        description="Duration of requests to a backend.",
    )
    """How long it took, in seconds."""
    error_type: str | None = label("error.type", default=None)
    """The kind of error, in a word; None if there was none."""


@metric_event
class HealthCheck(MetricEvent):
    """A check of a backend's health."""

    backend: str = label("backend")
    """The backend's name."""
    healthy: bool = measure(Gauge, "backend.health", description="1 while a backend is healthy, else 0.")
    """Whether it is healthy."""
    duration: float = measure(
        Histogram, "backend.health_check.duration", unit="s", description="Duration of health checks."
    )
    """How long the check took, in seconds."""


@metric_event(counts="cache.operations")
class CacheMetric(MetricEvent):
    """A cache operation."""

    cache_type: str = label("cache.type")
    """The cache's name or type."""
    operation: str = label("cache.operation")
    """``hit``, ``miss`` or ``eviction``."""


BUILTIN = (HttpRequest, BackendRequest, HealthCheck, CacheMetric, Counter, Histogram, Gauge, HistogramPoint)
"""All classes above. A class's index is its number in rows (:mod:`.rows`)."""
