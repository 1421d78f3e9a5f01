"""What real servers store for series that they consider equal, and for series that receive no events for a while."""

import math
from typing import Any

import pytest
import trio

from examples.gateway.asgi import serving
from tests.helpers import balanced
from tests.servers.base import NewServer, eventually
from tests.servers.client import HOST
from tests.servers.influxdb import InfluxDB
from tests.servers.prometheus import Prometheus, Pushgateway, check_metrics
from tests.servers.victoriametrics import VictoriaMetrics
from trio_batchmetrics import BatchMetricsCollector, BatchMetricsConfig, SinkStats, collector
from trio_batchmetrics.sinks import InfluxDBSeriesSink, PrometheusSink, PushgatewaySink

QUICK: dict[str, Any] = {"backoff": 0.01, "max_backoff": 0.05}

HITS = 1023


def record_hits(metrics: BatchMetricsCollector, name: str) -> None:
    """Record series that every server considers equal, with the sum `HITS`, and a gauge whose latest value is 3."""
    bound = metrics.counter(name, labels={"user": None, "n": 1})
    spellings: list[dict[str, Any]] = [{"user": None}, {"user": ""}, {}, {"other": ""}]
    for number, labels in enumerate(spellings):
        metrics.record_counter(name, {**labels, "n": 1}, 2**number)
        metrics.record_counter(name, {"n": "1", **labels}, 2 ** (number + 4))
        metrics.record_gauge(f"{name}.depth", {**labels, "n": 1}, number)
    bound.add(256)
    bound.add(512)


def only(metrics: BatchMetricsCollector) -> SinkStats:
    """Return the account of the only sink."""
    [account] = balanced(metrics.stats()).sinks.values()
    return account


async def test_prometheus_has_the_sum_of_series_that_it_considers_equal(
    prometheus: Prometheus, scraped_port: int
) -> None:
    """Names may be equal only after translation; another type is rejected, and the page stays readable."""
    sink = PrometheusSink()
    async with collector(sinks=[sink]) as metrics:
        record_hits(metrics, "identity.hits")
        metrics.record_counter("jobs.done", {"http.route": "/", "_a": 1}, 1)
        metrics.record_counter("jobs_done", {"http_route": "/", "key_a": 1}, 2)
        metrics.record_gauge("jobs.done.total", {}, 7)
        metrics.record_counter("names", {"a..b": 1, "größe": 2, "_a": 3, "a__b": 4}, 5)
        await metrics.flush()
        assert only(metrics).rejected == 1
        async with serving(sink.asgi_app(), port=scraped_port):
            target = f'instance="{HOST}:{scraped_port}"'
            await eventually(lambda: prometheus.values(f"identity_hits_total{{{target}}}") == [HITS], within=20)
            assert prometheus.values(f"identity_hits_depth{{{target}}}") == [3]
            assert prometheus.values(f"jobs_done_total{{{target}}}") == [3]
            [series] = prometheus.query(f"names_total{{{target}}}")
            labels = {name: value for name, value in series["metric"].items() if name not in ("job", "instance")}
            assert labels == {"__name__": "names_total", "a__b": "1;4", "gr__e": "2", "key_a": "3"}
        assert check_metrics(sink.render()[0]).status == 0


async def test_a_pushgateway_has_the_sum_of_series_that_it_considers_equal(
    pushgateway: Pushgateway, namespace: str
) -> None:
    """The server would refuse a push that contains one of them twice."""
    sink = PushgatewaySink(pushgateway.url, job=namespace, **QUICK)
    async with collector(sinks=[sink]) as metrics:
        record_hits(metrics, f"{namespace}_hits")
    assert (only(metrics).delivered, only(metrics).retries) == (13, 0)
    page = pushgateway.page()
    [hits] = [line for line in page.splitlines() if line.startswith(f"{namespace}_hits_total{{")]
    assert hits.endswith(f" {HITS}")
    [depth] = [line for line in page.splitlines() if line.startswith(f"{namespace}_hits_depth{{")]
    assert depth.endswith(" 3")


async def test_metrics_that_a_pushgateway_would_overwrite_are_refused(pushgateway: Pushgateway, namespace: str) -> None:
    """It writes the time of the push to metrics of these names, and answers 200."""
    sink = PushgatewaySink(pushgateway.url, job=namespace, **QUICK)
    async with collector(sinks=[sink]) as metrics:
        metrics.describe("push.time", unit="s")
        metrics.record_gauge("push.time", {}, 42)
        metrics.record_gauge("push_failure_time_seconds", {}, 42)
        metrics.record_counter("push.time.seconds", {}, 42)
        metrics.record_gauge(f"{namespace}.fine", {}, 42)
    assert (only(metrics).delivered, only(metrics).rejected) == (2, 2)
    pushed = [line for line in pushgateway.page().splitlines() if f'job="{namespace}"' in line]
    values = {line.partition("{")[0]: float(line.rpartition(" ")[2]) for line in pushed}
    assert (values[f"{namespace}_fine"], values["push_time_seconds_total"]) == (42, 42)
    assert values["push_failure_time_seconds"] == 0


async def test_influxdb_has_the_sum_of_series_that_it_considers_equal(influxdb: InfluxDB, namespace: str) -> None:
    """There is one point per write; several points would overwrite each other."""
    database = influxdb.create_database(namespace)
    async with collector(sinks=[InfluxDBSeriesSink(influxdb.url, database=database, **QUICK)]) as metrics:
        record_hits(metrics, "hits")
        metrics.record_counter("times", {"time": 1}, 1)
        metrics.record_counter("times", {"time_": 1}, 2)
        metrics.record_gauge("times", {}, 1)
    assert (only(metrics).delivered, only(metrics).rejected) == (15, 1)
    assert influxdb.points(database, "hits")[-1]["value"] == HITS
    assert influxdb.points(database, "hits.depth")[-1]["value"] == 3
    assert influxdb.points(database, "times")[-1]["value"] == 3
    points = influxdb.points(database, "hits")
    assert len({point["time"] for point in points}) == len(points)


async def test_victoriametrics_has_the_sum_of_series_that_it_considers_equal(
    victoriametrics: VictoriaMetrics, namespace: str
) -> None:
    """The server would otherwise keep both samples, with one timestamp."""
    sink = InfluxDBSeriesSink(victoriametrics.url, database="d", dialect="victoriametrics", **QUICK)
    async with collector(sinks=[sink]) as metrics:
        record_hits(metrics, f"{namespace}_hits")
    [found] = victoriametrics.export(f"{namespace}_hits_value")
    assert found["values"][-1] == HITS
    assert len(set(found["timestamps"])) == len(found["timestamps"])


async def test_the_label_that_victoriametrics_adds_does_not_create_another_series(
    victoriametrics: VictoriaMetrics, namespace: str
) -> None:
    """It adds ``db`` to every series: a series that already has this label equals the one without it."""
    sink = InfluxDBSeriesSink(victoriametrics.url, database=namespace, **QUICK)
    async with collector(sinks=[sink]) as metrics:
        metrics.record_counter("queries", {"db": namespace}, 1)
        metrics.record_counter("queries", {}, 2)
        metrics.record_counter("queries", {"db": ""}, 4)
        metrics.record_counter("queries", {"db": "another"}, 8)
    assert only(metrics).delivered == 4
    victoriametrics.flush()
    found = victoriametrics.export(f'queries_value{{db=~"{namespace}|another"}}')
    assert {series["metric"]["db"]: series["values"] for series in found} == {namespace: [7], "another": [8]}


@pytest.mark.server("pushgateway")
async def test_a_pushgateway_that_lost_its_groups_gets_them_again(new_server: NewServer) -> None:
    """The groups return after `refresh` without any event, and at the end of the block."""
    gateway = new_server(Pushgateway, keeps=False)

    def told() -> dict[str, float]:
        samples = [line.rpartition(" ") for line in gateway.page().splitlines() if line.startswith("memory_")]
        return {name.partition("{")[0]: float(value) for name, _, value in samples}

    expected = {"memory_jobs_total": 5.0, "memory_depth": 2.0}

    async def forget() -> None:
        await gateway.astop()
        await gateway.astart()
        assert told() == {}

    for refresh in (0.3, math.inf):
        sink = PushgatewaySink(gateway.url, job="memory", refresh=refresh, **QUICK)
        async with collector(BatchMetricsConfig(flush_interval=0.05), sinks=[sink]) as metrics:
            metrics.record_counter("memory.jobs", {}, 5)
            metrics.record_gauge("memory.depth", {}, 2)
            assert (await metrics.flush()).ok
            assert told() == expected
            await forget()
            if refresh < 1:
                await eventually(lambda: told() == expected, within=20)
            else:
                await trio.sleep(0.5)
                assert told() == {}
        assert told() == expected
        assert (only(metrics).delivered, only(metrics).failed) == (2, 0)


async def test_a_gauge_that_was_set_once_is_written_to_influxdb_repeatedly(influxdb: InfluxDB, namespace: str) -> None:
    """Each write has a point, so that a query of the last minutes finds the gauge."""
    database = influxdb.create_database(namespace)
    sink = InfluxDBSeriesSink(influxdb.url, database=database, refresh=0.1, **QUICK)
    async with collector(BatchMetricsConfig(flush_interval=0.05), sinks=[sink]) as metrics:
        metrics.record_gauge("depth", {}, 7)
        await eventually(lambda: len(influxdb.points(database, "depth")) >= 4, within=20)
    assert {point["value"] for point in influxdb.points(database, "depth")} == {7}
    assert (only(metrics).total, only(metrics).delivered) == (1, 1)
