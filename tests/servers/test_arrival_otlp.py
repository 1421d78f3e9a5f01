"""100 000 events from three collectors arrive over OTLP, exact to the last one: Collector, Prometheus, VictoriaMetrics.

A request is refused, the response to another is lost, and the server is restarted in the middle. The expected numbers
are the traffic's own (:mod:`tests.servers.expected`).
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest

from tests.helpers import balanced
from tests.servers.base import NewServer, eventually
from tests.servers.expected import Instrument, Labels, Series
from tests.servers.hostile import CASES, Case, record_cases
from tests.servers.opentelemetry import OTelCollector
from tests.servers.player import assert_all_delivered, record_all
from tests.servers.prometheus import Prometheus3
from tests.servers.proxy import Proxy
from tests.servers.test_arrival_prometheus import expected_samples, stored_cases, stored_samples
from tests.servers.traffic import Traffic, all_series, streams
from tests.servers.trouble import trouble
from tests.servers.victoriametrics import VictoriaMetrics151
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.sinks import OTLPSink

QUICK: dict[str, Any] = {"timeout": 5.0, "backoff": 0.05, "max_backoff": 0.1}

Key = tuple[Instrument, Labels]


@pytest.fixture(scope="module")
def traffics() -> list[Traffic]:
    """The traffic of three collectors."""
    return streams()


def text_of(value: Mapping[str, Any]) -> str:
    """Return an attribute's value as text."""
    ((kind, content),) = value.items()
    return json.dumps(content) if kind == "boolValue" else str(content)


def last_points(requests: Iterable[Mapping[str, Any]]) -> dict[Key, dict[str, Any]]:
    """Return the latest point of each series; check that times rise, and that a series keeps its start.

    Args:
        requests: what the Collector has stored, in order.
    """
    latest: dict[tuple[str, Key], dict[str, Any]] = {}
    for request in requests:
        for resource_metrics in request["resourceMetrics"]:
            attributes = {each["key"]: text_of(each["value"]) for each in resource_metrics["resource"]["attributes"]}
            for metric in resource_metrics["scopeMetrics"][0]["metrics"]:
                (kind,) = metric.keys() & {"sum", "gauge", "histogram"}
                if kind != "gauge":
                    assert metric[kind]["aggregationTemporality"] == 2
                    assert kind == "histogram" or metric[kind]["isMonotonic"]
                instrument = Instrument(metric["name"], {"sum": "counter"}.get(kind, kind), metric.get("unit", ""))
                for point in metric[kind]["dataPoints"]:
                    labels = sorted((each["key"], text_of(each["value"])) for each in point.get("attributes", []))
                    key = attributes["service.instance.id"], (instrument, tuple(labels))
                    earlier = latest.get(key)
                    if earlier is not None:
                        assert int(earlier["timeUnixNano"]) < int(point["timeUnixNano"])
                        assert earlier.get("startTimeUnixNano") == point.get("startTimeUnixNano")
                    latest[key] = point
    found = {key: point for (_, key), point in latest.items()}
    assert len(found) == len(latest), "each collector has its own series"
    return found


def expected_points(series: Mapping[Key, Series]) -> dict[Key, Any]:
    """Return the values that the latest points must have."""
    return {
        key: (one.values, one.total, tuple(one.counts), tuple(one.bounds))
        if one.bounds
        else (one.last if key[0].kind == "gauge" else one.total)
        for key, one in series.items()
    }


def values_of(points: Mapping[Key, Mapping[str, Any]]) -> dict[Key, Any]:
    """Return the values of points."""
    return {
        key: (
            int(point["count"]),
            point["sum"],
            tuple(map(int, point["bucketCounts"])),
            tuple(point["explicitBounds"]),
        )
        if key[0].kind == "histogram"
        else point["asDouble"]
        for key, point in points.items()
    }


@pytest.mark.server("otelcol")
async def test_the_collector_has_each_event(new_server: NewServer, traffics: Sequence[Traffic]) -> None:
    """With units, bounds and start times; each push is complete, and later than the one before."""
    server = new_server(OTelCollector)
    async with Proxy(server.host, server.port) as proxy:
        accounts = await record_all(
            traffics, lambda _: OTLPSink(proxy.url, **QUICK), trouble(server, proxy), enable_compression=True
        )
    assert_all_delivered(traffics, accounts)
    assert sum(sink.retries for account in accounts.values() for sink in account.sinks.values()) >= 3
    expected = expected_points(all_series(traffics))

    def told() -> bool:
        assert values_of(last_points(server.metrics())) == expected
        return True

    await eventually(told, within=10)


@pytest.mark.server("prometheus3")
async def test_prometheus_has_each_event(new_server: NewServer, traffics: Sequence[Traffic]) -> None:
    """Under the names that it gives them; no sample is refused."""
    server = new_server(Prometheus3)
    async with Proxy(server.host, server.port) as proxy:
        accounts = await record_all(
            traffics,
            lambda traffic: OTLPSink(f"{proxy.url}/api/v1/otlp", resource={"host.name": traffic.name}, **QUICK),
            trouble(server, proxy),
            enable_compression=True,
        )
    assert_all_delivered(traffics, accounts)
    expected = expected_samples(all_series(traffics))

    def told() -> bool:
        found = server.query('{collector=~".+"}')
        assert stored_samples(found, ["job", "instance"]) == expected
        return True

    await eventually(told, within=30)
    assert len(server.query("target_info")) == len(traffics)
    assert not [line for line in server.log.splitlines() if "level=WARN" in line and "otlp" in line.lower()]


@pytest.mark.server("victoriametrics151")
async def test_victoriametrics_has_each_event(new_server: NewServer, traffics: Sequence[Traffic]) -> None:
    """Under Prometheus's names; it is stopped, because it forgets the last seconds when it is killed."""
    server = new_server(VictoriaMetrics151, flags=["-opentelemetry.usePrometheusNaming"])
    async with Proxy(server.host, server.port) as proxy:
        accounts = await record_all(
            traffics,
            lambda _: OTLPSink(f"{proxy.url}/opentelemetry", **QUICK),
            trouble(server, proxy, crash=False),
            enable_compression=True,
        )
    assert_all_delivered(traffics, accounts)
    expected = expected_samples(all_series(traffics))

    def told() -> bool:
        found = [
            {"metric": each["metric"], "value": max(zip(each["timestamps"], each["values"], strict=True))}
            for each in server.export('{collector=~".+"}')
        ]
        more = [name for name in found[0]["metric"] if name.startswith(OF_RESOURCE_AND_SCOPE)]
        assert stored_samples(found, more) == expected
        return True

    await eventually(told, within=30)


OF_RESOURCE_AND_SCOPE = ("job", "instance", "service", "telemetry", "scope")
"""Beginnings of the names of labels that VictoriaMetrics adds to each series."""


@pytest.mark.parametrize("kind", ["prometheus3", "otelcol"])
async def test_labels_keep_their_types(kind: str, request: pytest.FixtureRequest, namespace: str) -> None:
    """The Collector stores them with their types; Prometheus has text."""
    server = request.getfixturevalue(kind)
    path = "/api/v1/otlp" if kind == "prometheus3" else ""
    labels = {"text": 'ä\n"1"', "flag": True, "number": 7, "share": 0.5}
    config = BatchMetricsConfig(static_labels={"service.name": namespace})
    async with collector(config, sinks=[OTLPSink(f"{server.url}{path}", **QUICK)]) as metrics:
        metrics.record_counter("typed", labels, 3)
    assert balanced(metrics.stats()).processed_events == 1

    def told() -> bool:
        if isinstance(server, OTelCollector):
            own = {"key": "service.name", "value": {"stringValue": namespace}}
            found_metrics = [each for each in server.named("typed") if own in each["resource"]["attributes"]]
            assert found_metrics
            (point,) = found_metrics[-1]["sum"]["dataPoints"]
            found = {each["key"]: each["value"] for each in point["attributes"]}
            assert found == {
                "text": {"stringValue": labels["text"]},
                "flag": {"boolValue": True},
                "number": {"intValue": "7"},
                "share": {"doubleValue": 0.5},
            }
        else:
            found_series = server.query(f'typed_total{{job="{namespace}"}}')
            assert len(found_series) == 1
            series = found_series[0]
            assert {name: series["metric"][name] for name in labels} == {
                "text": labels["text"],
                "flag": "true",
                "number": "7",
                "share": "0.5",
            }
        return True

    await eventually(told, within=10)


def named(case: Case) -> tuple[str, dict[str, str]]:
    """Return the name and the labels that have a name of their own."""
    name, labels = case.in_document()
    return name, {label: text for label, text in labels.items() if label}


async def test_the_collector_reads_hostile_texts_unchanged(otelcol: OTelCollector, namespace: str) -> None:
    """Protocol Buffers carry everything but attributes without a name."""
    config = BatchMetricsConfig(static_labels={"service.name": namespace})
    async with collector(config, sinks=[OTLPSink(otelcol.url, **QUICK)]) as metrics:
        record_cases(metrics)
        await metrics.flush()
        account = balanced(metrics.stats())
        assert account.processed_events == account.total_events == len(CASES)
    own = {"key": "service.name", "value": {"stringValue": namespace}}

    def told() -> bool:
        requests = [
            resource_metrics
            for request in otelcol.metrics()
            for resource_metrics in request["resourceMetrics"]
            if own in resource_metrics["resource"]["attributes"]
        ]
        assert requests
        found: dict[str, tuple[str, dict[str, str]]] = {}
        for metric in requests[-1]["scopeMetrics"][0]["metrics"]:
            for point in metric["sum"]["dataPoints"]:
                labels = {each["key"]: each["value"].get("stringValue", "") for each in point["attributes"]}
                assert point["asDouble"] == 1
                assert labels["case"] not in found
                found[labels["case"]] = metric["name"], labels
        assert found == {case.key: named(case) for case in CASES}
        return True

    await eventually(told, within=10)


async def test_prometheus_reads_hostile_texts_unchanged(prometheus3: Prometheus3, namespace: str) -> None:
    """Values arrive byte for byte; names follow its own rules, by which it replaces or drops some labels."""
    config = BatchMetricsConfig(static_labels={"service.name": namespace})
    async with collector(config, sinks=[OTLPSink(f"{prometheus3.url}/api/v1/otlp", **QUICK)]) as metrics:
        record_cases(metrics)
        await metrics.flush()
        account = balanced(metrics.stats())
        assert account.processed_events == account.total_events == len(CASES), account
    found = stored_cases(prometheus3.query(f'{{job="{namespace}", case=~".+"}}'), ["job", "instance"])
    expected = {case.key: case.in_prometheus() for case in CASES}
    assert found.keys() == expected.keys()
    others = {key for key, (_, labels) in expected.items() if any(OF_OUR_PAGE.search(name) for name in labels)}
    assert {key: found[key] for key in found.keys() - others} == {
        key: expected[key] for key in expected.keys() - others
    }
    assert len(others) < 10


OF_OUR_PAGE = re.compile("^exported_|__")
"""Labels that our own page for Prometheus renames, and that Prometheus drops or renames in another way over OTLP."""
