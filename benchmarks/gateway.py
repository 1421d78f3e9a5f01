"""A process that records at a rate, and says how much of a core it took.

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

from .draining import nothing
from .pacing import Recorder, paced
from .peers import opentelemetry

__all__ = ["CLIENTS", "Report", "recording_with"]

CLIENTS = ("nothing", "ours", "prometheus_client", "opentelemetry-sdk")
"""Who may record; ``nothing`` is the same program without. The first two are measured most often."""
WARM_UP = 0.3
"""Seconds that do not count."""
WINDOW = 0.5
"""Seconds in which CPU time is measured at a time."""


@attrs.frozen
class Report:
    """What such a process found."""

    shares: list[float]
    """CPU seconds a second, in each window."""
    dropped: int
    """Events that were not recorded, over all."""


def with_ours(metrics: BatchMetricsCollector) -> Recorder:
    """Record with this library."""

    def recorder(kind: str, duration: float) -> tuple[Any, tuple[Any, ...]]:
        return {
            "http": (metrics.record_http_request, ("POST", "/v1/chat/completions", 200, duration)),
            "backend": (metrics.record_backend_request, ("openai", "gpt-4", True, duration)),
            "cache": (metrics.record_cache_metric, ("redis", "hit")),
            "health": (metrics.record_health_check, ("backend-1", True, duration)),
        }[kind]

    return recorder


def with_prometheus() -> Recorder:
    """Record with prometheus_client, as most do: the labels at each call."""
    client: Any = import_module("prometheus_client")
    registry = client.CollectorRegistry()
    http = client.Histogram("http_seconds", "Requests.", ["method", "route", "status"], registry=registry)
    backend = client.Histogram("backend_seconds", "Requests.", ["provider", "model", "success"], registry=registry)
    cache = client.Counter("cache_operations", "Operations.", ["type", "operation"], registry=registry)
    health = client.Histogram("health_seconds", "Health checks.", ["backend", "healthy"], registry=registry)

    def answered(duration: float) -> None:
        http.labels("POST", "/v1/chat/completions", 200).observe(duration)

    def asked(duration: float) -> None:
        backend.labels("openai", "gpt-4", True).observe(duration)

    def hit() -> None:
        cache.labels("redis", "hit").inc()

    def checked(duration: float) -> None:
        health.labels("backend-1", True).observe(duration)

    def recorder(kind: str, duration: float) -> tuple[Any, tuple[Any, ...]]:
        if kind == "cache":
            return hit, ()
        return {"http": answered, "backend": asked, "health": checked}[kind], (duration,)

    return recorder


def with_opentelemetry(histogram: Any) -> Recorder:
    """Record with a histogram of the OpenTelemetry SDK."""
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
    """Give the recorder of a client, and the collector if it is this library's."""
    if client == "ours":
        async with collector(sinks=[nothing]) as metrics:
            yield with_ours(metrics), metrics
    elif client == "opentelemetry-sdk":
        with opentelemetry() as histogram:
            yield with_opentelemetry(histogram), None
    else:
        yield with_prometheus() if client == "prometheus_client" else None, None


async def measured(client: str, rate: int, windows: int) -> Report:
    """Record, and see what the process uses meanwhile."""
    shares: list[float] = []
    async with recording_with(client) as (recorder, metrics), trio.open_nursery() as nursery:
        nursery.start_soon(paced, recorder, rate)
        await trio.sleep(WARM_UP)
        for _ in range(windows):
            used, start = time.process_time(), time.perf_counter()
            await trio.sleep(WINDOW)
            shares.append((time.process_time() - used) / (time.perf_counter() - start))
        nursery.cancel_scope.cancel()
    return Report(shares, 0 if metrics is None else metrics.stats().dropped_events)


def main() -> None:
    """Run one measurement and print what it found."""
    client, rate, windows = sys.argv[1:]
    print(json.dumps(attrs.asdict(trio.run(measured, client, int(rate), int(windows)))))


if __name__ == "__main__":
    main()
