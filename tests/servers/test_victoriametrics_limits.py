"""VictoriaMetrics 1.151: what it drops although it answers 204, and what it stores twice."""

import time
from typing import Any

import pytest

from tests.helpers import balanced
from tests.servers.limits import BEYOND, WITHIN, assert_delivered_is_stored
from tests.servers.proxy import Proxy
from tests.servers.victoriametrics import VictoriaMetrics151
from trio_batchmetrics import Gauge, collector
from trio_batchmetrics.sinks._influxdb.series_sink import InfluxDBSeriesSink
from trio_batchmetrics.sinks._influxdb.sink import InfluxDBSink


def write(server: VictoriaMetrics151, *lines: str) -> int:
    """Write lines and return the status of the response."""
    body = "".join(f"{line} {time.time_ns()}\n" for line in lines)
    return server.request("POST", "/write", body, query={"db": "d", "precision": "ns"}).status


def line(name: str, labels: dict[str, str]) -> str:
    """Return a line whose texts need no escaping."""
    return ",".join([name, *(f"{key}={value}" for key, value in labels.items())]) + " value=1"


@pytest.mark.parametrize("limit", WITHIN)
def test_series_within_the_limits_are_stored(
    victoriametrics151: VictoriaMetrics151, namespace: str, limit: str
) -> None:
    """A series exactly at a limit is stored with every label."""
    labels = WITHIN[limit](namespace)
    assert write(victoriametrics151, line(namespace, labels)) == 204
    [found] = victoriametrics151.export(f"{namespace}_value")
    assert found["metric"] == {"__name__": f"{namespace}_value", "db": "d", **labels}


@pytest.mark.parametrize("limit", BEYOND)
def test_series_beyond_a_limit_are_not_stored_despite_a_204(
    victoriametrics151: VictoriaMetrics151, namespace: str, limit: str
) -> None:
    """One byte or one label too many drops the series; the next line in the request is stored."""
    labels = BEYOND[limit](namespace)
    assert write(victoriametrics151, line(namespace, labels), line(namespace, {"a": "good"})) == 204
    [found] = victoriametrics151.export(f"{namespace}_value")
    assert found["metric"] == {"__name__": f"{namespace}_value", "db": "d", "a": "good"}


@pytest.mark.parametrize(("length", "kept"), [(4090, True), (4091, False)])
def test_the_name_of_a_series_is_the_value_of_a_label(
    victoriametrics151: VictoriaMetrics151, namespace: str, length: int, kept: bool
) -> None:
    """Six bytes of the limit belong to the field, ``_value``."""
    name = namespace + "n" * (length - len(namespace))
    assert write(victoriametrics151, line(name, {"a": namespace})) == 204
    assert bool(victoriametrics151.export(f'{{a="{namespace}"}}')) == kept


@pytest.mark.parametrize("kind", [InfluxDBSink, InfluxDBSeriesSink])
async def test_delivered_events_are_stored(
    victoriametrics151: VictoriaMetrics151, namespace: str, kind: type[InfluxDBSink | InfluxDBSeriesSink]
) -> None:
    """Series beyond a limit are rejected and counted before they are sent."""
    sink = kind(victoriametrics151.url, database="d", dialect="victoriametrics")
    await assert_delivered_is_stored(victoriametrics151, sink, namespace)


async def test_an_event_that_is_sent_again_is_stored_twice(
    victoriametrics151: VictoriaMetrics151, namespace: str
) -> None:
    """The server keeps equal samples of one instant; its docs say so, and name the flag that changes this."""
    settings: dict[str, Any] = {"backoff": 0.01, "max_backoff": 0.05}
    async with Proxy(victoriametrics151.host, victoriametrics151.port) as proxy:
        async with collector(sinks=[InfluxDBSink(proxy.url, database="d", **settings)]) as metrics:
            proxy.reset_after(times=1)  # the server has the event, and the response is lost
            metrics.record(Gauge(namespace, {}, 5, timestamp=1_795_489_500_123_456_789))
    assert balanced(metrics.stats()).processed_events == 1
    [found] = victoriametrics151.export(f"{namespace}_value")
    assert found["values"] == [5, 5]


async def test_an_unreadable_line_does_not_cost_its_neighbours(
    victoriametrics151: VictoriaMetrics151, namespace: str
) -> None:
    """The server refuses the whole request with a message of its own; the sink finds the event by halving."""

    class Spoiling(InfluxDBSink):
        """Writes one event so that it cannot be read."""

        def encode(self, events: Any) -> bytes:
            lines = super().encode(events).split(b"\n")
            return b"\n".join(b"no fields" if b",a=bad " in each else each for each in lines)

    async with collector(sinks=[Spoiling(victoriametrics151.url, database="d")]) as metrics:
        for number in range(50):
            metrics.record_gauge(namespace, {"a": "bad" if number == 17 else "good"}, number)
    account = balanced(metrics.stats()).sinks["spoiling"]
    assert (account.delivered, account.rejected, account.failed) == (49, 1, 0)
    [found] = victoriametrics151.export(f"{namespace}_value")
    assert sorted(found["values"]) == [number for number in range(50) if number != 17]
