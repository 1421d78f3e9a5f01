"""100 000 events from three collectors reach Prometheus by scraping or through a Pushgateway, exact to the last one.

Some scrapes fail, one push fails, another arrives without the sink knowing, and the server is restarted in the middle.
Cumulative series lose nothing by that. The expected numbers are the traffic's own (:mod:`tests.servers.expected`); the
names of the metrics are defined here.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import accumulate
from typing import Any

import pytest
import trio

from examples.gateway.asgi import serving
from tests.helpers import balanced
from tests.servers.base import NewServer, eventually
from tests.servers.client import HOST
from tests.servers.expected import Instrument, Labels, Series
from tests.servers.hostile import CASES, record_cases
from tests.servers.player import Player, assert_all_delivered, record_all
from tests.servers.prometheus import Prometheus, Pushgateway, check_metrics
from tests.servers.proxy import Proxy
from tests.servers.traffic import Traffic, all_series, streams
from tests.servers.trouble import next_request, trouble
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.sinks import PrometheusSink, PushgatewaySink

NAMES = {
    "http.server.request.duration": "http_server_request_duration_seconds",
    "backend.request.duration": "backend_request_duration_seconds",
    "backend.health": "backend_health",
    "backend.health_check.duration": "backend_health_check_duration_seconds",
    "cache.operations": "cache_operations_total",
    "jobs.done": "jobs_done_total",
    "response.size": "response_size",
    "queue.depth": "queue_depth",
    "chat.tokens": "chat_tokens_total",
    "chat.load": "chat_load",
    "chat.duration": "chat_duration_seconds",
    "chat.calls": "chat_calls_total",
    "worker.steps": "worker_steps_total",
    "worker.wait": "worker_wait_seconds",
    "worker.memory": "worker_memory_bytes",
}
"""The names of the traffic's instruments under OpenTelemetry's rules."""

Samples = dict[tuple[str, frozenset[tuple[str, str | float]]], float]
"""Values by name and labels; the bound of a bucket is a number."""

QUICK: dict[str, Any] = {"timeout": 5.0, "backoff": 0.05, "max_backoff": 0.1}


@pytest.fixture(scope="module")
def traffics() -> list[Traffic]:
    """The traffic of three collectors."""
    return streams()


def expected_samples(series: Mapping[tuple[Instrument, Labels], Series]) -> Samples:
    """Return the samples that a page must have for these series."""
    samples: Samples = {}
    for (instrument, labels), one in series.items():
        name = NAMES[instrument.name]
        own = [(label.replace(".", "_"), text) for label, text in labels]
        if not one.bounds:
            samples[name, frozenset(own)] = one.last if instrument.kind == "gauge" else one.total
            continue
        for bound, count in zip([*one.bounds, float("inf")], accumulate(one.counts), strict=True):
            samples[f"{name}_bucket", frozenset([*own, ("le", bound)])] = count
        samples[f"{name}_sum", frozenset(own)] = one.total
        samples[f"{name}_count", frozenset(own)] = one.values
    return samples


def stored_samples(found: Iterable[Mapping[str, Any]], without: Iterable[str]) -> Samples:
    """Return the samples that Prometheus found, without some labels; no series may occur twice."""
    samples: Samples = {}
    for series in found:
        labels: dict[str, str | float] = dict(series["metric"])
        name = str(labels.pop("__name__"))
        for label in without:
            del labels[label]
        if "le" in labels:
            labels["le"] = float(labels["le"])
        key = name, frozenset(labels.items())
        assert key not in samples, key
        samples[key] = float(series["value"][1])
    return samples


class Page:
    """An application that serves a sink's page; if `classic`, always in the classic text format."""

    def __init__(self, sink: PrometheusSink, *, classic: bool) -> None:
        self._app = sink.asgi_app()
        self._classic = classic

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """Serve the page."""
        if self._classic and scope["type"] == "http":
            scope = {**scope, "headers": [pair for pair in scope["headers"] if pair[0] != b"accept"]}
        await self._app(scope, receive, send)


async def served(stack: AsyncExitStack, page: Any, port: int) -> Proxy:
    """Serve a page on a port through a proxy, until the stack exits."""
    url = await stack.enter_async_context(serving(page))
    proxy = Proxy(HOST, int(url.rpartition(":")[2]))
    proxy.port = port
    return await stack.enter_async_context(proxy)


def complaints(server: Prometheus, ports: Iterable[int]) -> list[str]:
    """Return a server's complaints about the pages on these ports: in its log, and from the last scrape of each."""
    targets = [f"{HOST}:{port}" for port in ports]
    told = [f"{target}: {server.targets()[target]['lastError']}" for target in targets]
    words = ("Append failed", "Error on ingesting", "level=warn", "level=error")
    log = [line for line in server.log.splitlines() if any(word in line for word in words)]
    return [line for line in told if not line.endswith(": ")] + [
        line for line in log if any(target in line for target in targets)
    ]


@pytest.mark.server("prometheus")
async def test_prometheus_has_each_event_that_three_collectors_merged(
    new_server: NewServer, traffics: Sequence[Traffic]
) -> None:
    """Two pages are read as OpenMetrics and one as classic text; scrapes fail, and Prometheus is restarted."""
    sinks = {traffic.name: PrometheusSink() for traffic in traffics}
    server = new_server(Prometheus, scraped_ports=3, flags=["--log.level=debug"])
    async with AsyncExitStack() as stack:
        pages = [Page(sink, classic=name == "south") for name, sink in sinks.items()]
        proxies = [await served(stack, page, port) for page, port in zip(pages, server.scraped_ports, strict=True)]

        async def scrapes_fail(players: Sequence[Player]) -> None:
            gates = [player.hold(12) for player in players]
            for player in players:
                await player.reached(12)
            await eventually(lambda: server.values("up") == [1, 1, 1], within=30)
            proxies[0].answer(503, times=1)
            proxies[1].truncate(times=1)
            proxies[2].reset(times=1)
            async with trio.open_nursery() as waiting:
                for proxy in proxies:
                    waiting.start_soon(next_request, proxy)
            for gate in gates:
                gate.set()
            await players[0].reached(14)
            await server.astop()
            await server.astart()

        accounts = await record_all(traffics, lambda traffic: sinks[traffic.name], scrapes_fail)
        assert_all_delivered(traffics, accounts, scraped=True)
        expected = expected_samples(all_series(traffics))

        def told() -> bool:
            found = server.query('{collector=~".+"}')
            assert stored_samples(found, ["job", "instance"]) == expected
            return True

        await eventually(told, within=30)
        assert server.values("sum(scrape_samples_scraped)") == [len(expected)]  # nothing is stored twice
        assert complaints(server, server.scraped_ports) == []
        assert all("openmetrics" in proxy.requests[-1].headers["accept"] for proxy in proxies)
    for sink in sinks.values():
        verdict = check_metrics(sink.render()[0])
        assert (verdict.status, verdict.text) == (0, "")


@pytest.mark.server("pushgateway")
async def test_prometheus_has_each_event_that_three_collectors_pushed(
    prometheus: Prometheus, scraped_port: int, new_server: NewServer, traffics: Sequence[Traffic]
) -> None:
    """The Pushgateway refuses one push, the response to another is lost, and a crash erases its groups."""
    gateway = new_server(Pushgateway, keeps=False)
    scraped = Proxy(gateway.host, gateway.port)
    scraped.port = scraped_port
    async with Proxy(gateway.host, gateway.port) as proxy, scraped:

        def make_sink(traffic: Traffic) -> PushgatewaySink:
            return PushgatewaySink(proxy.url, job="arrival", grouping_key={"worker_id": traffic.name}, **QUICK)

        accounts = await record_all(traffics, make_sink, trouble(gateway, proxy), enable_compression=True)
        assert_all_delivered(traffics, accounts)
        assert sum(sink.retries for account in accounts.values() for sink in account.sinks.values()) >= 3
        expected = expected_samples(all_series(traffics))

        def told() -> bool:
            found = prometheus.query(f'{{instance="{HOST}:{scraped_port}", collector=~".+"}}')
            for series in found:
                assert series["metric"]["worker_id"] == series["metric"]["collector"]
            assert stored_samples(found, ["job", "instance", "exported_job", "worker_id"]) == expected
            return True

        await eventually(told, within=30)
        assert complaints(prometheus, [scraped_port]) == []
        assert check_metrics(gateway.page()).status == 0


EXPECTED_CASES = {case.key: case.in_prometheus() for case in CASES}


def stored_cases(found: Iterable[Mapping[str, Any]], without: Iterable[str]) -> dict[str, tuple[str, dict[str, str]]]:
    """Return the cases that Prometheus found; each must have the value 1."""
    cases: dict[str, tuple[str, dict[str, str]]] = {}
    for series in found:
        labels = dict(series["metric"])
        for label in without:
            del labels[label]
        name = labels.pop("__name__")
        assert series["value"][1] == "1"
        assert labels["case"] not in cases
        cases[labels["case"]] = name, labels
    return cases


@pytest.mark.parametrize("classic", [True, False], ids=["text", "openmetrics"])
async def test_prometheus_reads_hostile_texts_unchanged(
    prometheus: Prometheus, scraped_port: int, classic: bool
) -> None:
    """Values arrive byte for byte, names follow OpenTelemetry's rules, and no injected line adds anything."""
    sink = PrometheusSink()
    async with collector(sinks=[sink]) as metrics, AsyncExitStack() as stack:
        record_cases(metrics)
        await metrics.flush()
        account = balanced(metrics.stats())
        assert account.processed_events == account.total_events == len(CASES)
        assert sink.left_out == 0
        await served(stack, Page(sink, classic=classic), scraped_port)
        instance = f"{HOST}:{scraped_port}"

        def told() -> bool:
            found = prometheus.query(f'{{instance="{instance}", case=~".+"}}')
            assert stored_cases(found, ["job", "instance"]) == EXPECTED_CASES
            return True

        await eventually(told, within=20)
        (samples,) = prometheus.values(f'scrape_samples_scraped{{instance="{instance}"}}')
        assert samples == len(CASES)
        assert complaints(prometheus, [scraped_port]) == []
    if classic:
        assert check_metrics(sink.render()[0]).status != 1


async def test_prometheus_has_events_beyond_max_series_in_one_series(prometheus: Prometheus, scraped_port: int) -> None:
    """A label with too many values costs memory only up to `max_series`, and no event is lost."""
    sink = PrometheusSink()
    config = BatchMetricsConfig(max_series=100)
    async with collector(config, sinks=[sink]) as metrics, AsyncExitStack() as stack:
        for number in range(1000):
            metrics.record_counter("c", {"user": f"user {number}"}, 1)
        assert (await metrics.flush()).ok
        await served(stack, Page(sink, classic=False), scraped_port)
        instance = f'instance="{HOST}:{scraped_port}"'
        await eventually(lambda: prometheus.values(f"sum(c_total{{{instance}}})") == [1000], within=20)
        assert prometheus.values(f"count(c_total{{{instance}}})") == [101]
        assert prometheus.values(f'c_total{{{instance}, otel_metric_overflow="true"}}') == [900]


@pytest.mark.server("pushgateway")
async def test_a_pushgateway_accepts_hostile_texts_unchanged(pushgateway: Pushgateway, namespace: str) -> None:
    """A Pushgateway stores the same texts; a label named like one of the grouping key is renamed."""
    key = {"instance": 'a "b"/c\\\n', "namespace": namespace}
    async with collector(sinks=[PushgatewaySink(pushgateway.url, job="hostile/job", grouping_key=key)]) as metrics:
        record_cases(metrics)
        report = await metrics.flush()
        assert report.processed == len(CASES)
    balanced(metrics.stats())
    (group,) = [each for each in pushgateway.groups() if each["labels"].get("namespace") == namespace]
    assert group["labels"] == {"job": "hostile/job", **key}
    found: dict[str, tuple[str, dict[str, str]]] = {}
    for name, metric in group.items():
        if name.endswith("_total"):
            for sample in metric["metrics"]:
                own = {name: text for name, text in sample["labels"].items() if name not in group["labels"]}
                labels = {name: text for name, text in own.items() if text}  # Prometheus treats it as absent
                assert sample["value"] == "1"
                found[labels["case"]] = name, labels
    assert found == EXPECTED_CASES
