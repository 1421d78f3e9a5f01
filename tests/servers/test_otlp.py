"""The two servers of OTLP start, return exactly what they were given, and keep it when they are stopped.

The requests are written by hand, so that a sink can be wrong without these tests being wrong in the same way.
"""

import struct
import time
from typing import Any

import pytest

from tests.servers.base import NewServer, eventually
from tests.servers.client import Answer, free_port
from tests.servers.opentelemetry import OTelCollector
from tests.servers.prometheus import Prometheus3
from tests.servers.protobuf import fixed64, integer, message

PROTOBUF = {"Content-Type": "application/x-protobuf"}
CUMULATIVE = 2
DELTA = 1


# ------------------------------------------------------------------------------------------------- requests of OTLP


def _attribute(key: str, value: str) -> bytes:
    """Return a KeyValue with a text."""
    return message(1, key) + message(2, message(1, value))


def _gauge(name: str, value: float, nanoseconds: int) -> bytes:
    """Return a Metric: a gauge of one point, a float or an integer."""
    point = message(7, _attribute("a", "b")) + fixed64(3, nanoseconds)
    point += fixed64(6 if isinstance(value, int) else 4, value)
    return message(1, name) + message(5, message(1, point))


def _sum(name: str, value: int, nanoseconds: int, *, temporality: int = CUMULATIVE) -> bytes:
    """Return a Metric: a counter of one point in bytes, started a second before."""
    point = message(7, _attribute("a", "b")) + fixed64(2, nanoseconds - 10**9) + fixed64(3, nanoseconds)
    total = message(1, point + fixed64(6, value)) + integer(2, temporality) + integer(3, 1)
    return message(1, name) + message(2, "What it counts.") + message(3, "By") + message(7, total)


def _histogram(name: str, nanoseconds: int) -> bytes:
    """Return a Metric: a histogram of one point, with 1 and 2 values on the sides of 0.5."""
    point = fixed64(3, nanoseconds) + fixed64(4, 3) + fixed64(5, 4.25)
    point += message(6, struct.pack("<2Q", 1, 2)) + message(7, struct.pack("<d", 0.5))
    return message(1, name) + message(9, message(1, point) + integer(2, CUMULATIVE))


def _request(*metrics: bytes, service: str) -> bytes:
    """Return an ExportMetricsServiceRequest of one resource and one scope."""
    attributes = {"service.name": service, "service.instance.id": "1", "host.name": "h"}
    resource = b"".join(message(1, _attribute(key, value)) for key, value in attributes.items())
    scope = message(1, "by hand") + message(2, "1.0")
    return message(1, message(1, resource) + message(2, message(1, scope) + b"".join(message(2, m) for m in metrics)))


def _to_collector(server: OTelCollector, *metrics: bytes) -> Answer:
    return server.request("POST", "/v1/metrics", _request(*metrics, service="s"), headers=PROTOBUF)


def _to_prometheus(server: Prometheus3, service: str, *metrics: bytes) -> Answer:
    body = _request(*metrics, service=service)
    return server.request("POST", "/api/v1/otlp/v1/metrics", body, headers=PROTOBUF)


# ------------------------------------------------------------------------------------------ OpenTelemetry Collector


def _text(key: str, value: str) -> dict[str, Any]:
    """Return a KeyValue in OTLP's JSON."""
    return {"key": key, "value": {"stringValue": value}}


async def test_the_shared_collector_stores_a_request(otelcol: OTelCollector, namespace: str) -> None:
    """Each metric is stored with its resource, its scope, and the exact values and times."""
    name = f"{namespace}.h"
    answer = _to_collector(
        otelcol, _sum(f"{namespace}.c", 2**53 + 1, 2 * 10**9), _gauge(f"{namespace}.g", 0.1, 5), _histogram(name, 7)
    )
    assert (answer.status, answer.body) == (200, b"\n\x00")  # an empty `partial_success`: everything was accepted
    origin = {
        "resource": {
            "attributes": [_text("service.name", "s"), _text("service.instance.id", "1"), _text("host.name", "h")]
        },
        "scope": {"name": "by hand", "version": "1.0"},
    }
    await eventually(lambda: otelcol.named(name))
    assert otelcol.named(f"{namespace}.c") == [
        {
            **origin,
            "name": f"{namespace}.c",
            "description": "What it counts.",
            "unit": "By",
            "sum": {
                "aggregationTemporality": CUMULATIVE,
                "isMonotonic": True,
                "dataPoints": [
                    {
                        "attributes": [_text("a", "b")],
                        "startTimeUnixNano": "1000000000",
                        "timeUnixNano": "2000000000",
                        "asInt": "9007199254740993",
                    }
                ],
            },
        }
    ]
    point: dict[str, Any] = {"attributes": [_text("a", "b")], "timeUnixNano": "5", "asDouble": 0.1}
    assert otelcol.named(f"{namespace}.g") == [{**origin, "name": f"{namespace}.g", "gauge": {"dataPoints": [point]}}]
    point = {"timeUnixNano": "7", "count": "3", "sum": 4.25, "bucketCounts": ["1", "2"], "explicitBounds": [0.5]}
    histogram = {"aggregationTemporality": CUMULATIVE, "dataPoints": [point]}
    assert otelcol.named(name) == [{**origin, "name": name, "histogram": histogram}]


@pytest.mark.server("otelcol")
def test_the_collector_keeps_requests_over_stop(new_server: NewServer) -> None:
    """The file has the requests of all runs, in order; a stop loses none."""
    server = new_server(OTelCollector)
    url = server.url
    assert server.metrics() == []
    for value in (1, 2):
        assert _to_collector(server, _gauge("g", value, 5)).status == 200
        server.stop()
        server.start()
    assert server.url == url
    points = [metric["gauge"]["dataPoints"] for metric in server.named("g")]
    assert [[point["asInt"] for point in each] for each in points] == [["1"], ["2"]]
    assert len(server.metrics()) == 2
    assert server.log.count("Everything is ready") == 3


@pytest.mark.server("otelcol")
async def test_the_collector_accepts_a_limit(new_server: NewServer) -> None:
    """A body beyond the limit, another type and another method are refused, and nothing of them is stored."""
    server = new_server(OTelCollector, http={"max_request_body_size": 1000})
    long = _to_collector(server, _gauge("g" * 1000, 1, 5))
    assert (long.status, long.body[:2]) == (400, b"\x08\x03")  # a Status with INVALID_ARGUMENT, not a 413
    assert b"request body too large" in long.body
    body = _request(_gauge("g", 1, 5), service="s")
    assert server.request("POST", "/v1/metrics", body, headers={"Content-Type": "text/plain"}).status == 415
    assert server.request("GET", "/v1/metrics").status == 405
    assert _to_collector(server, _gauge("h", 1, 5)).status == 200
    await eventually(lambda: server.named("h"))
    assert len(server.metrics()) == 1


@pytest.mark.server("otelcol")
def test_the_collector_accepts_other_exporters(new_server: NewServer) -> None:
    """With a short queue in front of a server that doesn't listen, it answers 503 as soon as the queue is full."""
    queue = {"queue_size": 2, "num_consumers": 1}
    exporter = {"endpoint": f"http://127.0.0.1:{free_port()}", "sending_queue": queue}
    server = new_server(OTelCollector, exporters={"otlp_http": exporter})
    answers = [_to_collector(server, _gauge("g", value, 5)) for value in range(5)]
    assert [answer.status for answer in answers][-1:] == [503]
    assert b"sending queue is full" in answers[-1].body
    assert server.metrics() == []


# ------------------------------------------------------------------------------------------------------- Prometheus


def test_the_shared_prometheus_3_stores_a_request(prometheus3: Prometheus3, namespace: str) -> None:
    """Names get the suffixes of their unit and type; the resource becomes `job`, `instance` and `target_info`.

    There is no `target_info` for a resource that has only the attributes for `job` and `instance`.
    """
    now = time.time()
    nanoseconds = int(now * 1000) * 1_000_000
    answer = _to_prometheus(
        prometheus3,
        namespace,
        _sum(f"{namespace}.c", 2**53 + 1, nanoseconds),
        _gauge(f"{namespace}.g", 0.1, nanoseconds),
        _histogram(f"{namespace}.h", nanoseconds),
    )
    assert (answer.status, answer.body) == (200, b"")
    origin = {"job": namespace, "instance": "1"}
    found = {
        (series["metric"].pop("__name__").removeprefix(namespace), series["metric"].pop("le", "")): series
        for series in prometheus3.query(f'{{job="{namespace}"}}', time=now + 1)
    }
    assert {key: float(series["value"][1]) for key, series in found.items()} == {
        ("_c_bytes_total", ""): 2**53,  # all values are doubles
        ("_g", ""): 0.1,
        ("_h_bucket", "0.5"): 1,
        ("_h_bucket", "+Inf"): 3,
        ("_h_count", ""): 3,
        ("_h_sum", ""): 4.25,
        ("target_info", ""): 1,
    }
    assert found["_g", ""]["metric"] == {**origin, "a": "b"}
    assert found["_h_sum", ""]["metric"] == origin
    assert found["target_info", ""]["metric"] == {**origin, "host_name": "h"}
    [series] = prometheus3.query(f"{namespace}_g[1m]", time=now + 1)
    assert series["values"] == [[nanoseconds / 10**9, "0.1"]]


def test_prometheus_3_refuses_a_delta_and_its_neighbours(prometheus3: Prometheus3, namespace: str) -> None:
    """Nothing of the request is stored."""
    nanoseconds = time.time_ns()
    delta = _sum(f"{namespace}_c", 1, nanoseconds, temporality=DELTA)
    answer = _to_prometheus(prometheus3, namespace, _gauge(f"{namespace}_g", 1, nanoseconds), delta)
    assert answer.status == 500
    assert "invalid temporality" in answer.text
    assert prometheus3.series(f'{{job="{namespace}"}}') == []


@pytest.mark.server("prometheus3")
def test_prometheus_3_accepts_a_section(new_server: NewServer) -> None:
    """Names can be stored without a change, and attributes of the resource as labels."""
    otlp = {"translation_strategy": "NoTranslation", "promote_resource_attributes": ["service.name"]}
    server = new_server(Prometheus3, sections={"otlp": otlp})
    assert _to_prometheus(server, "s", _sum("a.b", 3, time.time_ns())).status == 200
    [series] = server.query('{"a.b"}')
    assert series["metric"] == {"__name__": "a.b", "a": "b", "job": "s", "instance": "1", "service.name": "s"}
    assert series["value"][1] == "3"


def test_prometheus_3_receives_remote_writes(prometheus3: Prometheus3) -> None:
    """Another type is refused with 415, not with 404; `test_servers.py` covers a write that is stored."""
    empty = b"\x00"  # in Snappy's format, which is looked at before the type
    answer = prometheus3.request("POST", "/api/v1/write", empty, headers={"Content-Type": "text/plain"})
    assert answer.status == 415
    assert "expected application/x-protobuf" in answer.text
