"""The expected results of recorder calls: added up as the documentation defines them, without the library."""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

__all__ = ["CHAT", "DEFAULT", "Call", "Document", "Instrument", "Labels", "Series", "Sum", "Sums"]

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
BACKEND = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
DEFAULT = (0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0, 10000.0)
CHAT = (0.5, 1.0, 2.0, 4.0)


class Instrument(NamedTuple):
    """An instrument that is measured."""

    name: str
    kind: str
    unit: str = ""


Labels = tuple[tuple[str, str], ...]
"""Labels as text, sorted by name."""


@dataclass
class Series:
    """The expected state of one instrument under one label set, once everything is recorded."""

    instrument: Instrument
    bounds: tuple[float, ...] = ()
    values: int = 0
    """The number of measured values."""
    total: float = 0.0
    """The sum of the values."""
    last: float = 0.0
    """The last value."""
    counts: list[int] = field(default_factory=list[int])
    """The number of values in each bucket, for a histogram."""
    points: int = 0
    """The number of events that carry the values: one per value, or for a bound instrument one per collection."""
    points_total: float = 0.0
    """The sum of the values in a counter's or gauge's events."""

    def add(self, value: float) -> None:
        """Measure a value."""
        self.values += 1
        self.total += value
        self.last = value
        if self.bounds:
            self.counts[bisect_left(self.bounds, value)] += 1  # a value equal to a bound belongs to that bound's bucket

    def came(self, value: float) -> None:
        """Count an event."""
        self.points += 1
        self.points_total += value


class Document(NamedTuple):
    """The key of events that are counted together."""

    kind: str
    name: str | None
    labels: Labels


class Sum(NamedTuple):
    """Events that are counted together."""

    number: int
    fields: dict[str, float]
    """The sum of each measured field."""


class Call(NamedTuple):
    """A call of a recorder."""

    method: str
    arguments: tuple[Any, ...]

    @property
    def is_event(self) -> bool:
        """Whether the call records an event; otherwise it updates a bound instrument."""
        return self.method.startswith("record")


def _text(value: object) -> str | None:
    if value is None:
        return None
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def _number(value: object) -> float:
    if isinstance(value, timedelta):
        return value // timedelta(microseconds=1) / 1e6
    assert isinstance(value, bool | int | float)
    return float(value)


class Sums:
    """Adds up the effects of calls, in the order in which they are made.

    Args:
        slices: the calls, in slices.
        collected: the numbers of the slices after which bound instruments are collected.
        static: static labels.
    """

    def __init__(self, slices: Iterable[Iterable[Call]], collected: Collection[int], static: Mapping[str, str]) -> None:
        self._static = static
        self.series: dict[tuple[Instrument, Labels], Series] = {}
        self.documents: dict[Document, Sum] = {}
        self.events = 0
        self._known: dict[object, Labels] = {}
        self._touched: dict[tuple[Instrument, Labels], list[float]] = {}
        for number, calls in enumerate(slices):
            for method, arguments in calls:
                getattr(self, f"_{method}")(*arguments)
            if number in collected:
                self._collect()

    def _labels(self, pairs: Mapping[str, object]) -> Labels:
        key = tuple((name, type(value), value) for name, value in pairs.items())
        if key not in self._known:
            texts = {name: _text(value) for name, value in {**self._static, **pairs}.items()}
            self._known[key] = tuple(sorted((name, value) for name, value in texts.items() if value is not None))
        return self._known[key]

    def _one(self, instrument: Instrument, pairs: Mapping[str, object], bounds: tuple[float, ...] = ()) -> Series:
        key = instrument, self._labels(pairs)
        if key not in self.series:
            self.series[key] = Series(instrument, bounds, counts=[0] * (len(bounds) + 1) if bounds else [])
        return self.series[key]

    def _measure(
        self, instrument: Instrument, pairs: Mapping[str, object], value: object, bounds: tuple[float, ...] = ()
    ) -> None:
        one = self._one(instrument, pairs, bounds)
        one.add(_number(value))
        one.came(_number(value))

    def _event(self, kind: str, name: str | None, pairs: Mapping[str, object], **fields: object) -> None:
        self.events += 1
        key = Document(kind, name, self._labels(pairs))
        number, sums = self.documents.get(key, Sum(0, {}))
        added = {field: sums.get(field, 0.0) + _number(value) for field, value in fields.items()}
        self.documents[key] = Sum(number + 1, added)

    def _record_http_request(self, method: str, path: str, status: int, duration: object) -> None:
        pairs = {"http.request.method": method, "http.route": path, "http.response.status_code": status}
        self._measure(Instrument("http.server.request.duration", "histogram", "s"), pairs, duration, SECONDS)
        self._event("HttpRequest", None, pairs, duration=duration)

    def _record_backend_request(
        self, provider: str, model: str, success: bool, latency: object, error: str | None = None
    ) -> None:
        pairs = {"provider": provider, "model": model, "success": success, "error.type": error}
        self._measure(Instrument("backend.request.duration", "histogram", "s"), pairs, latency, BACKEND)
        self._event("BackendRequest", None, pairs, latency=latency)

    def _record_health_check(self, backend: str, healthy: bool, duration: object) -> None:
        pairs = {"backend": backend}
        self._measure(Instrument("backend.health", "gauge"), pairs, healthy)
        self._measure(Instrument("backend.health_check.duration", "histogram", "s"), pairs, duration, SECONDS)
        self._event("HealthCheck", None, pairs, healthy=healthy, duration=duration)

    def _record_cache_metric(self, cache_type: str, operation: str) -> None:
        pairs = {"cache.type": cache_type, "cache.operation": operation}
        self._measure(Instrument("cache.operations", "counter", "{event}"), pairs, 1)
        self._event("CacheMetric", None, pairs)

    def _record_counter(self, name: str, pairs: Mapping[str, object], value: object) -> None:
        self._measure(Instrument(name, "counter"), pairs, value)
        self._event("Counter", name, pairs, value=value)

    def _record_histogram(self, name: str, pairs: Mapping[str, object], value: object) -> None:
        self._measure(Instrument(name, "histogram"), pairs, value, DEFAULT)
        self._event("Histogram", name, pairs, value=value)

    def _record_gauge(self, name: str, pairs: Mapping[str, object], value: object) -> None:
        self._measure(Instrument(name, "gauge"), pairs, value)
        self._event("Gauge", name, pairs, value=value)

    def _record(self, event: Any) -> None:
        pairs = {"gen_ai.request.model": event.model, "chat.streamed": event.streamed, "region": event.region}
        self._measure(Instrument("chat.tokens", "counter", "{token}"), pairs, event.tokens)
        self._measure(Instrument("chat.load", "gauge"), pairs, event.load)
        self._measure(Instrument("chat.duration", "histogram", "s"), pairs, event.seconds, CHAT)
        self._measure(Instrument("chat.calls", "counter", "{event}"), pairs, 1)
        self._event("ChatCall", None, pairs, tokens=event.tokens, load=event.load, seconds=event.seconds)

    # -- bound instruments

    def _add(self, worker: str, value: object) -> None:
        self._touch(Instrument("worker.steps", "counter", "{step}"), worker, value)

    def _observe(self, worker: str, value: object) -> None:
        self._touch(Instrument("worker.wait", "histogram", "s"), worker, value, SECONDS)

    def _set(self, worker: str, value: object) -> None:
        self._touch(Instrument("worker.memory", "gauge", "By"), worker, value)

    def _touch(self, instrument: Instrument, worker: str, value: object, bounds: tuple[float, ...] = ()) -> None:
        pairs = {"worker": worker}
        self._one(instrument, pairs, bounds).add(_number(value))
        self._touched.setdefault((instrument, self._labels(pairs)), []).append(_number(value))

    def _collect(self) -> None:
        for (instrument, labels), values in self._touched.items():
            pairs = dict(labels)
            if instrument.kind == "histogram":
                self.series[instrument, labels].came(sum(values))
                self._event("HistogramPoint", instrument.name, pairs, count=len(values), sum=sum(values))
            else:
                value = values[-1] if instrument.kind == "gauge" else sum(values)
                self.series[instrument, labels].came(value)
                self._event(instrument.kind.title(), instrument.name, pairs, value=value)
        self._touched.clear()
