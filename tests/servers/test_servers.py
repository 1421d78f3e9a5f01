"""Each server starts, returns what it was given, and keeps it when it is stopped or killed and restarted."""

import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import trio

from tests.servers.base import NewServer, Server, eventually
from tests.servers.client import HOST, ServerFailedError, free_port
from tests.servers.influxdb import InfluxDB, InfluxDB18, InfluxDB27, InfluxDB113
from tests.servers.prometheus import Prometheus, Prometheus3, Pushgateway, check_metrics
from tests.servers.protobuf import fixed64, integer, message, varint
from tests.servers.search import Elasticsearch, OpenSearch, SearchServer
from tests.servers.victoriametrics import VictoriaMetrics, VictoriaMetrics151

PAGE = "# TYPE jobs counter\njobs 3\n"


async def _serve_page(stream: trio.SocketStream) -> None:
    async with stream:
        await stream.receive_some()
        await stream.send_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n\r\n" + PAGE.encode()
        )


# ---------------------------------------------------------------------------------------------------- persistence


@pytest.mark.server("influxdb", "influxdb18")
@pytest.mark.parametrize(
    "kind",
    [
        InfluxDB,
        InfluxDB18,
        *(pytest.param(kind, marks=pytest.mark.server(kind.kind)) for kind in (InfluxDB113, InfluxDB27)),
    ],
)
def test_influxdb_keeps_points_over_stop_and_kill(new_server: NewServer, kind: type[InfluxDB]) -> None:
    """Acknowledged points are still there after a restart, on the same port."""
    server = new_server(kind)
    url = server.url
    server.create_database("d")
    for number, end in enumerate((server.stop, server.kill)):
        server.ask("POST", "/write?db=d", body=f"m,a=b v={number}.5,n={number}i {number}\n")
        end()
        server.start()
    assert server.url == url
    assert server.points("d", "m") == [
        {"time": 0, "a": "b", "n": 0, "v": 0.5},
        {"time": 1, "a": "b", "n": 1, "v": 1.5},
    ]
    assert server.field_types("d", "m") == {"n": "integer", "v": "float"}
    assert server.measurements("d") == ["m"]


@pytest.mark.server("opensearch", "elasticsearch")
@pytest.mark.parametrize("kind", [OpenSearch, Elasticsearch])
def test_a_search_server_keeps_documents_over_stop_and_kill(new_server: NewServer, kind: type[SearchServer]) -> None:
    """Acknowledged documents are still there after a restart, on the same port."""
    server = new_server(kind)
    for number, end in enumerate((server.stop, server.kill)):
        server.ask("POST", "/_bulk", ndjson=[{"index": {"_index": "i", "_id": str(number)}}, {"n": number}])
        end()
        server.start()
    assert server.count("i") == 2
    assert server.count("i", {"term": {"n": 1}}) == 1
    assert server.count("absent") == 0
    assert sorted(document["n"] for document in server.documents("i")) == [0, 1]


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.server(kind.kind)) for kind in (Prometheus, Prometheus3)]
)
def test_prometheus_keeps_remote_writes_over_stop_and_kill(new_server: NewServer, kind: type[Prometheus]) -> None:
    """An acknowledged sample is still there after a restart."""
    server = new_server(kind)
    now = time.time()
    for number, end in enumerate((server.stop, server.kill)):
        server.ask("POST", "/api/v1/write", body=_remote_write(f"m{number}", number + 0.5, int(now * 1000)))
        end()
        server.start()
    assert server.values('{__name__=~"m."}', time=now) == [0.5, 1.5]
    assert server.series("m1") == [{"__name__": "m1"}]


@pytest.mark.server("pushgateway")
def test_pushgateway_keeps_groups_over_stop(new_server: NewServer) -> None:
    """The gateway writes its groups to a file when it is stopped."""
    server = new_server(Pushgateway)
    server.ask("PUT", "/metrics/job/j", body=PAGE)
    server.stop()
    server.start()
    (group,) = server.groups()
    assert group["labels"] == {"job": "j"}
    assert 'jobs{instance="",job="j"} 3' in server.page()


@pytest.mark.server("victoriametrics", "victoriametrics151")
@pytest.mark.parametrize("kind", [VictoriaMetrics, VictoriaMetrics151])
def test_victoriametrics_keeps_samples_over_stop(new_server: NewServer, kind: type[VictoriaMetrics]) -> None:
    """Samples are still there after a restart, twice if they were sent twice, and infinite ones can be read."""
    server = new_server(kind)
    now = int(time.time() * 1000)
    for value in ("1.5", "1.5", "+Inf"):
        server.ask("POST", "/api/v1/import/prometheus", body=f'm{{a="[1,+Inf,2]"}} {value} {now}\n')
    server.stop()
    server.start()
    (series,) = server.export("m")
    assert series["metric"] == {"__name__": "m", "a": "[1,+Inf,2]"}
    assert sorted(series["values"]) == [1.5, 1.5, float("inf")]
    assert series["timestamps"] == [now] * 3
    assert [each["value"][1] for each in server.query("count_over_time(m[1h])")] == ["3"]


# ------------------------------------------------------------------------------------------------ shared servers


async def test_the_shared_prometheus_scrapes_a_port(prometheus: Prometheus, scraped_port: int) -> None:
    """A page on a scraped port can be queried soon."""
    query = f'jobs{{instance="{HOST}:{scraped_port}"}}'
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio.serve_tcp, _serve_page, scraped_port, host=HOST))
        assert await eventually(lambda: prometheus.values(query)) == [3]
        assert prometheus.targets()[f"{HOST}:{scraped_port}"]["health"] == "up"
        assert prometheus.metadata("jobs") == [{"type": "counter", "help": "", "unit": ""}]
        nursery.cancel_scope.cancel()


def test_the_other_shared_servers_respond(
    pushgateway: Pushgateway,
    influxdb: InfluxDB,
    influxdb18: InfluxDB18,
    victoriametrics: VictoriaMetrics,
    opensearch: OpenSearch,
    elasticsearch: Elasticsearch,
    namespace: str,
) -> None:
    """Each server accepts this test's own name."""
    pushgateway.ask("PUT", f"/metrics/job/{namespace}", body=PAGE)
    assert namespace in pushgateway.page()
    influxdb.create_database(namespace, duration="1h")
    assert influxdb.points(namespace, "m") == []
    influxdb18.create_database(namespace)
    influxdb18.ask("POST", f"/api/v2/write?bucket={namespace}", body="m v=1 1\n")
    assert influxdb18.points(namespace, "m") == [{"time": 1, "v": 1}]
    assert victoriametrics.export(namespace) == []
    for search in (opensearch, elasticsearch):
        search.ask("PUT", f"/{namespace}/_doc/1", json={})
        assert search.count(namespace) == 1


@pytest.mark.server("prometheus")
def test_promtool_reports_problems_of_a_page() -> None:
    """A page may be valid, break a style rule, or be unreadable."""
    assert check_metrics("# HELP jobs_total Jobs.\n# TYPE jobs_total counter\njobs_total 3\n").status == 0
    assert check_metrics(PAGE).status == 3
    assert check_metrics("jobs three\n").status == 1


# --------------------------------------------------------------------------------------------------- limits, faults


@pytest.mark.server("influxdb")
def test_influxdb_accepts_limits_and_users(new_server: NewServer) -> None:
    """Tests can set the options of its configuration sections."""
    server = new_server(InfluxDB, http={"max-body-size": 100, "auth-enabled": True}, credentials=("adm", "pw"))
    server.query("CREATE USER adm WITH PASSWORD 'pw' WITH ALL PRIVILEGES")
    server.create_database("d")
    assert server.request("POST", "/write?db=d", body="m v=1\n").status == 401
    assert server.request("POST", "/write?db=d&u=adm&p=pw", body="m v=1 1\n").status == 204
    assert server.request("POST", "/write?db=d&u=adm&p=pw", body="m v=1 1\n" * 100).status == 413
    with pytest.raises(ServerFailedError, match="retention policy not found"):
        server.query("SELECT * FROM x.m", database="d")


@pytest.mark.server("opensearch")
def test_opensearch_accepts_settings(new_server: NewServer) -> None:
    """Tests can set its settings by their dotted names."""
    server = new_server(OpenSearch, settings={"http.max_content_length": "1kb", "thread_pool.write.queue_size": 1})
    assert server.request("PUT", "/i/_doc/1", json={"text": "x" * 2000}).status == 413
    settings = server.ask("GET", "/_nodes/settings?flat_settings=true").json()["nodes"].values()
    assert [each["settings"]["thread_pool.write.queue_size"] for each in settings] == ["1"]


@pytest.mark.server("influxdb")
async def test_a_server_is_stopped_and_started_in_a_test(tmp_path: Path) -> None:
    """The async twins do not block other tasks, and leaving the block ends the process."""
    async with InfluxDB(tmp_path) as server:
        await server.astop()
        with pytest.raises(ConnectionRefusedError):
            server.request("GET", "/ping")
        await server.astart()
        server.pause()
        with pytest.raises(TimeoutError):
            server.request("GET", "/ping", timeout=0.1)
        server.resume()
        assert server.request("GET", "/ping").status == 204
        await server.akill()
        await server.astart()
    with pytest.raises(ConnectionRefusedError):
        server.request("GET", "/ping")


@pytest.mark.server("influxdb")
def test_a_server_that_exits_at_once_shows_its_log(tmp_path: Path) -> None:
    """The error includes the last lines of output."""
    server = InfluxDB(tmp_path, http={"bind-address": "nonsense"})
    with pytest.raises(ServerFailedError, match=r"(?s)ended with status 1 instead of starting\n.*nonsense"):
        server.start()


class _Mute(Server):
    """A server that never becomes ready."""

    kind: ClassVar[str] = "influxdb"
    ready_path: ClassVar[str] = "/"
    start_timeout: ClassVar[float] = 0.2

    def command(self, program: Path) -> list[str | Path]:
        """Return a command that waits."""
        return ["sleep", "60"]


@pytest.mark.server("influxdb")
def test_a_server_that_is_not_ready_in_time_is_killed(tmp_path: Path) -> None:
    """No process is left running."""
    server = _Mute(tmp_path)
    with pytest.raises(ServerFailedError, match=r"was not ready within 0\.2 s"):
        server.start()
    with pytest.raises(AssertionError, match="not running"):
        assert server.pid


@pytest.mark.server("influxdb")
async def test_servers_of_a_killed_test_run_are_killed(tmp_path: Path) -> None:
    """Even a SIGKILL of the test run leaves no server behind."""
    code = (
        "import os, pathlib, signal, sys; sys.path.append(sys.argv[1]); "
        "from tests.servers.influxdb import InfluxDB; "
        "server = InfluxDB(pathlib.Path(sys.argv[2])).start(); "
        "print(server.port, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    repository = Path(__file__).parent.parent.parent
    result = await trio.run_process(
        [sys.executable, "-c", code, repository, tmp_path], cwd=tmp_path, capture_stdout=True, check=False
    )
    survivor = InfluxDB(tmp_path)
    survivor.port = int(result.stdout)
    await eventually(lambda: not _listens(survivor), within=10)
    assert not _listens(survivor)


def _listens(server: Server) -> bool:
    try:
        return server.request("GET", "/ping").status == 204
    except OSError:
        return False


def test_free_ports_differ() -> None:
    """No port is returned twice, and none is in the range for outgoing connections."""
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    assert max(ports) < 32_768


async def test_eventually_returns_the_first_true_result_or_the_last_one() -> None:
    """An AssertionError counts as "not yet", until the time is up."""
    answers: list[Any] = [0, [], 7]
    assert await eventually(lambda: answers.pop(0), every=0) == 7
    assert await eventually(lambda: 0, within=0, every=0) == 0

    def fail() -> None:
        raise AssertionError("never")

    with pytest.raises(AssertionError, match="never"):
        await eventually(fail, within=0, every=0)


# ----------------------------------------------------------------------------------- a remote write, by hand


def _remote_write(name: str, value: float, milliseconds: int) -> bytes:
    """Return a WriteRequest of one sample, in Snappy's block format without compression."""
    label = message(1, "__name__") + message(2, name)
    sample = fixed64(1, value) + integer(2, milliseconds)
    request = message(1, message(1, label) + message(2, sample))
    assert len(request) <= 60, "the length of a single literal must fit into six bits"
    return varint(len(request)) + bytes([(len(request) - 1) << 2]) + request
