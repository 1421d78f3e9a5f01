"""The InfluxDB sinks and real InfluxDBs: what each server refuses, and what the database and the account then have.

`test_arrival_influxdb.py` covers whole streams of events, and hostile texts.
"""

import re
import time
from collections.abc import Sequence
from typing import Any

import pytest

from tests.helpers import balanced
from tests.servers.base import NewServer
from tests.servers.influxdb import InfluxDB, InfluxDB18, InfluxDB113
from tests.servers.proxy import Proxy
from trio_batchmetrics import (
    Batch,
    BatchMetricsConfig,
    CacheMetric,
    Gauge,
    HealthCheck,
    MetricEvent,
    SinkStats,
    collector,
)
from trio_batchmetrics.abc import Payload, Receipt
from trio_batchmetrics.sinks._influxdb.series_sink import InfluxDBSeriesSink
from trio_batchmetrics.sinks._influxdb.sink import InfluxDBSink

NOW = time.time_ns()
QUICK: dict[str, Any] = {"backoff": 0.01, "max_backoff": 0.05}


def _place(kind: str, *, v2: bool = False) -> Any:
    return pytest.param((kind, v2), id=f"{kind} by /api/v2" if v2 else kind, marks=pytest.mark.server(kind))


@pytest.fixture(
    params=[
        _place("influxdb"),
        _place("influxdb18"),
        _place("influxdb18", v2=True),
        _place("influxdb113"),
        _place("influxdb113", v2=True),
        _place("influxdb27", v2=True),
    ]
)
def place(request: pytest.FixtureRequest, namespace: str) -> tuple[InfluxDB, str, dict[str, Any]]:
    """Each server with a database of the test's own, and the settings of a sink for it."""
    kind, v2 = request.param
    server: InfluxDB = request.getfixturevalue(kind)
    server.create_database(namespace)
    where = {"bucket" if v2 else "database": namespace}
    return server, namespace, where | server.credentials


pytestmark = pytest.mark.server("influxdb", "influxdb18")


def another(where: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the settings of a sink for another database or bucket."""
    return {key: name if key in ("database", "bucket") else value for key, value in where.items()}


async def sent(sink: InfluxDBSink | InfluxDBSeriesSink, events: Sequence[MetricEvent], **config: Any) -> SinkStats:
    """Record events, and return the sink's account."""
    async with collector(BatchMetricsConfig(**config), sinks=[sink]) as metrics:
        for event in events:
            metrics.record(event)
    [account] = balanced(metrics.stats()).sinks.values()
    return account


def gauges(numbers: Sequence[int], name: str = "m", **labels: str) -> list[MetricEvent]:
    """Return a gauge for each number."""
    return [Gauge(name, labels, number, timestamp=NOW + number) for number in numbers]


def stored(server: InfluxDB, database: str, name: str = "m") -> list[float]:
    """Return the values of a measurement."""
    return [point["value"] for point in server.points(database, name)]


# -------------------------------------------------------------------------------------------------------- delivered


async def test_events_of_one_nanosecond_all_arrive(place: tuple[InfluxDB, str, dict[str, Any]]) -> None:
    """The events belong to the same series and to others, with other events before and after, in compressed bodies."""
    server, database, where = place
    events = [Gauge("m", {"a": "bc"[number % 2]}, number, timestamp=NOW + number // 500) for number in range(2000)]
    account = await sent(InfluxDBSink(server.url, **where), events, enable_compression=True, batch_size=700)
    assert (account.delivered, account.retries) == (2000, 0)
    points = server.points(database, "m")
    assert sorted(point["value"] for point in points) == list(range(2000))
    assert all(point["a"] == "bc"[point["value"] % 2] for point in points)
    assert all(0 <= point["time"] - NOW - point["value"] // 500 < 1000 for point in points)
    assert server.field_types(database, "m") == {"value": "float"}


async def test_every_digit_of_a_number_arrives(place: tuple[InfluxDB, str, dict[str, Any]]) -> None:
    """Large numbers, small numbers, and numbers in between arrive exactly."""
    server, database, where = place
    values = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, 123456789.12345678, 1e22, 0, 7, -2.5, 2**53 + 1]
    events = [Gauge("m", {}, value, timestamp=NOW + at) for at, value in enumerate(values)]
    assert (await sent(InfluxDBSink(server.url, **where), events)).delivered == len(values)
    assert stored(server, database) == [float(value) for value in values]


async def test_a_quote_after_an_escaped_space_swallows_no_line(place: tuple[InfluxDB, str, dict[str, Any]]) -> None:
    r"""Without taming, the server loses the next line: it takes the space of `\\ ` for the end of the tags."""
    server, database, where = place
    untamed = f'm,k\\\\ z=" value=1 {NOW}\nlost value=1 {NOW}\n'
    assert server.request("POST", f"/write?db={database}", untamed).status == 400
    assert server.measurements(database) == []
    sink = InfluxDBSink(server.url, **where)
    events = [Gauge("m", {"k\\ z": '"'}, 1), Gauge("neighbour", {}, 1), Gauge('a\\ "', {'\\ "=': '\\ "'}, 1)]
    assert (await sent(sink, [*events, *gauges([1], "last")])).delivered == 4
    assert set(server.measurements(database)) == {"m", "neighbour", 'a\ufffd "', "last"}
    assert [point["k\ufffd z"] for point in server.points(database, "m")] == ['"']
    assert (sink.dialect, sink.replacements) == ("influxdb", 4)


async def test_series_are_written_repeatedly(place: tuple[InfluxDB, str, dict[str, Any]]) -> None:
    """Each write has the sums so far."""
    server, database, where = place
    async with collector(sinks=[InfluxDBSeriesSink(server.url, **where)]) as metrics:
        for number in range(1, 4):
            metrics.record_counter("jobs", {"queue": "a"}, number)
            metrics.histogram("wait", bounds=[0.5, 2]).observe(number)
            assert (await metrics.flush()).ok
    found = [(point["queue"], point["value"]) for point in server.points(database, "jobs")]
    assert found == sorted(found)
    assert set(found) == {("a", 1), ("a", 3), ("a", 6)}
    *_, last = server.points(database, "wait")
    assert {field: last[field] for field in ("count", "sum", "0.5", "2", "+Inf")} == {
        "count": 3,
        "sum": 6,
        "0.5": 0,
        "2": 2,
        "+Inf": 3,
    }


# --------------------------------------------------------------------------------------------------- partial writes


async def test_a_type_conflict_rejects_only_the_conflicting_events(place: tuple[InfluxDB, str, dict[str, Any]]) -> None:
    """Where a field is already an integer, the sink finds each conflicting measurement and stores the rest.

    The server keeps types per shard, and a shard has a week of points here.
    """
    server, database, where = place
    taken = [f"{name} value=1i,sum=1i {NOW - 1}" for name in ("odd\\ one", "a\\,b,x=y", "backend.health")]
    server.ask("POST", f"/write?db={database}", body="\n".join(taken))
    events = [*gauges(range(3)), *gauges(range(2), "odd one"), *gauges([3]), *gauges([4], "a,b", x="y"), *gauges([5])]
    health = HealthCheck("b", True, 0.1, timestamp=NOW)
    account = await sent(InfluxDBSink(server.url, **where, **QUICK), [*events, health])
    assert (account.delivered, account.rejected, account.failed) == (5, 4, 0)
    assert "is type float, already exists as type integer" in str(account.last_error)
    assert stored(server, database) == [0, 1, 2, 3, 5]
    assert stored(server, database, "odd one") == [1]


@pytest.mark.parametrize("measurements", [1, 7])
async def test_2500_conflicts_of_5000_events_take_a_few_requests(
    place: tuple[InfluxDB, str, dict[str, Any]], measurements: int
) -> None:
    """However the events are mixed, exactly the conflicting ones are rejected, and the others are stored."""
    server, database, where = place
    bad = [f"bad{number}" for number in range(measurements)]
    server.ask("POST", f"/write?db={database}", body="".join(f"{name} value=1i {NOW - 1}\n" for name in bad))
    events: list[MetricEvent] = []
    for number in range(2500):
        events += [*gauges([number]), *gauges([number], bad[number % measurements])]
    async with Proxy(server.host, server.port) as proxy:
        sink = InfluxDBSink(proxy.url, **where)
        account = await sent(sink, events, batch_size=5000, buffer_size=5000)
    assert (account.delivered, account.rejected, account.failed) == (2500, 2500, 0)
    assert stored(server, database) == [*range(2500)]
    assert all(stored(server, database, name) == [1] for name in bad)
    assert len(proxy.requests) <= 2 * measurements


async def test_events_older_than_the_retention_are_rejected(place: tuple[InfluxDB, str, dict[str, Any]]) -> None:
    """The oldest events are rejected, wherever they are in the payload."""
    server, database, where = place
    server.create_database(f"{database}_short", duration="1h")
    long_ago = [Gauge("m", {}, number, timestamp=NOW - 10**13 * (number - 9)) for number in (10, 12, 11)]
    events = [*gauges(range(2)), long_ago[0], *gauges([2]), *long_ago[1:], *gauges([3])]
    short = another(where, f"{database}_short")
    account = await sent(InfluxDBSink(server.url, **short, **QUICK), events)
    assert (account.delivered, account.rejected, account.retries) == (4, 3, 0)
    assert re.search("points (beyond|outside) retention policy", str(account.last_error))
    assert stored(server, f"{database}_short") == [0, 1, 2, 3]


async def test_lines_that_the_server_cannot_parse_are_found(place: tuple[InfluxDB, str, dict[str, Any]]) -> None:
    """The sink itself never writes such lines; the others are stored."""
    server, database, where = place
    sink = InfluxDBSink(server.url, **where)
    events = gauges(range(4))
    good = [f"m value={number} {NOW + number}" for number in range(4)]
    lines = [good[0], "m value=x': y 1", good[2], f"m,=b value=3 {NOW}"]
    for body, rejected in (
        (lines, {1: "invalid boolean", 3: "missing tag key"}),
        (lines[1::2], {0: "invalid boolean", 1: "missing tag key"}),
    ):
        payload = Payload(Batch(events[: len(body)]), ("".join(f"{line}\n" for line in body).encode(),), "key")
        receipt = await sink.send(payload)
        assert receipt is not None
        assert receipt.rejected == {at: f"unable to parse: {reason}" for at, reason in rejected.items()}
        assert receipt.rest == "delivered"
    assert stored(server, database) == [0, 2]
    await sink.aclose()


TODAY = pytest.param(InfluxDB113, marks=pytest.mark.server("influxdb113"))


@pytest.mark.parametrize("kind", [InfluxDB, InfluxDB18, TODAY])
async def test_an_event_that_the_server_does_not_name_is_found_by_halving(
    new_server: NewServer, kind: type[InfluxDB]
) -> None:
    """In a full database, points of existing series are stored and new series are rejected."""
    server = new_server(kind, data={"max-series-per-database": 10})
    server.create_database("d")
    old = [Gauge("m", {"n": str(number)}, number) for number in range(10)]
    assert (await sent(InfluxDBSink(server.url, database="d"), old)).delivered == 10
    mixed = [Gauge("m", {"n": str(number)}, number) for number in (0, 10, 11, 3, 12, 5)]
    account = await sent(InfluxDBSink(server.url, database="d", **QUICK), mixed)
    assert (account.delivered, account.rejected) == (3, 3)
    assert re.search("max-series-per-database (limit )?exceeded", str(account.last_error))
    assert sorted(stored(server, "d")) == sorted([*range(10), 0, 3, 5])


# ------------------------------------------------------------------------------------------------ the whole request


async def test_a_body_that_is_too_large_is_halved(new_server: NewServer) -> None:
    """Bodies are halved until they fit; a single event that is too large is rejected."""
    server = new_server(InfluxDB, http={"max-body-size": 2000})
    server.create_database("d")
    events = [*gauges(range(200)), *gauges([200], big="x" * 3000), *gauges(range(201, 210))]
    account = await sent(InfluxDBSink(server.url, database="d"), events, batch_size=500)
    assert (account.delivered, account.rejected) == (209, 1)
    assert stored(server, "d") == [number for number in range(210) if number != 200]
    assert account.last_error == 'HTTP 413: {"error":"Request Entity Too Large"}'


@pytest.mark.parametrize("kind", [InfluxDB, InfluxDB18, TODAY])
async def test_credentials_are_sent_and_never_shown(
    new_server: NewServer, kind: type[InfluxDB], caplog: pytest.LogCaptureFixture
) -> None:
    """Basic authentication, the URL, and 1.8's token on the path of 2.x are accepted; wrong ones fail at once."""
    server = new_server(kind, http={"auth-enabled": True}, credentials=("adm", "correct-horse"))
    server.query("CREATE USER adm WITH PASSWORD 'correct-horse' WITH ALL PRIVILEGES")
    server.create_database("d")
    address = server.url.partition("//")[2]
    sinks = [
        InfluxDBSink(server.url, database="d", auth=("adm", "correct-horse")),
        InfluxDBSink(f"http://adm:correct-horse@{address}", database="d"),
    ]
    if issubclass(kind, InfluxDB18):
        sinks.append(InfluxDBSink(server.url, bucket="d", token="adm:correct-horse"))
    for number, sink in enumerate(sinks):
        # The backslash makes the sink ask for the server's identity, and that request has its credentials too.
        assert (await sent(sink, [Gauge("m", {"a": "\\n"}, number)])).delivered == 1
    assert stored(server, "d") == list(range(len(sinks)))
    wrong = InfluxDBSink(server.url, database="d", auth=("adm", "wrong-horse"))
    account = await sent(wrong, gauges(range(3)))
    assert (account.failed, account.retries) == (3, 0)
    assert account.last_error == 'HTTP 401: {"error":"authorization failed"}'
    assert "horse" not in "".join([repr(wrong), str(account), *map(repr, sinks), caplog.text])


async def test_a_missing_database_fails_at_once(place: tuple[InfluxDB, str, dict[str, Any]]) -> None:
    """The events are refused with the server's reason, and nothing is retried."""
    server, _, where = place
    account = await sent(InfluxDBSink(server.url, **another(where, "nowhere")), gauges(range(3)))
    assert (account.failed, account.retries, account.failures) == (3, 0, {"refused": 3})
    assert "nowhere" in str(account.last_error)
    assert str(account.last_error).startswith("HTTP 404: ")


async def test_events_are_written_to_the_given_retention_policy(influxdb: InfluxDB, namespace: str) -> None:
    """Nothing goes to the default policy."""
    influxdb.create_database(namespace)
    influxdb.query(f'CREATE RETENTION POLICY "second" ON "{namespace}" DURATION INF REPLICATION 1')
    sink = InfluxDBSink(influxdb.url, database=namespace, retention_policy="second")
    assert (await sent(sink, [CacheMetric("redis", "hit")])).delivered == 1
    [series] = influxdb.query('SELECT * FROM "second"."cache.operations"', database=namespace)
    assert series["values"][0][1:] == ["hit", "redis", 1]
    assert influxdb.points(namespace, "cache.operations") == []


async def test_a_server_that_was_down_gets_everything(new_server: NewServer) -> None:
    """No event is lost or counted twice."""
    server = new_server(InfluxDB)
    server.create_database("d")
    async with collector(sinks=[InfluxDBSink(server.url, database="d", **QUICK)]) as metrics:
        for number in range(3):
            metrics.record(gauges([number])[0])
            await metrics.flush()
            if number == 0:
                await server.akill()
                metrics.record(gauges([10])[0])
                await server.astart()
    account = balanced(metrics.stats()).sinks["influxdb"]
    assert account.delivered == 4
    assert stored(server, "d") == [0, 1, 2, 10]


async def test_a_server_with_a_concurrent_write_limit_gets_every_event(new_server: NewServer) -> None:
    """Events are stored once the server has answered 204."""
    server = new_server(InfluxDB, http={"max-concurrent-write-limit": 1})
    server.create_database("d")
    assert (await sent(InfluxDBSink(server.url, database="d", **QUICK), gauges(range(3)))).delivered == 3
    sink = InfluxDBSink(server.url, database="d")
    assert await sink.send(Payload(Batch([]), (b"",), "key")) == Receipt()
    await sink.aclose()
