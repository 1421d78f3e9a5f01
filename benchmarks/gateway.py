"""A process that records at a rate, and reports its share of a core.

``python -m benchmarks.gateway CLIENT RATE WINDOWS`` prints a :class:`Report` as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

import attrs
import trio

from trio_batchmetrics import BatchMetricsCollector, collector

from .draining import discard
from .pacing import Recorder, record_at_rate
from .peers import opentelemetry

__all__ = ["CLIENTS", "Report", "recording_with"]

CLIENTS = ("nothing", "ours", "prometheus_client", "opentelemetry-sdk")
"""The clients; with ``nothing``, the same program runs without one. The first two are measured most often."""
WARM_UP = 0.3
"""Seconds that don't count."""
WINDOW = 0.5
"""The length of a measured window, in seconds."""


@attrs.frozen
class Report:
    """The results of such a process."""

    shares: list[float]
    """CPU seconds per second, in each window."""
    dropped: int
    """The total number of events that were not recorded."""


def with_ours(metrics: BatchMetricsCollector) -> Recorder:
    """Return a recorder of this library."""

    def recorder(kind: str, duration: float) -> tuple[Any, tuple[Any, ...]]:
        return {
            "http": (metrics.record_http_request, ("POST", "/v1/chat/completions", 200, duration)),
            "backend": (metrics.record_backend_request, ("openai", "gpt-4", True, duration)),
            "cache": (metrics.record_cache_metric, ("redis", "hit")),
            "health": (metrics.record_health_check, ("backend-1", True, duration)),
        }[kind]

    return recorder


def with_prometheus() -> Recorder:
    """Return a recorder of prometheus_client, used in the common way: with the labels at each call."""
    client: Any = import_module("prometheus_client")
    registry = client.CollectorRegistry()
    http = client.Histogram("http_seconds", "Requests.", ["method", "route", "status"], registry=registry)
    backend = client.Histogram("backend_seconds", "Requests.", ["provider", "model", "success"], registry=registry)
    cache = client.Counter("cache_operations", "Operations.", ["type", "operation"], registry=registry)
    health = client.Histogram("health_seconds", "Health checks.", ["backend", "healthy"], registry=registry)

    def record_http(duration: float) -> None:
        http.labels("POST", "/v1/chat/completions", 200).observe(duration)

    def record_backend(duration: float) -> None:
        backend.labels("openai", "gpt-4", True).observe(duration)

    def record_cache() -> None:
        cache.labels("redis", "hit").inc()

    def record_health(duration: float) -> None:
        health.labels("backend-1", True).observe(duration)

    def recorder(kind: str, duration: float) -> tuple[Any, tuple[Any, ...]]:
        if kind == "cache":
            return record_cache, ()
        return {"http": record_http, "backend": record_backend, "health": record_health}[kind], (duration,)

    return recorder


def with_opentelemetry(histogram: Any) -> Recorder:
    """Return a recorder with a histogram of the OpenTelemetry SDK."""
    attributes = {
        "http": {"method": "POST", "route": "/v1/chat/completions", "status": 200},
        "backend": {"provider": "openai", "model": "gpt-4", "success": True},
        "cache": {"type": "redis", "operation": "hit"},
        "health": {"backend": "backend-1", "healthy": True},
    }

    def recorder(kind: str, duration: float) -> tuple[Any, tuple[Any, ...]]:
        return histogram.record, (duration, attributes[kind])

    return recorder


@asynccontextmanager
async def recording_with(client: str) -> AsyncGenerator[tuple[Recorder | None, BatchMetricsCollector | None], None]:
    """Yield the recorder of a client, and the collector if the client is this library."""
    if client == "ours":
        async with collector(sinks=[discard]) as metrics:
            yield with_ours(metrics), metrics
    elif client == "opentelemetry-sdk":
        with opentelemetry() as histogram:
            yield with_opentelemetry(histogram), None
    else:
        yield with_prometheus() if client == "prometheus_client" else None, None


async def measure(client: str, rate: int, windows: int) -> Report:
    """Record at a rate, and measure the CPU time of the process."""
    shares: list[float] = []
    async with recording_with(client) as (recorder, metrics), trio.open_nursery() as nursery:
        nursery.start_soon(record_at_rate, recorder, rate)
        await trio.sleep(WARM_UP)
        for _ in range(windows):
            used, start = time.process_time(), time.perf_counter()
            await trio.sleep(WINDOW)
            shares.append((time.process_time() - used) / (time.perf_counter() - start))
        nursery.cancel_scope.cancel()
    return Report(shares, 0 if metrics is None else metrics.stats().dropped_events)


def main() -> None:
    """Run one measurement and print its results."""
    client, rate, windows = sys.argv[1:]
    print(json.dumps(attrs.asdict(trio.run(measure, client, int(rate), int(windows)))))


if __name__ == "__main__":
    main()
