"""An event of each kind, and how it must arrive, written down by hand."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from trio_batchmetrics import (
    BackendRequest,
    CacheMetric,
    Counter,
    Gauge,
    HealthCheck,
    Histogram,
    HistogramPoint,
    HttpRequest,
    MetricEvent,
    label,
    measure,
    metric_event,
)

__all__ = ["AWKWARD", "FIELDS", "LABELS", "SAMPLES", "TIMESTAMP", "Arrived", "LLMCall", "as_arrived"]

TIMESTAMP = 1_795_489_500_123_456_789
"""2026-11-24T03:05:00.123456789Z."""


@metric_event(counts="llm.calls")
class LLMCall(MetricEvent):
    """A user's event class."""

    model: str = label("gen_ai.request.model")
    cached: bool = label()
    tokens: int = measure(Counter, "gen_ai.client.tokens", unit="{token}")
    seconds: float = measure(Histogram, "gen_ai.client.operation.duration", unit="s")


class Arrived(NamedTuple):
    """An event as a sink stores it: label values are text, measured values are numbers."""

    kind: str
    name: str | None
    labels: dict[str, str]
    fields: dict[str, Any]
    timestamp: int | None = None


SAMPLES: Sequence[tuple[MetricEvent, Arrived]] = [
    (
        HttpRequest("GET", "/users/{id}", 200, 0.15, timestamp=TIMESTAMP),
        Arrived(
            "HttpRequest",
            None,
            {"http.request.method": "GET", "http.route": "/users/{id}", "http.response.status_code": "200"},
            {"duration": 0.15},
        ),
    ),
    (
        BackendRequest("openai", "gpt-4", False, 0.85, "timeout", timestamp=TIMESTAMP),
        Arrived(
            "BackendRequest",
            None,
            {"provider": "openai", "model": "gpt-4", "success": "false", "error.type": "timeout"},
            {"latency": 0.85},
        ),
    ),
    (
        BackendRequest("openai", "gpt-4", True, 1, timestamp=TIMESTAMP),
        Arrived("BackendRequest", None, {"provider": "openai", "model": "gpt-4", "success": "true"}, {"latency": 1.0}),
    ),
    (
        HealthCheck("backend-1", True, 0.05, timestamp=TIMESTAMP),
        Arrived("HealthCheck", None, {"backend": "backend-1"}, {"healthy": 1.0, "duration": 0.05}),
    ),
    (
        CacheMetric("redis", "hit", timestamp=TIMESTAMP),
        Arrived("CacheMetric", None, {"cache.type": "redis", "cache.operation": "hit"}, {}),
    ),
    (
        Counter("jobs", {"region": "us-east"}, 42, timestamp=TIMESTAMP),
        Arrived("Counter", "jobs", {"region": "us-east"}, {"value": 42.0}),
    ),
    (
        Histogram("response_time", {"try": 2, "last": False, "why": None}, -0.5, timestamp=TIMESTAMP),
        Arrived("Histogram", "response_time", {"try": "2", "last": "false"}, {"value": -0.5}),
    ),
    (Gauge("depth", {}, 0, timestamp=TIMESTAMP), Arrived("Gauge", "depth", {}, {"value": 0.0})),
    (
        HistogramPoint("wait", {"queue": "a"}, 3, 4.5, (1.0, 2.0), (1, 0, 2), timestamp=TIMESTAMP),
        Arrived(
            "HistogramPoint",
            "wait",
            {"queue": "a"},
            {"count": 3.0, "sum": 4.5, "bounds": [1.0, 2.0], "counts": [1.0, 0.0, 2.0]},
        ),
    ),
    (
        LLMCall("gpt-4", True, 1200, 2.5, timestamp=TIMESTAMP),
        Arrived(
            "LLMCall", None, {"gen_ai.request.model": "gpt-4", "cached": "true"}, {"tokens": 1200.0, "seconds": 2.5}
        ),
    ),
]
"""An event of each kind, and how it must arrive."""

LABELS = {
    "HttpRequest": {
        "method": "http.request.method",
        "path": "http.route",
        "status_code": "http.response.status_code",
    },
    "BackendRequest": {"provider": "provider", "model": "model", "success": "success", "error_type": "error.type"},
    "HealthCheck": {"backend": "backend"},
    "CacheMetric": {"cache_type": "cache.type", "operation": "cache.operation"},
    "LLMCall": {"model": "gen_ai.request.model", "cached": "cached"},
}
FIELDS = {
    "HttpRequest": ["duration"],
    "BackendRequest": ["latency"],
    "HealthCheck": ["healthy", "duration"],
    "CacheMetric": [],
    "LLMCall": ["tokens", "seconds"],
    "HistogramPoint": ["count", "sum", "bounds", "counts"],
}

AWKWARD = {
    "quotes": '"it\'s" `so`',
    "backslashes": "\\ \\n \\u0000 C:\\",
    "newlines": "one\ntwo\r\nthree\u2028four\x85five",
    "controls": "\x00\x01\x1b[31m\x7f\t",
    "emoji": "🙂👩\u200d👩\u200d👧",
    "right to left": "\u202e\u05e9\u05dc\u05d5\u05dd \u0639\u0627\u0644\u0645",
    "empty": "",
    "long": "x" * 10_000 + "é",
    "like JSON": '{"a": [1, null]}',
    "like SQL": "'); DROP TABLE events; --",
}
"""Label values that must arrive unchanged."""


def as_arrived(event: MetricEvent) -> Arrived:
    """Return the expected form of an event, for sinks that keep the events themselves."""
    kind, holder = type(event).__name__, dict[str, Any]()
    values: Any = event
    if kind in LABELS:
        holder = {name: getattr(event, field) for field, name in LABELS[kind].items()}
    else:
        holder = dict(values.labels)
    labels = {key: _as_text(value) for key, value in holder.items() if value is not None}
    fields = {field: _as_float(getattr(event, field)) for field in FIELDS.get(kind, ["value"])}
    return Arrived(kind, getattr(event, "name", None), labels, fields, event.timestamp)


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _as_float(value: Any) -> Any:
    return list(map(float, value)) if hasattr(value, "__len__") else float(value)
