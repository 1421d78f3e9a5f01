"""A request goes to the configured place, and keeps to its limits."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest
import trio

from tests.sinks.contract import ids, record
from tests.sinks.influxdb.server import URL, FakeServer, arrived
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.sinks._influxdb.series_sink import InfluxDBSeriesSink
from trio_batchmetrics.sinks._influxdb.sink import InfluxDBSink


@pytest.mark.parametrize(
    ("settings", "path", "authorization"),
    [
        ({"database": "d b"}, "/write?db=d%20b&precision=ns", None),
        ({"database": "d", "retention_policy": "r"}, "/write?db=d&precision=ns&rp=r", None),
        ({"database": "d", "token": "secret"}, "/write?db=d&precision=ns", "Bearer secret"),
        ({"database": "d", "auth": ("user", "password")}, "/write?db=d&precision=ns", "Basic dXNlcjpwYXNzd29yZA=="),
        ({"bucket": "b/r", "token": "secret"}, "/api/v2/write?bucket=b%2Fr&precision=ns", "Token secret"),
        ({"bucket": "b", "org": "o"}, "/api/v2/write?bucket=b&org=o&precision=ns", None),
        (
            {"database": "d", "api": 3, "token": "secret"},
            "/api/v3/write_lp?db=d&precision=nanosecond&accept_partial=true",
            "Bearer secret",
        ),
        (
            {"bucket": "b", "token": "x", "headers": {"authorization": "own"}},
            "/api/v2/write?bucket=b&precision=ns",
            "own",
        ),
    ],
)
@pytest.mark.parametrize("kind", [InfluxDBSink, InfluxDBSeriesSink])
async def test_a_write_goes_to_the_configured_path(
    kind: Callable[..., InfluxDBSink], settings: dict[str, Any], path: str, authorization: str | None
) -> None:
    """The credentials are in a header, never in the URL."""
    server = FakeServer()
    async with collector(sinks=[kind(f"{URL}/base/", client=server.client, **settings)]) as metrics:
        metrics.record_counter("c", {}, 2)
    [request] = server.requests
    assert request.method == "POST"
    assert request.url.raw_path.decode().replace("+", "%20") == f"/base{path}"
    assert request.headers.get("authorization") == authorization
    assert request.headers["content-type"] == "text/plain; charset=utf-8"
    assert server.values() == [2.0]
    assert server.pings == 0


@pytest.mark.parametrize("kind", [InfluxDBSink, InfluxDBSeriesSink])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "database or bucket must be given, and only one"),
        ({"database": "d", "bucket": "b"}, "database or bucket must be given, and only one"),
        ({"database": ""}, "database must be a str that is not empty"),
        ({"bucket": 7}, r"bucket must be a str that is not empty \(got 7\)"),
        ({"bucket": "b", "org": ""}, "org must be"),
        ({"database": "d", "token": ""}, r"token must be a str that is not empty \(got something else\)"),
        ({"database": "d", "api": 2}, r"api must be None or 3 \(got 2\)"),
        ({"bucket": "b", "api": 3}, "api=3 and retention_policy go with a database"),
        ({"bucket": "b", "retention_policy": "r"}, "api=3 and retention_policy go with a database"),
        ({"database": "d", "api": 3, "retention_policy": "r"}, "retention_policy belongs to InfluxDB 1"),
        ({"database": "d", "org": "o"}, "org goes with a bucket"),
        (
            {"database": "d", "dialect": "graphite"},
            r"dialect must be one of influxdb, influxdb3, .* \(got 'graphite'\)",
        ),
        ({"database": "d", "token": "t", "auth": ("u", "p")}, "token and user and password are both given"),
        ({"database": "d", "timeout": 0}, "timeout must be a finite number of seconds > 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    kind: Callable[..., InfluxDBSink], settings: dict[str, Any], message: str
) -> None:
    """The constructor refuses them."""
    with pytest.raises(ValueError, match=message):
        kind(URL, **settings)


def test_default_limits_are_the_documented_ones() -> None:
    """Given limits replace them."""
    sink = InfluxDBSink(URL, database="d")
    assert (sink.max_events, sink.max_payload_bytes) == (5_000, 5_000_000)
    sink = InfluxDBSink(URL, database="d", max_events=7, max_payload_bytes=8)
    assert (sink.max_events, sink.max_payload_bytes) == (7, 8)


async def test_payloads_keep_to_their_limits() -> None:
    """A payload has at most 5 000 events, and at most the given number of bytes."""
    server = FakeServer()
    async with collector(BatchMetricsConfig(batch_size=6000), sinks=[server.sink()]) as metrics:
        record(metrics, range(6000))
    assert sorted(body.count("\n") for body in server.bodies) == [1000, 5000]
    server = FakeServer()
    async with collector(BatchMetricsConfig(batch_size=6000), sinks=[server.sink(max_payload_bytes=10_000)]) as metrics:
        record(metrics, range(6000))
    assert max(len(body) for body in server.bodies) <= 10_000
    assert ids(arrived(server.stored)) == list(range(6000))


async def test_bodies_are_compressed_on_request() -> None:
    """The encoding is gzip."""
    server = FakeServer()
    seen = list[str | None]()

    async def answer(request: httpx2.Request) -> httpx2.Response:
        await trio.lowlevel.checkpoint()
        seen.append(request.headers.get("content-encoding"))
        assert len(request.content) < 5_000
        return httpx2.Response(204)

    server.client = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    async with collector(BatchMetricsConfig(enable_compression=True), sinks=[server.sink()]) as metrics:
        record(metrics, range(300))
    assert set(seen) == {"gzip"}
    assert metrics.stats().sinks["influxdb"].delivered == 300
