"""Takes the pictures of `docs/pictures`: the example gateway's traffic, as each back-end shows it in a browser.

Usage: ``python tools/pictures.py [SECONDS]`` in a checkout whose servers are installed (``make servers``), with what
the demo and all sinks require, and Chromium on the PATH. The traffic runs for a minute by default. Prometheus and
Pushgateway look for their pages where Debian's packages ``prometheus`` and ``prometheus-pushgateway`` put them.
"""

import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlencode

import trio

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.append(str(REPOSITORY))

from examples.gateway.__main__ import Options, run_traffic  # noqa: E402 - the path comes first
from tests.servers.client import free_port  # noqa: E402
from tests.servers.influxdb import InfluxDB  # noqa: E402
from tests.servers.prometheus import Prometheus, Pushgateway  # noqa: E402
from tests.servers.search import OpenSearch  # noqa: E402
from tests.servers.victoriametrics import VictoriaMetrics  # noqa: E402
from trio_batchmetrics import BatchMetricsConfig, collector  # noqa: E402
from trio_batchmetrics.sinks import (  # noqa: E402
    ElasticsearchSink,
    InfluxDBSeriesSink,
    InfluxDBSink,
    PrometheusSink,
    PushgatewaySink,
)

PICTURES = REPOSITORY / "docs" / "pictures"
CONFIG = BatchMetricsConfig(batch_size=200, flush_interval=1.0, static_labels={"service.name": "gateway"})


class Servers:
    """All back-ends, each in a folder of its own."""

    def __init__(self, folder: Path, gateway: int) -> None:
        self.prometheus = Prometheus(folder / "prometheus")
        self._gateway = f"127.0.0.1:{gateway}"
        self.pushgateway = Pushgateway(folder / "pushgateway")
        self.influxdb = InfluxDB(folder / "influxdb")
        self.victoriametrics = VictoriaMetrics(folder / "victoriametrics")
        self.opensearch = OpenSearch(folder / "opensearch")

    def start(self, stack: ExitStack) -> None:
        """Start them; they end with the stack."""
        servers = (self.prometheus, self.pushgateway, self.influxdb, self.victoriametrics, self.opensearch)
        for server in servers:
            stack.enter_context(server)
        self.prometheus.scrape([self._gateway], interval="1s")
        self.influxdb.create_database("gateway")


async def traffic(servers: Servers, port: int, seconds: float) -> None:
    """Record real traffic into every back-end."""
    options = Options(seconds=seconds, database=Path("unused"), seed=1, workers=12, pause=0.05, port=port, plain=True)
    prometheus = PrometheusSink()
    workers = [
        PushgatewaySink(servers.pushgateway.url, job="gateway", grouping_key={"instance": f"web-{n}"}, name=f"web-{n}")
        for n in (1, 2)
    ]
    sinks = [
        prometheus,
        *workers,
        InfluxDBSink(servers.influxdb.url, database="gateway"),
        InfluxDBSeriesSink(servers.victoriametrics.url, database="gateway", dialect="victoriametrics"),
        ElasticsearchSink(servers.opensearch.url, index="gateway-%Y.%m.%d", template="keyword"),
    ]
    async with collector(CONFIG, sinks=sinks) as metrics:
        await run_traffic(metrics, prometheus, options)
        report = await metrics.flush()
    print(metrics.stats())
    if not report.ok:
        raise SystemExit(f"some of it did not arrive: {report}")


def pages(servers: Servers, seconds: float) -> dict[str, tuple[str, int, int]]:
    """Return the address, width and height of each picture."""
    requests = "sum by (http_route, http_response_status_code) (rate(http_server_request_duration_seconds_count[15s]))"
    graph = urlencode({"g0.expr": requests, "g0.tab": "0", "g0.range_input": f"{seconds - 15:.0f}s"})
    influxql = (
        'SELECT count("value"), mean("value"), percentile("value", 99) FROM "http.server.request.duration"'
        """ WHERE "http.response.status_code" = '200' GROUP BY "http.route\""""
    )
    query = urlencode({"db": "gateway", "pretty": "true", "q": influxql})
    federate = urlencode({"match[]": '{__name__=~"http.server.request.duration_count|gateway.failovers_value"}'})
    search = urlencode(
        {
            "pretty": "true",
            "size": "1",
            "filter_path": "hits.total,hits.hits._index,hits.hits._id,hits.hits._source,aggregations",
            "source_content_type": "application/json",
            "source": '{"query":{"term":{"kind":"LLMCall"}},"aggs":{"models":{'
            '"terms":{"field":"labels.gen_ai.request.model"},"aggs":{"tokens":{"sum":{"field":"fields.tokens_out"}}}}}}',
        }
    )
    return {
        "prometheus": (f"{servers.prometheus.url}/graph?{graph}", 1200, 960),
        "pushgateway": (f"{servers.pushgateway.url}/", 1200, 220),
        "influxdb": (f"{servers.influxdb.url}/query?{query}", 900, 760),
        "victoriametrics": (f"{servers.victoriametrics.url}/federate?{federate}", 1500, 330),
        "elasticsearch": (f"{servers.opensearch.url}/gateway-*/_search?{search}", 900, 900),
    }


def take(name: str, address: str, width: int, height: int) -> None:
    """Take one picture."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("there is no Chromium on the PATH")
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(  # noqa: S603 - the system's browser, on our own servers
            [
                *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"),
                *(f"--user-data-dir={profile}", f"--window-size={width},{height}", "--virtual-time-budget=8000"),
                *(f"--screenshot={PICTURES / name}.png", address),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
    print(f"{name}: {address}")


def main() -> None:
    """Run everything."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    PICTURES.mkdir(exist_ok=True)
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        servers = Servers(Path(folder), port)
        servers.start(stack)
        trio.run(traffic, servers, port, seconds)
        servers.opensearch.request("POST", "/gateway-*/_refresh")
        for name, (address, width, height) in pages(servers, seconds).items():
            take(name, address, width, height)


if __name__ == "__main__":
    main()
