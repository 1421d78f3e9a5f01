"""OTLP: encoding data points, and the whole path into a server, alongside OpenTelemetry's own SDK and exporter."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib import import_module
from time import process_time
from typing import Any

import trio

from trio_batchmetrics import Batch, BatchMetricsConfig, Counter, Histogram, MetricEvent, collector
from trio_batchmetrics.abc import SinkContext
from trio_batchmetrics.sinks import OTLPSink

from .blocking import responding_server
from .effort import Effort
from .figures import Figure, Outcome, ratio
from .recording import check_accepted
from .series import requests
from .timing import Contender, compete

__all__ = ["run"]

POINTS = 2000
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
EVENTS = 20_000
"""Recorded per flush: ten seconds of a service that records 2 000 events per second."""
NAME = "http.server.request.duration"


def _labels(number: int) -> dict[str, str | int]:
    return {"http.request.method": "GET", "http.route": f"/api/{number}", "http.response.status_code": 200}


def _ours(events: list[MetricEvent]) -> Callable[[], list[bytes]]:
    """Return a function that encodes a push of these events' series, whose labels are known."""
    requests_of: Any = import_module("trio_batchmetrics.sinks._otlp.requests").requests_of
    sink: Any = OTLPSink("http://127.0.0.1:4318")
    sink.bind(SinkContext(run_id="0" * 32, max_series=POINTS, bounds={NAME: BOUNDS}))
    for start in range(0, len(events), 500):
        sink.merge(Batch(events[start : start + 500]))

    def encode() -> list[bytes]:
        return [each.body(sink._resource, sink._scope) for each in requests_of([*sink.snapshot()], POINTS)]

    encode()
    return encode


def _theirs(record: Callable[[Any], None]) -> Callable[[], bytes]:
    """Return a function that encodes what OpenTelemetry's SDK has collected, with its exporter's encoder."""
    metrics: Any = import_module("opentelemetry.sdk.metrics")
    export: Any = import_module("opentelemetry.sdk.metrics.export")
    encode_metrics: Any = import_module("opentelemetry.exporter.otlp.proto.common.metrics_encoder").encode_metrics
    reader = export.InMemoryMetricReader()
    provider = metrics.MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    record(provider.get_meter("benchmarks"))
    data = reader.get_metrics_data()
    return lambda: encode_metrics(data).SerializeToString()


def _count(meter: Any) -> None:
    counter = meter.create_counter(NAME)
    for number in range(POINTS):
        counter.add(0.5, _labels(number))


def _observe(meter: Any) -> None:
    histogram = meter.create_histogram(NAME, explicit_bucket_boundaries_advisory=BOUNDS)
    for number in range(POINTS):
        histogram.record(0.5, _labels(number))


async def _encoding(effort: Effort) -> list[Figure]:
    numbers: list[MetricEvent] = [Counter(NAME, _labels(number), 0.5) for number in range(POINTS)]
    histograms: list[MetricEvent] = [Histogram(NAME, _labels(number), 0.5) for number in range(POINTS)]

    def contender(name: str, encode: Callable[[], object]) -> Contender:
        return Contender(name, "encode()", {"encode": encode}, calls=POINTS, loop="for _ in (0,)")

    rounds = await compete(
        [
            contender("number", _ours(numbers)),
            contender("their number", _theirs(_count)),
            contender("histogram", _ours(histograms)),
            contender("their histogram", _theirs(_observe)),
        ],
        effort.seconds,
    )
    return [
        Figure("OTLP: a number's data point encoded, ns", min(rounds["number"]), "", 700),
        Figure("OTLP: a histogram's data point with 14 bounds encoded, ns", min(rounds["histogram"]), "", 1500),
        ratio("the same, a number ÷ opentelemetry-sdk's exporter", rounds["number"], rounds["their number"], 0.2),
        ratio(
            "the same, a histogram ÷ opentelemetry-sdk's exporter",
            rounds["histogram"],
            rounds["their histogram"],
            0.2,
        ),
    ]


@contextmanager
def _exporting(url: str) -> Generator[Any]:
    """Yield the SDK's meter provider, which sends when it is flushed."""
    metrics: Any = import_module("opentelemetry.sdk.metrics")
    export: Any = import_module("opentelemetry.sdk.metrics.export")
    exporter: Any = import_module("opentelemetry.exporter.otlp.proto.http.metric_exporter").OTLPMetricExporter
    reader = export.PeriodicExportingMetricReader(exporter(f"{url}/v1/metrics"), export_interval_millis=3_600_000)
    provider = metrics.MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    try:
        yield provider
    finally:
        provider.shutdown()


async def _whole_path(effort: Effort) -> list[Figure]:
    """Record and send; the figures are CPU seconds of this process, per event."""
    of = requests(EVENTS)
    ours: list[float] = []
    bound: list[float] = []
    theirs: list[float] = []
    config = BatchMetricsConfig(buffer_size=2 * EVENTS, batch_size=1000)
    with responding_server() as url, _exporting(url) as provider:
        histogram = provider.get_meter("benchmarks").create_histogram(NAME, unit="s")
        attributes = [
            {"http.request.method": method, "http.route": path, "http.response.status_code": status}
            for method, path, status, _ in of
        ]
        async with (
            collector(config, sinks=[OTLPSink(url)]) as metrics,
            collector(config, sinks=[OTLPSink(url)]) as other,
        ):
            instruments = [other.histogram(NAME, labels=labels, unit="s") for labels in attributes]
            end = trio.current_time() + effort.seconds
            while trio.current_time() < end:
                start = process_time()
                for request in of:
                    metrics.record_http_request(*request)
                await metrics.flush()
                middle = process_time()
                for instrument, request in zip(instruments, of, strict=True):
                    instrument.observe(request[3])
                await other.flush()
                later = process_time()
                for labels, request in zip(attributes, of, strict=True):
                    histogram.record(request[3], labels)
                provider.force_flush()
                ours.append((middle - start) / EVENTS * 1e9)
                bound.append((later - middle) / EVENTS * 1e9)
                theirs.append((process_time() - later) / EVENTS * 1e9)
            check_accepted(metrics, other)
    name = "CPU time of this process per event, recorded and sent over OTLP"
    return [
        ratio(f"{name}: a recorder ÷ opentelemetry-sdk", ours, theirs, 1 / 8),
        ratio(f"{name}: a bound instrument ÷ opentelemetry-sdk", bound, theirs, 1 / 30),
    ]


async def _run(effort: Effort) -> Outcome:
    return Outcome([*await _encoding(effort), *await _whole_path(effort)])


def run(effort: Effort) -> Outcome:
    """Measure."""
    return trio.run(_run, effort)
