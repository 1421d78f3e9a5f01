"""An event of each kind with its recorder, and ways to call recorders and to fill a buffer."""

from typing import Any

import trio
import trio.testing

from tests.fakes import numbered
from tests.helpers import Policy
from trio_batchmetrics import (
    BackendRequest,
    BatchMetricsCollector,
    CacheMetric,
    Counter,
    Gauge,
    HealthCheck,
    Histogram,
    HttpRequest,
    MetricEvent,
    Recorder,
)

__all__ = ["EXAMPLES", "PARAMETERS", "POLICIES", "arguments", "call", "full", "timeless"]

POLICIES: list[Policy] = ["drop_newest", "drop_oldest"]

EXAMPLES: list[tuple[str, MetricEvent]] = [
    ("record_http_request", HttpRequest("GET", "/api/data", 200, 0.15, timestamp=0)),
    ("record_backend_request", BackendRequest("openai", "gpt-4", False, 0.85, "timeout", timestamp=0)),
    ("record_health_check", HealthCheck("backend-1", True, 0.05, timestamp=0)),
    ("record_cache_metric", CacheMetric("redis", "hit", timestamp=0)),
    ("record_counter", Counter("requests", {"region": "us-east"}, 42.0, timestamp=0)),
    ("record_histogram", Histogram("response_time", {"region": "us-east"}, 123.4, timestamp=0)),
    ("record_gauge", Gauge("temperature", {}, -3, timestamp=0)),
]

PARAMETERS = {
    "record": ["event"],
    "record_http_request": ["method", "path", "status_code", "duration"],
    "record_backend_request": ["provider", "model", "success", "latency", "error_type"],
    "record_health_check": ["backend", "healthy", "duration"],
    "record_cache_metric": ["cache_type", "operation"],
    "record_counter": ["name", "labels", "value"],
    "record_histogram": ["name", "labels", "value"],
    "record_gauge": ["name", "labels", "value"],
}


def call(recorder: Recorder, name: str, /, *args: Any, **kwargs: Any) -> None:
    """Call a recorder by name, with arguments that no type checker would accept."""
    getattr(recorder, name)(*args, **kwargs)


def arguments(event: MetricEvent) -> dict[str, Any]:
    """Return an event's fields except the timestamp."""
    schema = event.__metric_schema__
    assert schema is not None
    return {field: getattr(event, field) for field in schema.fields}


def timeless(events: list[MetricEvent]) -> list[tuple[type, dict[str, Any]]]:
    """Return the events' contents without their timestamps."""
    return [(type(event), arguments(event)) for event in events]


async def full(metrics: BatchMetricsCollector, *, batch: int, buffer: int) -> int:
    """Fill a payload in flight, the sink's queue and the buffer; return how many events that took."""
    count = batch + 2 * buffer
    for number in range(count):
        metrics.record(numbered(number))
        if number % batch == batch - 1:
            await trio.testing.wait_all_tasks_blocked()
    assert metrics.stats().pending_events == count
    assert metrics.stats().dropped_events == 0
    return count
