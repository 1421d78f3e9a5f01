"""Other clients, set up according to their manuals.

They are imported by name, as ``Any``: they are installed only where benchmarks run, not where types are checked, and
their timed calls are text.
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
    """The corresponding instruments of prometheus_client, in a separate registry."""

    counter: Any
    counter_child: Any
    histogram: Any
    histogram_child: Any


def prometheus() -> Prometheus:
    """Create instruments with the same three labels. The default buckets are the same as this library's."""
    client: Any = import_module("prometheus_client")
    registry = client.CollectorRegistry()
    names = ["method", "path", "status"]
    counter = client.Counter("requests", "Requests.", names, registry=registry)
    histogram = client.Histogram("request_seconds", "Durations.", names, registry=registry)
    labels = ("GET", "/api/data", 200)
    return Prometheus(counter, counter.labels(*labels), histogram, histogram.labels(*labels))


@contextmanager
def opentelemetry() -> Generator[Any, None, None]:
    """Yield a histogram of the OpenTelemetry SDK, with a reader that keeps everything in memory."""
    metrics: Any = import_module("opentelemetry.sdk.metrics")
    export: Any = import_module("opentelemetry.sdk.metrics.export")
    provider = metrics.MeterProvider(metric_readers=[export.InMemoryMetricReader()], shutdown_on_exit=False)
    try:
        yield provider.get_meter("benchmarks").create_histogram("http.server.request.duration", unit="s")
    finally:
        provider.shutdown()


@contextmanager
def statsd_pipeline() -> Generator[Any, None, None]:
    """Yield a pipeline of statsd, which buffers until ``send()`` is called."""
    client: Any = import_module("statsd")
    with datagrams() as port:
        pipeline = client.StatsClient(HOST, port).pipeline()
        yield pipeline
        pipeline.send()


@contextmanager
def dogstatsd() -> Generator[Any, None, None]:
    """Yield a client of datadog that buffers and aggregates."""
    base: Any = import_module("datadog.dogstatsd.base")
    with datagrams() as port:
        client = base.DogStatsd(HOST, port, disable_buffering=False, disable_aggregation=False, disable_telemetry=True)
        yield client
        client.stop()


class Influx(NamedTuple):
    """The parts of influxdb-client that are used."""

    writer: Any
    """The batching writer."""
    point: Any
    """The class of points."""
    wait_arrived: Callable[[int], Awaitable[None]]
    """Waits until this many more written lines have arrived, except those that may still wait for a full batch."""


@contextmanager
def influx() -> Generator[Influx, None, None]:
    """Yield a batching writer of influxdb-client, with its default options."""
    client: Any = import_module("influxdb_client")
    written = 0
    with line_server() as server, client.InfluxDBClient(server.url, token="", org="benchmarks") as connection:
        batch_size = client.WriteOptions().batch_size

        async def wait_arrived(lines: int) -> None:
            nonlocal written
            written += lines
            with trio.fail_after(30):
                while written - server.lines >= batch_size:  # noqa: ASYNC110 - a thread changes it
                    await trio.sleep(0.001)

        with connection.write_api() as writer:
            yield Influx(writer, client.Point, wait_arrived)
