"""The documentation's example runs as written, and its batches leave when it says."""

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.fakes import TimedSink, numbered, numbers
from tests.helpers import balanced
from tests.recording.examples import timeless
from trio_batchmetrics import (
    BackendRequest,
    BatchMetricsCollector,
    BatchMetricsConfig,
    CacheMetric,
    Counter,
    HealthCheck,
    Histogram,
    HttpRequest,
    collector,
)


def record_the_example(metrics: BatchMetricsCollector) -> None:
    """Record the six events of the documentation's example, as written there."""
    metrics.record_http_request("GET", "/api/data", 200, 0.150)
    metrics.record_backend_request("openai", "gpt-4", True, 0.850, None)
    metrics.record_health_check("backend-1", True, 0.050)
    metrics.record_cache_metric("redis", "hit")
    metrics.record_counter("custom_counter", {"region": "us-east"}, 42.0)
    metrics.record_histogram("response_time", {"region": "us-east"}, 123.4)


async def test_the_documentations_example_runs_as_written(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Six events are pending when the stats are printed, and arrive when the block ends."""
    sink = TimedSink()
    async with collector(
        BatchMetricsConfig(batch_size=200, flush_interval=10, buffer_size=5000), sinks=[sink]
    ) as metrics:
        record_the_example(metrics)
        print(metrics.stats())  # noqa: T201 - as in the example
    assert capsys.readouterr().out.startswith("total=6 processed=0 dropped=0 failed=0 spooled=0 pending=6 batches=0")
    assert sink.arrivals == [(0.0, 6)]
    assert timeless(sink.events) == timeless(
        [
            HttpRequest("GET", "/api/data", 200, 0.150),
            BackendRequest("openai", "gpt-4", True, 0.850, None),
            HealthCheck("backend-1", True, 0.050),
            CacheMetric("redis", "hit"),
            Counter("custom_counter", {"region": "us-east"}, 42.0),
            Histogram("response_time", {"region": "us-east"}, 123.4),
        ]
    )
    assert balanced(metrics.stats()).processed_events == 6


async def test_six_events_arrive_at_the_interval_and_full_batches_at_once(autojump_clock: MockClock) -> None:
    """With batches of 200 and 10 s, six leave at 10.0 s in one batch; of 450 more, two full batches leave at once."""
    sink = TimedSink()
    async with collector(
        BatchMetricsConfig(batch_size=200, flush_interval=10, buffer_size=5000), sinks=[sink]
    ) as metrics:
        record_the_example(metrics)
        await trio.sleep(9.999)
        assert sink.arrivals == []
        await trio.sleep(20)
        assert sink.arrivals == [(10.0, 6)]
        assert metrics.stats().batch_count == 1
        start = trio.current_time()
        for number in range(450):
            metrics.record(numbered(number))
        with trio.testing.assert_checkpoints():
            await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() == start
        assert sink.arrivals[1:] == [(start, 200), (start, 200)]
        assert metrics.stats().pending_events == 50
        await trio.sleep(20)
        assert sink.arrivals[3:] == [(start + 10, 50)]
    assert numbers(sink.events[6:]) == list(range(450))
    assert balanced(metrics.stats()).batch_count == 4
