"""Other clients, set up as their manuals say.

They are imported by name, as ``Any``: they are installed only where benchmarks run, not where types are checked, and
what is timed of them is text.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NamedTuple

import trio

from .loopback import HOST, datagrams, line_server

__all__ = ["Influx", "Prometheus", "dogstatsd", "influx", "opentelemetry", "prometheus", "statsd_pipeline"]


class Prometheus(NamedTuple):
    """What prometheus_client has for the same purpose, in a registry of its own."""

    counter: Any
    counter_child: Any
    histogram: Any
    histogram_child: Any


def prometheus() -> Prometheus:
    """Make instruments with the same three labels; the default buckets are those of this library too."""
    client: Any = import_module("prometheus_client")
    registry = client.CollectorRegistry()
    names = ["method", "path", "status"]
    counter = client.Counter("requests", "Requests.", names, registry=registry)
    histogram = client.Histogram("request_seconds", "Durations.", names, registry=registry)
    labels = ("GET", "/api/data", 200)
    return Prometheus(counter, counter.labels(*labels), histogram, histogram.labels(*labels))


@contextmanager
def opentelemetry() -> Generator[Any, None, None]:
    """Give a histogram of the OpenTelemetry SDK, with a reader that keeps all in memory."""
    metrics: Any = import_module("opentelemetry.sdk.metrics")
    export: Any = import_module("opentelemetry.sdk.metrics.export")
    provider = metrics.MeterProvider(metric_readers=[export.InMemoryMetricReader()], shutdown_on_exit=False)
    try:
        yield provider.get_meter("benchmarks").create_histogram("http.server.request.duration", unit="s")
    finally:
        provider.shutdown()


@contextmanager
def statsd_pipeline() -> Generator[Any, None, None]:
    """Give a pipeline of statsd, which gathers until it is told to send."""
    client: Any = import_module("statsd")
    with datagrams() as port:
        pipeline = client.StatsClient(HOST, port).pipeline()
        yield pipeline
        pipeline.send()


@contextmanager
def dogstatsd() -> Generator[Any, None, None]:
    """Give a client of datadog that buffers and aggregates."""
    base: Any = import_module("datadog.dogstatsd.base")
    with datagrams() as port:
        client = base.DogStatsd(HOST, port, disable_buffering=False, disable_aggregation=False, disable_telemetry=True)
        yield client
        client.stop()


class Influx(NamedTuple):
    """What influxdb-client has."""

    writer: Any
    """Its batching writer."""
    point: Any
    """Its class of points."""
    settled: Callable[[int], Awaitable[None]]
    """Waits until so many more lines that were written have arrived, but for what may still gather for a batch."""


@contextmanager
def influx() -> Generator[Influx, None, None]:
    """Give a batching writer of influxdb-client, with its default options."""
    client: Any = import_module("influxdb_client")
    written = 0
    with line_server() as server, client.InfluxDBClient(server.url, token="", org="benchmarks") as connection:
        batch_size = client.WriteOptions().batch_size

        async def settled(lines: int) -> None:
            nonlocal written
            written += lines
            with trio.fail_after(30):
                while written - server.lines >= batch_size:  # noqa: ASYNC110 - what changes it is a thread
                    await trio.sleep(0.001)

        with connection.write_api() as writer:
            yield Influx(writer, client.Point, settled)
