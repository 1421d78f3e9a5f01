"""The sink writes a backslash as the current server reads it, and reports the text that is lost by this."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest
import trio

from tests.sinks.influxdb.server import HOSTILE, LOST, URL, FakeServer, error
from trio_batchmetrics import BatchMetricsConfig, Gauge, collector
from trio_batchmetrics.sinks._influxdb.series_sink import InfluxDBSeriesSink
from trio_batchmetrics.sinks._influxdb.sink import InfluxDBSink


@pytest.mark.parametrize("dialect", ["influxdb", "influxdb3", "victoriametrics"])
@pytest.mark.parametrize("told", [False, True])
async def test_a_backslash_is_written_as_the_server_reads_it(dialect: Any, told: bool) -> None:
    """The server is asked once, at the first backslash, unless the sink was given a dialect."""
    server = FakeServer(dialect=dialect)
    sink = server.sink(dialect=dialect if told else None)
    async with collector(sinks=[sink]) as metrics:
        metrics.record_gauge("a b", {"c": "d,e", "f": "two\nlines"}, 0)
        await metrics.flush()
        assert (server.pings, sink.dialect) == (0, dialect if told else None)
        for number in range(1, 4):
            metrics.record_gauge("m", HOSTILE, number)
            await metrics.flush()
    assert (server.pings, sink.dialect) == (0 if told else 1, dialect)
    tail = "\\" if dialect == "victoriametrics" else LOST
    expected = {"a": "x\\, y", f"b{tail}": f"tail{tail}", "c": f"\\{tail}"}
    assert [line.tags for line in server.stored[1:]] == [expected] * 3
    assert sink.replacements == 1 + (0 if tail == "\\" else 3)


async def test_a_payload_with_a_backslash_is_encoded_again_for_each_attempt(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Each attempt has the same lines, including halves and leftovers."""
    answers = [httpx2.Response(503), httpx2.Response(503), error(413, "too large"), httpx2.Response(503)]
    server = FakeServer(*answers, dialect="victoriametrics")
    async with collector(sinks=[server.sink()]) as metrics:
        for number in range(4):
            metrics.record(Gauge("m", HOSTILE, number, timestamp=7))
    assert server.pings == 1
    assert server.bodies[0] == server.bodies[1] == server.bodies[2]
    assert "".join(server.bodies[4:]) == server.bodies[0]
    assert [(line.tags, line.timestamp) for line in server.stored] == [(HOSTILE, 7 + number) for number in range(4)]


async def test_a_large_payload_with_a_backslash_is_encoded_again_as_a_whole() -> None:
    """The payload has several parts, and the lines stay in order."""
    server = FakeServer(dialect="victoriametrics")
    async with collector(BatchMetricsConfig(batch_size=2000), sinks=[server.sink()]) as metrics:
        for number in range(1200):
            metrics.record_gauge("m", HOSTILE if number == 7 else {}, number)
    assert server.values() == list(range(1200))
    assert [line.tags for line in server.stored[6:9]] == [{}, HOSTILE, {}]


async def test_series_wait_for_a_server_that_cannot_identify_itself_yet(autojump_clock: trio.testing.MockClock) -> None:
    """They are pushed once it can."""
    server = FakeServer(dialect="victoriametrics", ping=httpx2.Response(503))
    sink = InfluxDBSeriesSink(URL, database="db", client=server.client)
    async with collector(sinks=[sink]) as metrics:
        metrics.record_counter("m", HOSTILE, 1)
        await trio.sleep(60)
        assert server.pings > 3
        assert server.stored == []
        server.ping = httpx2.Response(204, headers={"X-Server-Hostname": "vm"})
        assert (await metrics.flush()).ok
    assert server.stored[-1].tags == HOSTILE


@pytest.mark.parametrize(
    ("ping", "dialect"),
    [
        (httpx2.Response(403, headers={"X-Server-Hostname": "vm"}), "victoriametrics"),
        (httpx2.Response(204, headers={"X-Server-Hostname": "x", "X-Influxdb-Version": "v2.7.1"}), "influxdb"),
        (httpx2.Response(200, headers={"X-Influxdb-Version": "v3.0.0"}, json={"version": "3.0.0"}), "influxdb3"),
        (httpx2.Response(204, headers={"X-Influxdb-Version": "unknown"}), "influxdb"),
    ],
)
async def test_a_server_is_identified_by_its_headers(ping: httpx2.Response, dialect: str) -> None:
    """The status does not matter."""
    server = FakeServer(dialect=dialect, ping=ping)
    sink = server.sink()
    async with collector(sinks=[sink]) as metrics:
        metrics.record_gauge("m", HOSTILE, 1)
    assert sink.dialect == dialect
    assert len(server.stored) == 1


@pytest.mark.parametrize("status", [200, 204, 401, 404])
@pytest.mark.parametrize("kind", [InfluxDBSink, InfluxDBSeriesSink])
async def test_a_server_that_does_not_identify_itself_is_asked_again(
    kind: Callable[..., InfluxDBSink], status: int
) -> None:
    """Until then lines are written as for InfluxDB 1 and 2: it may be a proxy whose server is not up yet."""
    server = FakeServer(dialect="influxdb", ping=httpx2.Response(status))
    sink = kind(URL, database="db", client=server.client)
    async with collector(sinks=[sink]) as metrics:
        for number in (1, 2):
            metrics.record_counter("m", {"a": "\\n"}, number)
            await metrics.flush()
            assert (sink.dialect, server.pings) == (None, number)
        server.dialect, server.ping = "victoriametrics", httpx2.Response(204, headers={"X-Server-Hostname": "vm"})
        for _ in range(2):
            metrics.record_counter("m", {"a": "x\\,y"}, 3)
            await metrics.flush()
    assert (sink.dialect, server.pings) == ("victoriametrics", 3)
    assert [line.tags["a"] for line in server.stored][:2] == ["\\n"] * 2
    assert {line.tags["a"] for line in server.stored[2:]} <= {"\\n", "x\\,y"}
    assert server.stored[-1].tags["a"] == "x\\,y"


async def test_a_server_that_is_not_ready_is_asked_again(autojump_clock: trio.testing.MockClock) -> None:
    """Nothing is sent before the server is identified."""

    class Starting(FakeServer):
        """Is not ready at first."""

        async def answer(self, request: httpx2.Request) -> httpx2.Response:
            if request.url.path == "/ping" and self.pings < 2:
                self.pings += 1
                if self.pings == 2:
                    raise httpx2.ConnectError("refused", request=request)
                return httpx2.Response(503)
            return await super().answer(request)

    server = Starting(dialect="victoriametrics")
    async with collector(sinks=[server.sink()]) as metrics:
        metrics.record_gauge("m", HOSTILE, 1)
    assert (server.pings, len(server.requests)) == (3, 1)
    account = metrics.stats().sinks["influxdb"]
    assert (account.delivered, account.retries) == (1, 2)
    assert account.last_error == "ConnectError: refused"


async def test_lost_characters_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """The message shows nothing of the text, and the losses are counted."""
    server = FakeServer()
    sink = server.sink()
    async with collector(sinks=[sink]) as metrics:
        for number in range(3):
            metrics.record_gauge("m", {"a": f"sesame\n{number}"}, 1)
            await metrics.flush()
    assert sink.replacements == 3
    [message] = caplog.messages
    assert message.startswith("metrics: influx.example:8086: names or labels have characters that line protocol cannot")
    assert "sesame" not in message
