"""The public API as a typed user sees it. `make check` runs mypy and pyright over it; nobody executes it.

Each `assert_type` is a promise; each `type: ignore` with its code is one too, because an unused one is an error.
"""

# pyright: reportUnusedExpression=false

from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, assert_type

import trio

import trio_batchmetrics as tbm
from trio_batchmetrics import (
    BackendRequest,
    Batch,
    BatchMetricsCollector,
    BatchMetricsConfig,
    BatchMetricsError,
    BatchMetricsStats,
    BoundCounter,
    BoundGauge,
    BoundHistogram,
    CacheMetric,
    ConfigError,
    Counter,
    DeclarationError,
    FlushReport,
    Gauge,
    HealthCheck,
    Histogram,
    HistogramPoint,
    HttpRequest,
    MetricEvent,
    ObservableGauge,
    Recorder,
    SinkStats,
    ThreadRecorder,
    WrongThreadError,
    collector,
    label,
    measure,
    metric_event,
)
from trio_batchmetrics.abc import EventSink, Limits, Payload, Receipt, SeriesSink
from trio_batchmetrics.sinks import LoggingSink, PrometheusSink
from trio_batchmetrics.testing import FlakySink, PartialSink, RecordingSink, StuckSink

# -- configuration


def configuration() -> None:
    """Numbers, timedeltas, mappings of any values; keyword only; what it gives back."""
    config = BatchMetricsConfig(
        batch_size=200,
        flush_interval=timedelta(seconds=10),
        buffer_size=5000,
        enable_compression=True,
        shutdown_timeout=0,
        on_full="drop_oldest",
        max_series=10,
        max_instruments=10,
        static_labels={"service.name": "gateway", "shard": 3},
        bounds={"response_time": [1, 2.5], "size": (1.0,)},
        enabled=True,
    )
    assert_type(config.batch_size, int)
    assert_type(config.flush_interval, float)
    assert_type(config.buffer_size, int)
    assert_type(config.enable_compression, bool)
    assert_type(config.shutdown_timeout, float)
    assert_type(config.on_full, Literal["drop_newest", "drop_oldest"])
    assert_type(config.max_series, int)
    assert_type(config.max_instruments, int)
    assert_type(config.static_labels, Mapping[str, object])
    assert_type(config.bounds, Mapping[str, tuple[float, ...]])
    assert_type(config.enabled, bool)
    assert_type(BatchMetricsConfig.from_env(), BatchMetricsConfig)
    assert_type(BatchMetricsConfig.from_env(prefix="GATEWAY_"), BatchMetricsConfig)

    BatchMetricsConfig(100)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    BatchMetricsConfig(batch_size="many")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    BatchMetricsConfig(on_full="block")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    config.batch_size = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


# -- the collector


async def my_sink(batch: Batch) -> None:
    """Be a plain function as a sink."""
    assert_type(len(batch), int)
    await trio.lowlevel.checkpoint()


async def careful_sink(batch: Batch) -> Receipt | None:
    """Be one that answers."""
    await trio.lowlevel.checkpoint()
    return None if batch else Receipt.retried()


async def the_collector() -> None:
    """Opening, recording, the account."""
    async with collector() as metrics:
        assert_type(metrics, BatchMetricsCollector)
    async with collector(None, sinks=None) as metrics:
        assert_type(metrics, BatchMetricsCollector)
    async with collector(
        BatchMetricsConfig(), sinks=[LoggingSink(), RecordingSink(), my_sink, careful_sink]
    ) as metrics:
        assert_type(metrics, BatchMetricsCollector)
    async with collector(sinks=(Kept(), Lines())) as metrics:
        assert_type(metrics.stats(), BatchMetricsStats)
        assert_type(await metrics.flush(), FlushReport)
        assert_type(metrics.from_thread(), ThreadRecorder)
        recorder: Recorder = metrics
        recorder = metrics.from_thread()
        await trio.to_thread.run_sync(recorder.record, CacheMetric("redis", "hit"))

    collector({"batch_size": 3})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    collector(BatchMetricsConfig(), [my_sink])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    collector(sinks=[3])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


def recorders(recorder: Recorder) -> None:
    """Every recorder, by position and by keyword."""
    recorder.record(HttpRequest("GET", "/", 200, 0.1))
    recorder.record_http_request("GET", "/api/data", 200, 0.150)
    recorder.record_http_request(method="GET", path="/", status_code=200, duration=timedelta(seconds=1))
    recorder.record_backend_request("openai", "gpt-4", True, 0.850, None)
    recorder.record_backend_request(provider="openai", model="gpt-4", success=False, latency=1, error_type="timeout")
    recorder.record_health_check("backend-1", True, 0.050)
    recorder.record_health_check(backend="backend-1", healthy=False, duration=timedelta())
    recorder.record_cache_metric("redis", "hit")
    recorder.record_cache_metric(cache_type="redis", operation="miss")
    recorder.record_counter("custom_counter", {"region": "us-east"}, 42.0)
    recorder.record_counter(name="custom_counter", labels={}, value=1)
    recorder.record_histogram("response_time", {"region": "us-east", "shard": 3}, 123.4)
    recorder.record_gauge("temperature", {}, -3)

    recorder.record_http_request("GET", "/", "200", 0.1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    recorder.record_counter("name", None, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    recorder.record_gauge("name", {}, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def waiting(metrics: BatchMetricsCollector) -> None:
    """Any event can be waited for."""
    await metrics.arecord(CacheMetric("redis", "hit"))
    await metrics.arecord(LLMCall("gpt-4", 3, 0.1))


def _takes_bytes(function: Callable[[int], Coroutine[Any, Any, bytes]]) -> None:
    """Take what a decorated ``async def`` still is."""


def instruments(metrics: BatchMetricsCollector) -> None:
    """Bound instruments."""
    counter = metrics.counter("requests", labels={"region": "eu"}, unit="{request}", description="Requests.")
    assert_type(counter, BoundCounter)
    counter.add()
    counter.add(2.5)
    gauge = metrics.gauge("in_flight")
    assert_type(gauge, BoundGauge)
    gauge.set(3)
    gauge.inc()
    gauge.dec(0.5)
    with gauge.track() as tracked:
        assert_type(tracked, None)
    histogram = metrics.histogram("duration", unit="s", bounds=[0.1, 1])
    assert_type(histogram, BoundHistogram)
    histogram.observe(0.3)
    with histogram.time() as timed:
        assert_type(timed, None)
    assert_type(histogram.bounds, tuple[float, ...])
    observed = metrics.observable_gauge("depth", lambda: 3, labels={"queue": "in"}, unit="", description="")
    assert_type(observed, ObservableGauge)
    observed.close()
    metrics.observable_gauge("depths", lambda: [({"queue": "in"}, 3), ({"queue": "out"}, 2.5)])
    metrics.describe("job.duration", unit="s", description="Jobs.", bounds=[0.1, 1])

    @gauge.track()
    def plain(number: int, *, text: str = "") -> str:
        return text * number

    @histogram.time()
    async def asynchronous(number: int) -> bytes:
        return b"" * number

    @histogram.time()
    async def generator(number: int) -> AsyncIterator[int]:
        yield number

    assert_type(plain(3, text="x"), str)
    _takes_bytes(asynchronous)
    asynchronous("3")  # type: ignore[arg-type, unused-coroutine]  # pyright: ignore[reportArgumentType, reportUnusedCoroutine]
    assert_type(generator(3), AsyncIterator[int])
    plain("3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    metrics.counter("requests", {"region": "eu"})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    metrics.observable_gauge("depth", 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    counter.add("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# Deviation reported: its docstring promises a `timedelta`, its signature does not.
def spans(histogram: BoundHistogram) -> None:
    """A bound histogram in seconds takes a `timedelta`, as a recorder does."""
    histogram.observe(timedelta(seconds=1))


async def from_within() -> int:
    """A collector's block lets every exception out, so nothing need be returned behind it."""
    async with collector() as metrics:
        return metrics.stats().total_events


# -- events


def events() -> None:
    """The fields of the built-in events."""
    request = HttpRequest("GET", "/api/data", 200, 0.150)
    assert_type(request.method, str)
    assert_type(request.path, str)
    assert_type(request.status_code, int)
    assert_type(request.duration, float)
    assert_type(request.timestamp, int)
    backend = BackendRequest("openai", "gpt-4", success=True, latency=0.85, timestamp=1)
    assert_type(backend.success, bool)
    assert_type(backend.latency, float)
    assert_type(backend.error_type, str | None)
    check = HealthCheck(backend="backend-1", healthy=True, duration=0.05)
    assert_type(check.healthy, bool)
    assert_type(CacheMetric("redis", "hit").operation, str)
    assert_type(Counter("a", {"b": 1}, 2.0).labels, Mapping[str, Any])
    assert_type(Histogram("a", {}, 2).value, float)
    assert_type(Gauge("a", {}, 2).name, str)
    point = HistogramPoint("a", {}, 1, 2.0, (1.0,), (0, 1))
    assert_type(point.count, int)
    assert_type(point.sum, float)
    assert_type(point.bounds, tuple[float, ...])
    assert_type(point.counts, tuple[int, ...])
    event: MetricEvent = point
    assert_type(event.timestamp, int)

    HttpRequest("GET", "/api/data", 200)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    CacheMetric("redis", "hit", 1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    CacheMetric("redis", 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    request.path = "/"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


@metric_event
class LLMCall(MetricEvent):
    """A user's own event."""

    model: str = label("gen_ai.request.model")
    tokens: int = measure(Counter, "gen_ai.client.tokens", unit="{token}")
    seconds: float = measure(
        Histogram, "gen_ai.client.operation.duration", unit="s", description="Duration.", bounds=[0.1, 1], default=0.0
    )


@metric_event
class Bare:
    """One without the base written out: a checker knows its fields, not its timestamp."""

    model: str = label()
    up: bool = measure(Gauge, "up")


@metric_event(counts="refunds")
class Refund(MetricEvent):
    """Counted."""


def own_events(recorder: Recorder) -> None:
    """Own events are typed by their declaration."""
    call = LLMCall("gpt-4", 321, seconds=0.25, timestamp=1)
    assert_type(call, LLMCall)
    assert_type(call.model, str)
    assert_type(call.tokens, int)
    assert_type(call.timestamp, int)
    recorder.record(call)
    LLMCall(model="gpt-4", tokens=3)
    recorder.record(Bare("gpt-4", up=True))
    assert_type(Bare("gpt-4", True).up, bool)
    recorder.record(Refund())

    LLMCall("gpt-4")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    LLMCall("gpt-4", "many")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    call.model = "gpt-5"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


# -- stats


def account(stats: BatchMetricsStats, report: FlushReport) -> None:
    """Every number."""
    assert_type(str(stats), str)
    assert_type(stats.total_events, int)
    assert_type(stats.processed_events, int)
    assert_type(stats.dropped_events, int)
    assert_type(stats.failed_events, int)
    assert_type(stats.spooled_events, int)
    assert_type(stats.pending_events, int)
    assert_type(stats.batch_count, int)
    assert_type(stats.last_flush_time, datetime | None)
    assert_type(stats.time_since_last_flush, float | None)
    assert_type(stats.dropped, Mapping[str, int])
    assert_type(stats.sinks, Mapping[str, SinkStats])
    sink = stats.sinks["logging"]
    assert_type(sink.total, int)
    assert_type(sink.delivered, int)
    assert_type(sink.rejected, int)
    assert_type(sink.failed, int)
    assert_type(sink.spooled, int)
    assert_type(sink.pending, int)
    assert_type(sink.retries, int)
    assert_type(sink.last_error, str | None)
    assert_type(sink.last_success, datetime | None)
    assert_type(report.processed, int)
    assert_type(report.failed, int)
    assert_type(report.spooled, int)
    assert_type(report.dropped, int)
    assert_type(report.pending, int)
    assert_type(report.ok, bool)
    report.failed = 0  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


# -- batches and sinks


def batches(batch: Batch) -> None:
    """A sequence of events."""
    sequence: Sequence[MetricEvent] = batch
    assert_type(len(sequence), int)
    assert_type(batch[0], MetricEvent)
    assert_type(batch[1:], Batch)
    assert_type(batch.kinds(), dict[str, int])
    for event in batch:
        assert_type(event, MetricEvent)
        if isinstance(event, HttpRequest):
            assert_type(event.duration, float)


class Lines(EventSink[bytes]):
    """An event sink of one's own."""

    def encode(self, events: Sequence[MetricEvent]) -> bytes | None:
        """Make bytes."""
        return b"".join(repr(event).encode() for event in events)

    async def send(self, payload: Payload[bytes]) -> Receipt | None:
        """Look at the payload."""
        assert_type(payload.parts, tuple[bytes, ...])
        assert_type(payload.events, Batch)
        assert_type(payload.key, str)
        if len(payload.events) > 500:
            return Receipt.split()
        if not payload.parts:
            return Receipt.retried(3.0, retry=[1, 2], rejected={0: "bad"}, error="503")
        return None


class Kept(SeriesSink[Mapping[str, float]]):
    """A series sink of one's own."""

    def merge(self, events: Sequence[MetricEvent]) -> Mapping[int, str] | None:
        """Add, but for those that it refuses."""
        return {0: "bad"} if len(events) > 500 else None

    def snapshot(self) -> Mapping[str, float] | None:
        """Show."""
        return {}

    async def send(self, payload: Payload[Mapping[str, float]]) -> Receipt | None:
        """Look at the payload."""
        assert_type(payload.parts[0], Mapping[str, float])
        return None


async def pages() -> None:
    """A page as it stands, and a fresh one; limits, and how often everything is pushed again."""
    sink = PrometheusSink(limits=Limits(4096, label_name_bytes=256, labels=40))
    assert_type(sink.render(), tuple[bytes, str])
    assert_type(await sink.page(None, within=timedelta(seconds=1)), tuple[bytes, str])
    assert_type(sink.overflowed, Mapping[str, int])
    assert_type(Kept(refresh=None).refresh, float | None)
    assert_type(sink.merge([]), Mapping[int, str] | None)
    Kept(refresh="60")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def receipts(receipt: Receipt) -> None:
    """What a sink answers."""
    assert_type(receipt.rejected, Mapping[int, str])
    assert_type(receipt.retry_after, float | None)
    assert_type(receipt.rest, Literal["delivered", "retry", "split", "failed"])
    assert_type(receipt.retry, Collection[int] | None)
    assert_type(receipt.error, str | None)
    assert_type(receipt.in_doubt, bool)
    assert_type(Receipt.retried(20, error="429", retry=[1], rejected={0: "bad"}, in_doubt=True), Receipt)
    assert_type(Receipt.split(error="413", rejected={0: "bad"}, in_doubt=True), Receipt)
    assert_type(Receipt.failed("401"), Receipt)
    Receipt(retry=True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Receipt(rest="too large")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Receipt({0: "bad"})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def fakes() -> None:
    """The public fakes."""
    sink: RecordingSink
    for sink in (
        RecordingSink(name="mine", timeout=3),
        FlakySink(fail=3, retry_budget=1),
        StuckSink(),
        PartialSink(reject=lambda event: event.timestamp == 1),
    ):
        assert_type(sink.events, list[MetricEvent])
        assert_type(sink.batches, list[Batch])


# -- errors


def errors() -> None:
    """Each may be caught as what it is and as the builtin."""
    _roots: list[type[BatchMetricsError]] = [ConfigError, DeclarationError, WrongThreadError]
    _values: list[type[ValueError]] = [ConfigError, DeclarationError]
    _type: type[TypeError] = DeclarationError
    _run: type[RuntimeError] = WrongThreadError


def exported() -> None:
    """What a star import gives."""
    assert_type(tbm.__all__, list[str])
