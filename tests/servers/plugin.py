"""The pytest plugin for the servers: fixtures, the mark `server`, and which tests are deselected.

Fixtures named after servers are shared by the whole run, so each test uses names of its own (`namespace`). A test that
stops its server, or needs another configuration, starts one for itself with `new_server`.

A test needs the servers whose fixtures it requests, and those that `@pytest.mark.server("opensearch", …)` names. If one
is not installed, the test is deselected, and one line at the end says so; in CI no test runs in that case. Only `make
test-servers` uses servers that take long to build.
"""

import itertools
import secrets
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.servers.base import AnyServer, NewServer, Server
from tests.servers.cache import SERVERS, is_installed, must_be_installed, wanted_servers
from tests.servers.influxdb import InfluxDB, InfluxDB18, InfluxDB27, InfluxDB113
from tests.servers.opentelemetry import OTelCollector
from tests.servers.prometheus import Prometheus, Prometheus3, Pushgateway
from tests.servers.search import Elasticsearch, OpenSearch
from tests.servers.victoriametrics import VictoriaMetrics, VictoriaMetrics151

__all__: list[str] = []  # pytest finds fixtures and hooks by itself

_FOLDER = Path(__file__).parent

_left_out = pytest.StashKey[dict[str, set[str]]]()
"""The servers of the deselected tests, by the reason that the last line gives."""

# ------------------------------------------------------------------------------------------------------- what runs


def _needs(item: pytest.Item) -> set[str]:
    """Return the names of the servers that a test needs."""
    marked = {name for mark in item.iter_markers("server") for name in mark.args}
    unknown = marked - SERVERS.keys()
    if unknown:
        raise pytest.UsageError(f"{item.nodeid} is marked for servers that do not exist: {', '.join(sorted(unknown))}")
    fixtures: Sequence[str] = getattr(item, "fixturenames", ())
    return marked.union(SERVERS.keys() & set(fixtures))


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark."""
    config.addinivalue_line("markers", "server(*names): needs these servers, which `make servers` installs")
    config.stash[_left_out] = {}


@pytest.hookimpl(trylast=True)  # after -k and -m: tests that these deselect need no server
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests whose servers are not installed, or refuse to run at all."""
    for item in items:
        if _needs(item) or _FOLDER in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("servers"))  # one worker runs them all: each starts once
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)  # first, since they take the longest
    wanted = {*wanted_servers()}
    missing = {server for server in wanted if not is_installed(server)}
    _leave_out(config, items, SERVERS.keys() - wanted, "slow to build (make test-servers)")
    named = _leave_out(config, items, missing, "not installed (make servers)")
    if named and must_be_installed():
        raise pytest.UsageError(f"not installed, which is an error in CI: {', '.join(sorted(named))} (make servers)")


def _leave_out(config: pytest.Config, items: list[pytest.Item], servers: set[str], reason: str) -> set[str]:
    """Deselect the tests that need any of these servers; return the servers that are needed."""
    out = {item: named for item in items if (named := _needs(item) & servers)}
    if not out:
        return set()
    config.stash[_left_out][reason] = named = {name for each in out.values() for name in each}
    config.hook.pytest_deselected(items=[*out])
    items[:] = [item for item in items if item not in out]
    return named


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Report which servers were missing."""
    for reason, named in config.stash[_left_out].items():
        terminalreporter.write_line(f"tests of {', '.join(sorted(named))} deselected: {reason}")


# --------------------------------------------------------------------------------------------------- shared servers


@pytest.fixture(scope="session")
def servers_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the shared servers."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def prometheus(servers_folder: Path) -> Generator[Prometheus, None, None]:
    """Prometheus, shared; a test that wants to be scraped listens on its own `scraped_port`."""
    with Prometheus(servers_folder / "prometheus", scraped_ports=20) as server:
        yield server


@pytest.fixture(scope="session")
def _scraped_ports(prometheus: Prometheus) -> "itertools.cycle[int]":
    return itertools.cycle(prometheus.scraped_ports)


@pytest.fixture
def scraped_port(_scraped_ports: "itertools.cycle[int]") -> int:
    """A port that the shared Prometheus scrapes every half second, with the label `instance="127.0.0.1:PORT"`."""
    return next(_scraped_ports)


@pytest.fixture(scope="session")
def prometheus3(servers_folder: Path) -> Generator[Prometheus3, None, None]:
    """Prometheus 3, shared; it scrapes nothing."""
    with Prometheus3(servers_folder / "prometheus3") as server:
        yield server


@pytest.fixture(scope="session")
def otelcol(servers_folder: Path) -> Generator[OTelCollector, None, None]:
    """The OpenTelemetry Collector, shared."""
    with OTelCollector(servers_folder / "otelcol") as server:
        yield server


@pytest.fixture(scope="session")
def pushgateway(servers_folder: Path) -> Generator[Pushgateway, None, None]:
    """Pushgateway, shared."""
    with Pushgateway(servers_folder / "pushgateway") as server:
        yield server


@pytest.fixture(scope="session")
def influxdb(servers_folder: Path) -> Generator[InfluxDB, None, None]:
    """InfluxDB 1.6, shared."""
    with InfluxDB(servers_folder / "influxdb") as server:
        yield server


@pytest.fixture(scope="session")
def influxdb18(servers_folder: Path) -> Generator[InfluxDB18, None, None]:
    """InfluxDB 1.8, shared."""
    with InfluxDB18(servers_folder / "influxdb18") as server:
        yield server


@pytest.fixture(scope="session")
def influxdb113(servers_folder: Path) -> Generator[InfluxDB113, None, None]:
    """InfluxDB 1.13, shared."""
    with InfluxDB113(servers_folder / "influxdb113") as server:
        yield server


@pytest.fixture(scope="session")
def influxdb27(servers_folder: Path) -> Generator[InfluxDB27, None, None]:
    """InfluxDB 2.7, shared."""
    with InfluxDB27(servers_folder / "influxdb27") as server:
        yield server


@pytest.fixture(scope="session")
def victoriametrics151(servers_folder: Path) -> Generator[VictoriaMetrics151, None, None]:
    """VictoriaMetrics 1.151, shared."""
    with VictoriaMetrics151(servers_folder / "victoriametrics151") as server:
        yield server


@pytest.fixture(scope="session")
def victoriametrics(servers_folder: Path) -> Generator[VictoriaMetrics, None, None]:
    """VictoriaMetrics, shared."""
    with VictoriaMetrics(servers_folder / "victoriametrics") as server:
        yield server


@pytest.fixture(scope="session")
def opensearch(servers_folder: Path) -> Generator[OpenSearch, None, None]:
    """OpenSearch, shared."""
    with OpenSearch(servers_folder / "opensearch") as server:
        yield server


@pytest.fixture(scope="session")
def elasticsearch(servers_folder: Path) -> Generator[Elasticsearch, None, None]:
    """Elasticsearch, shared."""
    with Elasticsearch(servers_folder / "elasticsearch") as server:
        yield server


# ------------------------------------------------------------------------------------------------ for a test alone

_numbers = itertools.count()


@pytest.fixture
def namespace() -> str:
    """A name that no other test uses: for a database, an index, a job, or as a prefix of metric names."""
    return f"t{secrets.token_hex(3)}_{next(_numbers)}"


@pytest.fixture
def new_server(tmp_path: Path, request: pytest.FixtureRequest) -> Generator[NewServer, None, None]:
    """A function that starts a server for this test alone: `new_server(InfluxDB, http={"max-body-size": 1000})`.

    Its arguments are the class and the class's own arguments, without the folder. The test must have the mark of that
    server.
    """
    started: list[Server] = []
    needed = _needs(request.node)

    def start(server: type[AnyServer], /, **arguments: Any) -> AnyServer:
        if server.kind not in needed:
            raise pytest.UsageError(f'a test that starts this server has the mark @pytest.mark.server("{server.kind}")')
        new = server(tmp_path / f"{server.kind}-{len(started)}", **arguments)
        started.append(new)
        return new.start()

    yield start
    for server in started:
        server.kill()
