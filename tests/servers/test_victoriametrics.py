"""The InfluxDB sinks and a real VictoriaMetrics: how it reads backslashes, its limits, and its responses.

`test_arrival_influxdb.py` covers whole streams of events, and hostile texts.
"""

from typing import Any

import pytest

from tests.helpers import balanced
from tests.servers.base import NewServer
from tests.servers.proxy import Proxy
from tests.servers.victoriametrics import VictoriaMetrics
from trio_batchmetrics import BatchMetricsConfig, Gauge, collector
from trio_batchmetrics.sinks._influxdb.series_sink import InfluxDBSeriesSink
from trio_batchmetrics.sinks._influxdb.sink import InfluxDBSink

QUICK: dict[str, Any] = {"backoff": 0.01, "max_backoff": 0.05}

HOSTILE = {"a": "x\\, y", "b\\": "tail\\", "c": "\\\\", "d": '\\ "', "e": "\\="}
"""Each text would break its line or lose a character if its backslashes were written as for InfluxDB."""


@pytest.fixture(
    params=[pytest.param(kind, marks=pytest.mark.server(kind)) for kind in ("victoriametrics", "victoriametrics151")]
)
def shared(request: pytest.FixtureRequest) -> VictoriaMetrics:
    """The system's VictoriaMetrics, and the current one."""
    server: VictoriaMetrics = request.getfixturevalue(request.param)
    return server


def labels_of(server: VictoriaMetrics, name: str) -> list[dict[str, str]]:
    """Return the labels of the series with this name, without those that the server adds."""
    found = server.export(name)
    return [{key: text for key, text in each["metric"].items() if key not in ("__name__", "db")} for each in found]


async def test_a_backslash_arrives_without_naming_the_dialect(shared: VictoriaMetrics, namespace: str) -> None:
    """Both kinds of sink detect the dialect, and write their neighbours in the payload only once."""
    sinks = [
        InfluxDBSink(shared.url, database="d", name="events"),
        InfluxDBSeriesSink(shared.url, database="d", name="series"),
    ]
    async with collector(sinks=sinks) as metrics:
        metrics.record_counter(f"{namespace}_first", {}, 1)
        metrics.record_gauge(f"{namespace}_hostile", HOSTILE, 1)
        metrics.record_counter(f"{namespace}_last", {}, 1)
    assert balanced(metrics.stats()).processed_events == 3
    assert [sink.dialect for sink in sinks] == ["victoriametrics"] * 2
    assert [sink.replacements for sink in sinks] == [0, 0]
    assert labels_of(shared, f"{namespace}_hostile_value") == [HOSTILE]
    for name in ("first", "last"):
        [found] = shared.export(f"{namespace}_{name}_value")
        assert found["values"] == [1, 1]


async def test_lines_written_for_influxdb_would_be_misread(shared: VictoriaMetrics, namespace: str) -> None:
    """This is the reason why the sink asks for the server's identity."""
    sink = InfluxDBSink(shared.url, database="d", dialect="influxdb")
    async with collector(sinks=[sink]) as metrics:
        metrics.record_gauge(f"{namespace}", {"a": "x\\,y"}, 1)
    # 1.79 answers 204 even for lines that it could not read; 1.151 refuses them.
    assert balanced(metrics.stats()).processed_events == (shared.kind == "victoriametrics")
    assert labels_of(shared, f"{namespace}_value") != [{"a": "x\\,y"}]


async def test_a_failed_request_is_retried_in_the_same_dialect(shared: VictoriaMetrics, namespace: str) -> None:
    """The payload was encoded before the server was identified."""
    async with Proxy(shared.host, shared.port) as proxy:
        sink = InfluxDBSink(proxy.url, database="d", **QUICK)
        async with collector(sinks=[sink]) as metrics:
            proxy.answer(503, times=3)
            metrics.record_gauge(f"{namespace}", HOSTILE, 1)
    account = balanced(metrics.stats()).sinks["influxdb"]
    assert (account.delivered, account.retries) == (1, 3)
    assert labels_of(shared, f"{namespace}_value") == [HOSTILE]


async def test_events_of_one_nanosecond_all_arrive(shared: VictoriaMetrics, namespace: str) -> None:
    """The server keeps all of them, although its resolution is a millisecond."""
    async with collector(
        BatchMetricsConfig(enable_compression=True),
        sinks=[InfluxDBSink(shared.url, database="d")],
    ) as metrics:
        for number in range(300):
            metrics.record(Gauge(namespace, {"a": "b"}, number, timestamp=1_795_489_500_123_456_789))
    assert balanced(metrics.stats()).processed_events == 300
    [found] = shared.export(f"{namespace}_value")
    assert sorted(found["values"]) == list(range(300))


@pytest.mark.server("victoriametrics")
async def test_a_body_that_is_too_large_is_halved(new_server: NewServer) -> None:
    """The server answers 400 where others answer 413."""
    server = new_server(VictoriaMetrics, flags=["-maxInsertRequestSize=2000"])
    async with collector(sinks=[InfluxDBSink(server.url, database="d")]) as metrics:
        for number in range(200):
            metrics.record_gauge("m", {"n": number}, number)
    account = balanced(metrics.stats()).sinks["influxdb"]
    assert account.delivered + account.rejected == 200
    assert sorted(value for each in server.export("m_value") for value in each["values"]) == list(range(200))


@pytest.mark.server("victoriametrics")
async def test_credentials_are_sent(new_server: NewServer) -> None:
    """The request for the server's identity has credentials too; wrong ones fail at once."""
    server = new_server(VictoriaMetrics, flags=["-httpAuth.username=u", "-httpAuth.password=correct-horse"])
    async with collector(sinks=[InfluxDBSink(server.url, database="d", auth=("u", "correct-horse"))]) as metrics:
        metrics.record_gauge("m", HOSTILE, 1)
    assert balanced(metrics.stats()).processed_events == 1
    async with collector(sinks=[InfluxDBSink(server.url, database="d", auth=("u", "wrong-horse"))]) as metrics:
        metrics.record_gauge("m", HOSTILE, 1)
    account = balanced(metrics.stats()).sinks["influxdb"]
    assert (account.failed, account.retries, account.last_error) == (1, 0, "HTTP 401")
