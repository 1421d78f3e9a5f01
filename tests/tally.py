"""An aggregation of events in plain Python, by the wording of the documentation, to compare a ``SeriesStore`` with.

Nothing here asks the library for an event's labels, values or buckets.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from trio_batchmetrics import (
    BackendRequest,
    CacheMetric,
    Counter,
    Gauge,
    HealthCheck,
    Histogram,
    HttpRequest,
    MetricEvent,
    label,
    measure,
    metric_event,
)
from trio_batchmetrics.abc import Metric, Point, SeriesStore

__all__ = ["DEFAULT", "SECONDS", "Job", "Labels", "Tally", "as_text", "bucket", "points"]

Labels = tuple[tuple[str, str], ...]
"""Labels as text, sorted by name."""

Instrument = tuple[str, str, str]
"""Name, kind and unit."""

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
BACKEND = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
DEFAULT = (0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0, 10000.0)
SIZES = (0.25, 0.5, 1.0, 2.0)


@metric_event(counts="job.runs")
class Job(MetricEvent):
    """An event with labels of each kind and instruments of each kind."""

    queue: Any = label("queue")
    size: float = measure(Histogram, "job.size", unit="By", description="How large.", bounds=SIZES)
    retries: int = measure(Counter, "job.retries")
    depth: float = measure(Gauge, "job.depth", unit="{job}")
    waited: float = measure(Histogram, "job.waited", unit="s")
    done: bool = label("job.done", default=False)
    code: int | None = label("code", default=None)


def as_text(value: object) -> str | None:
    """Return the text of a label's value: halves of surrogate pairs become U+FFFD, and None has no text."""
    if value is None:
        return None
    if value is True or value is False:
        return "true" if value else "false"
    string = "".join(value) if isinstance(value, str) else str(value)
    whole = re.sub("[\ud800-\udbff][\udc00-\udfff]", _joined, string)
    return re.sub("[\ud800-\udfff]", "\ufffd", whole)


def _joined(pair: re.Match[str]) -> str:
    high, low = map(ord, pair[0])
    return chr(0x10000 + (high - 0xD800) * 0x400 + (low - 0xDC00))


def bucket(bounds: Sequence[float], value: float) -> int:
    """Return which bucket a value belongs to: the first one whose upper bound it doesn't exceed."""
    for place, bound in enumerate(bounds):
        if value <= bound:
            return place
    return len(bounds)


class _Series:
    def __init__(self, buckets: int) -> None:
        self.total = Fraction(0)
        self.last: float = 0
        self.counts = [0] * buckets


class Tally:
    """A tally that adds up events one by one."""

    def __init__(
        self, static: Mapping[str, object] | None = None, bounds: Mapping[str, tuple[float, ...]] | None = None
    ) -> None:
        """Create an empty tally.

        Args:
            static: labels on every event.
            bounds: of histograms by name; they win over the documented ones.
        """
        self._static: list[tuple[object, object]] = [*(static or {}).items()]
        self._bounds = bounds or {}
        self.series: dict[Instrument, dict[Labels, _Series]] = {}

    def add(self, event: Any) -> None:
        """Add an event of one of the classes that this module knows."""
        match event:
            case HttpRequest():
                pairs = {
                    "http.request.method": event.method,
                    "http.route": event.path,
                    "http.response.status_code": event.status_code,
                }
                self._put("http.server.request.duration", "histogram", "s", pairs.items(), event.duration, SECONDS)
            case BackendRequest():
                pairs = {
                    "provider": event.provider,
                    "model": event.model,
                    "success": event.success,
                    "error.type": event.error_type,
                }
                self._put("backend.request.duration", "histogram", "s", pairs.items(), event.latency, BACKEND)
            case HealthCheck():
                pairs = {"backend": event.backend}
                self._put("backend.health", "gauge", "", pairs.items(), event.healthy)
                self._put("backend.health_check.duration", "histogram", "s", pairs.items(), event.duration, SECONDS)
            case CacheMetric():
                pairs = {"cache.type": event.cache_type, "cache.operation": event.operation}
                self._put("cache.operations", "counter", "{event}", pairs.items(), 1)
            case Counter():
                self._put(event.name, "counter", "", event.labels.items(), event.value)
            case Histogram():
                self._put(event.name, "histogram", "", event.labels.items(), event.value, DEFAULT)
            case Gauge():
                self._put(event.name, "gauge", "", event.labels.items(), event.value)
            case _:
                assert isinstance(event, Job)
                pairs = {"queue": event.queue, "job.done": event.done, "code": event.code}
                self._put("job.size", "histogram", "By", pairs.items(), event.size, SIZES)
                self._put("job.retries", "counter", "", pairs.items(), event.retries)
                self._put("job.depth", "gauge", "{job}", pairs.items(), event.depth)
                self._put("job.waited", "histogram", "s", pairs.items(), event.waited, SECONDS)
                self._put("job.runs", "counter", "{event}", pairs.items(), 1)

    def _put(
        self,
        name: str,
        kind: str,
        unit: str,
        pairs: Iterable[tuple[object, object]],
        value: float,
        bounds: tuple[float, ...] = (),
    ) -> None:
        labels: dict[str, str] = {}
        for key, given in [*self._static, *pairs]:
            string = as_text(given)
            if string is not None:
                labels[as_text(key) or ""] = string
        bounds = self._bounds.get(name, bounds) if bounds else ()
        family = self.series.setdefault((as_text(name) or "", kind, unit), {})
        one = family.setdefault(tuple(sorted(labels.items())), _Series(len(bounds) + 1 if bounds else 0))
        one.total += Fraction(value)
        one.last = value
        if bounds:
            one.counts[bucket(bounds, value)] += 1

    def assert_told_by(self, metrics: Iterable[Metric]) -> None:
        """Assert that a snapshot has the same values, series by series."""
        told = points(metrics)
        assert {key: set(family) for key, family in told.items()} == {
            key: set(family) for key, family in self.series.items()
        }
        for instrument, family in self.series.items():
            for labels, expected in family.items():
                point = told[instrument][labels]
                if instrument[1] == "gauge":
                    assert point.value == expected.last
                else:
                    assert math.isclose(point.value, expected.total, rel_tol=1e-9)
                assert point.counts == tuple(expected.counts)
                assert point.count == sum(expected.counts)


def points(source: Iterable[Metric] | SeriesStore) -> dict[Instrument, dict[Labels, Point]]:
    """Return points by instrument and labels; assert that no series occurs twice."""
    found: dict[Instrument, dict[Labels, Point]] = {}
    for metric in source.snapshot() if isinstance(source, SeriesStore) else source:
        instrument = (metric.name, metric.kind.value, metric.unit)
        assert instrument not in found
        family = found[instrument] = {tuple(sorted(point.labels.items())): point for point in metric.points}
        assert len(family) == len(metric.points)
    return found
