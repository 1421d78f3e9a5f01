"""What each response means: retried, halved, given up, accepted in part."""

from __future__ import annotations

import logging
from typing import Any

import httpx2
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from trio.testing import MockClock

from tests.helpers import balanced
from tests.sinks.otlp.server import FakeOTLP, error, partial, points_of, status_message
from trio_batchmetrics import BatchMetricsConfig, SinkStats, collector
from trio_batchmetrics.abc import SeriesStore

RETRIED = {429, 502, 503, 504}
FAILED = {300, 301, 302, 303, 304, 401, 403, 404, 405, 408, 409, 415, 425, 500, 501, 505}


async def account(server: FakeOTLP, events: int = 3, **settings: Any) -> SinkStats:
    """Record events of as many series, flush, and return the sink's account."""
    sink = server(backoff=0.001, max_backoff=0.001, **settings)
    async with collector(BatchMetricsConfig(flush_interval=1000), sinks=[sink]) as metrics:
        for number in range(events):
            metrics.record_counter("jobs", {"queue": number}, 1)
        await metrics.flush()
        stats = balanced(metrics.stats()).sinks["otlp"]
    balanced(metrics.stats())
    return stats


@pytest.mark.parametrize("status", [200, 202, 204, 206])
async def test_any_2xx_is_delivered(status: int, autojump_clock: MockClock) -> None:
    """Some gateways respond with 202 or 204."""
    stats = await account(FakeOTLP(httpx2.Response(status)))
    assert (stats.delivered, stats.retries, stats.last_error) == (3, 0, None)


@pytest.mark.parametrize("status", sorted(RETRIED))
async def test_a_retryable_status_is_retried(status: int, autojump_clock: MockClock) -> None:
    """The next attempt has everything."""
    stats = await account(FakeOTLP(status, status))
    assert (stats.delivered, stats.failed, stats.retries) == (3, 0, 2)
    assert stats.last_error == f"HTTP {status}: not now"


@pytest.mark.parametrize("status", sorted(FAILED))
async def test_no_other_status_is_retried(status: int, autojump_clock: MockClock) -> None:
    """Not even a 500, a 408 or a redirect to another place: the protocol forbids that."""
    server = FakeOTLP(error(status, location="http://elsewhere.example/v1/metrics"))
    stats = await account(server)
    assert (stats.delivered, stats.failed, stats.retries) == (0, 3, 0)
    assert dict(stats.failures) == {"refused": 3}
    assert str(stats.last_error).startswith(f"HTTP {status}")


@pytest.mark.parametrize("status", [307, 308])
async def test_a_redirect_within_the_origin_is_followed(status: int, autojump_clock: MockClock) -> None:
    """The request is the same."""
    server = FakeOTLP(httpx2.Response(status, headers={"location": "/otlp/v1/metrics"}))
    stats = await account(server)
    assert (stats.delivered, stats.retries) == (3, 0)
    assert [request.url.path for request in server.requests[:2]] == ["/v1/metrics", "/otlp/v1/metrics"]
    assert server.requests[0].content == server.requests[1].content


async def test_retry_after_is_obeyed(mock_clock: MockClock) -> None:
    """It is longer than the usual pause."""
    mock_clock.autojump_threshold = 0
    server = FakeOTLP(error(503, **{"retry-after": "7"}))
    start = mock_clock.current_time()
    stats = await account(server)
    assert stats.delivered == 3
    assert mock_clock.current_time() - start >= 7


@pytest.mark.parametrize("status", [400, 413])
async def test_one_bad_series_is_found_and_left_out(status: int, autojump_clock: MockClock) -> None:
    """The others are stored, and exactly its events are rejected."""

    def answer(request: ExportMetricsServiceRequest) -> httpx2.Response:
        queues = {value for _, _, _, labels in points_of(request) for _, _, value in labels}
        return error(status, "bad queue") if 5 in queues else httpx2.Response(200)

    server = FakeOTLP(answer=answer)
    sink = server(backoff=0.001)
    async with collector(BatchMetricsConfig(flush_interval=1000), sinks=[sink]) as metrics:
        for number in range(12):
            for _ in range(number + 1):
                metrics.record_counter("jobs", {"queue": number}, 1)
        await metrics.flush()
        stats = balanced(metrics.stats()).sinks["otlp"]
        assert (stats.delivered, stats.rejected, stats.failed) == (72, 6, 0)
        assert "bad queue" in str(stats.last_error)
        before = len(server.requests)
        metrics.record_counter("jobs", {"queue": 0}, 1)
        await metrics.flush()
        assert len(server.requests) == before + 1, "the bad series was left out"
    assert {value for _, _, _, labels in server.points for _, _, value in labels} == {*range(12)} - {5}
    assert balanced(metrics.stats()).sinks["otlp"].delivered == 73


async def test_a_server_that_refuses_everything_gets_a_bounded_number_of_requests(autojump_clock: MockClock) -> None:
    """Later pushes go on where this one stopped; nothing is lost silently."""
    server = FakeOTLP(answer=lambda _: error(400, "no metrics here"))
    sink = server(backoff=1.0, max_backoff=1.0)
    config = BatchMetricsConfig(flush_interval=1000, buffer_size=5000, shutdown_timeout=5)
    async with collector(config, sinks=[sink]) as metrics:
        for number in range(1000):
            metrics.record_counter("jobs", {"queue": number}, 1)
    stats = balanced(metrics.stats()).sinks["otlp"]
    assert stats.delivered == 0
    assert stats.rejected + stats.failed == 1000
    assert len(server.requests) < 140 * (stats.retries + 1)


async def test_a_partial_success_is_delivered_and_reported(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The server doesn't say which points it has refused; that a request may not be repeated is the protocol's rule."""
    server = FakeOTLP(*[partial(1, "one is too old")] * 2)
    sink = server()
    async with collector(BatchMetricsConfig(flush_interval=1000), sinks=[sink]) as metrics:
        for _ in range(2):
            for number in range(3):
                metrics.record_counter("jobs", {"queue": number}, 1)
            await metrics.flush()
    stats = balanced(metrics.stats()).sinks["otlp"]
    assert (stats.delivered, stats.rejected, stats.retries) == (6, 0, 0)
    assert stats.last_error == "1 of 3 data points refused: one is too old"
    assert sum("one is too old" in each.message for each in caplog.records if "data points" in each.message) >= 1
    assert [each.levelno for each in caplog.records].count(logging.ERROR) == 0


@pytest.mark.parametrize("rejected", [3, 4, 2**63 - 1])
async def test_if_all_points_are_refused_their_events_are_rejected(rejected: int, autojump_clock: MockClock) -> None:
    """OpenTelemetry's own exporter counts them as sent."""
    stats = await account(FakeOTLP(partial(rejected, "quota")))
    assert (stats.delivered, stats.rejected, stats.retries) == (0, 3, 0)
    assert "quota" in str(stats.last_error)


async def test_a_warning_is_logged_once(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """A message without refused points: everything was stored."""
    server = FakeOTLP(*[partial(0, "deprecated\nendpoint")] * 3)
    async with collector(sinks=[server()]) as metrics:
        for _ in range(3):
            metrics.record_counter("jobs", {}, 1)
            await metrics.flush()
    stats = balanced(metrics.stats()).sinks["otlp"]
    assert (stats.delivered, stats.last_error) == (3, None)
    assert sum("deprecated endpoint" in each.message for each in caplog.records) == 1


@pytest.mark.parametrize("body", [b"\x0a", b"\xff" * 30, b"OK", b'{"partialSuccess":{}}', b"\x0a\x02\x08\xff"])
async def test_a_body_that_is_no_message_does_not_matter(body: bytes, autojump_clock: MockClock) -> None:
    """The status counts."""
    stats = await account(FakeOTLP(httpx2.Response(200, content=body)))
    assert (stats.delivered, stats.last_error) == (3, None)


async def test_a_negative_number_of_refused_points_is_ignored(autojump_clock: MockClock) -> None:
    """A server's mistake."""
    stats = await account(FakeOTLP(partial(-1, "odd")))
    assert (stats.delivered, stats.rejected) == (3, 0)


@pytest.mark.parametrize("status", sorted(RETRIED | {500}))
@pytest.mark.parametrize("body", [b"plain text", b"\x12\xff", status_message("m")])
async def test_an_error_has_the_message_of_any_body(status: int, body: bytes, autojump_clock: MockClock) -> None:
    """A ``google.rpc.Status``, or text from a proxy."""
    stats = await account(FakeOTLP(httpx2.Response(status, content=body)))
    assert str(stats.last_error).startswith(f"HTTP {status}")
    assert b"plain" not in body or "plain text" in str(stats.last_error)
    assert not body.endswith(b"\x01m") or str(stats.last_error).endswith(": m")


async def test_nothing_is_sent_without_series(autojump_clock: MockClock) -> None:
    """An envelope without points is never sent."""
    server = FakeOTLP()
    async with collector(sinks=[server()]):
        pass
    assert not server.requests


def test_the_store_is_the_one_that_positions_belong_to() -> None:
    """A receipt may name series."""
    assert isinstance(FakeOTLP()().snapshot_store, SeriesStore)


async def test_one_bad_series_among_many_is_found_in_few_requests(autojump_clock: MockClock) -> None:
    """By halving: two requests for each doubling of their number, and the first."""

    def answer(request: ExportMetricsServiceRequest) -> httpx2.Response:
        queues = {value for _, _, _, labels in points_of(request) for _, _, value in labels}
        return error(400, "bad queue") if 700 in queues else httpx2.Response(200)

    server = FakeOTLP(answer=answer)
    config = BatchMetricsConfig(flush_interval=1000, batch_size=1000, buffer_size=2000)
    async with collector(config, sinks=[server()]) as metrics:
        for number in range(1000):
            metrics.record_counter("jobs", {"queue": number}, 1)
        await metrics.flush()
        assert len(server.requests) <= 1 + 2 * 10
    stats = balanced(metrics.stats()).sinks["otlp"]
    assert (stats.delivered, stats.rejected) == (999, 1)


@pytest.mark.parametrize("seconds", [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 20.0])
async def test_a_push_that_is_cut_off_while_it_looks_for_a_bad_series(
    seconds: float, autojump_clock: MockClock
) -> None:
    """The account balances, and nothing is settled that no receipt has reported."""

    def answer(request: ExportMetricsServiceRequest) -> httpx2.Response:
        queues = {value for _, _, _, labels in points_of(request) for _, _, value in labels}
        return error(400, "bad queue") if 5 in queues else httpx2.Response(200)

    server = FakeOTLP(delay=1.0, answer=answer)
    config = BatchMetricsConfig(flush_interval=1000, shutdown_timeout=seconds)
    async with collector(config, sinks=[server()]) as metrics:
        for number in range(12):
            metrics.record_counter("jobs", {"queue": number}, 1)
    stats = balanced(metrics.stats()).sinks["otlp"]
    found = (stats.delivered, stats.rejected, stats.failed, stats.pending)
    assert found == ((11, 1, 0, 0) if seconds == 20 else (0, 0, 12, 0))
    assert dict(stats.failures) == ({} if seconds == 20 else {"shutdown": 12})
