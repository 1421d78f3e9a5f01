"""The data points of random events are those that the events themselves add up to."""

from __future__ import annotations

import json
import struct
import time
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE

from tests.helpers import examples
from tests.sinks.otlp.server import Attributes, attributes_of, points_of
from trio_batchmetrics import (
    BackendRequest,
    Batch,
    CacheMetric,
    Counter,
    Gauge,
    HealthCheck,
    Histogram,
    HistogramPoint,
    HttpRequest,
    MetricEvent,
)
from trio_batchmetrics.abc import SinkContext
from trio_batchmetrics.sinks import OTLPSink
from trio_batchmetrics.sinks._otlp.points import Piece
from trio_batchmetrics.sinks._otlp.requests import requests_of

BOUNDS = (0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0, 10_000.0)
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
BACKEND = tuple(0.01 * 2**n for n in range(14))

FINE = st.characters(exclude_categories=["Cs"])
LABEL = st.one_of(
    st.text(FINE, max_size=5),
    st.booleans(),
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.sampled_from([0.5, 1.0, -0.0, 1e300]),
)
LABELS = st.dictionaries(st.text(FINE, min_size=1, max_size=4), LABEL, max_size=3)
VALUES = st.floats(-1e6, 1e6)
POSITIVE = st.floats(0, 1e6)
EVENT = st.one_of(
    st.builds(Counter, st.sampled_from(["c", "c2"]), LABELS, POSITIVE),
    st.builds(Gauge, st.sampled_from(["g", "g é"]), LABELS, VALUES),
    st.builds(Histogram, st.sampled_from(["h"]), LABELS, VALUES),
    st.builds(HttpRequest, st.sampled_from(["GET", "PUT"]), st.just("/"), st.integers(200, 202), POSITIVE),
    st.builds(BackendRequest, st.sampled_from(["openai", "x"]), st.just("m"), st.booleans(), POSITIVE),
    st.builds(HealthCheck, st.sampled_from(["db"]), st.booleans(), POSITIVE),
    st.builds(CacheMetric, st.sampled_from(["redis"]), st.sampled_from(["hit", "miss"])),
)


def sink_for(**context: Any) -> OTLPSink:
    """Return a sink that is bound, but belongs to no collector."""
    sink = OTLPSink("http://otlp.example")
    sink.bind(SinkContext(**context))
    return sink


def messages(sink: OTLPSink, max_points: int = 2000, max_bytes: int = 4_000_000) -> list[ExportMetricsServiceRequest]:
    """Return the requests of a push."""
    parts: list[Piece] = [*sink.snapshot()]
    return [
        ExportMetricsServiceRequest.FromString(request.body(sink._resource, sink._scope))
        for request in requests_of(parts, max_points, max_bytes)
    ]


KINDS = {bool: "bool_value", int: "int_value", float: "double_value", str: "string_value"}


def typed(labels: dict[str, Any]) -> Attributes:
    """Return labels as attributes."""
    return frozenset((name, KINDS[type(value)], value) for name, value in labels.items())


def as_texts(key: tuple[str, str, str, Attributes]) -> Any:
    """Return what tells a series from others: attributes count by their texts, and empty ones don't count."""
    name, unit, kind, attributes = key
    texts = ((label, json.dumps(value) if kind == "bool_value" else str(value)) for label, kind, value in attributes)
    return name, unit, kind, frozenset((label, text) for label, text in texts if text)


def measured(event: MetricEvent) -> list[tuple[tuple[str, str, str, Attributes], float, Sequence[float]]]:
    """Return what an event measures: name, unit, kind and attributes; the value; the bounds."""
    match event:
        case Counter():
            return [((event.name, "", "sum", typed(dict(event.labels))), event.value, ())]
        case Gauge():
            return [((event.name, "", "gauge", typed(dict(event.labels))), event.value, ())]
        case Histogram():
            return [((event.name, "", "histogram", typed(dict(event.labels))), event.value, BOUNDS)]
        case HttpRequest():
            names = ("http.request.method", "http.route", "http.response.status_code")
            labels: dict[str, Any] = dict(zip(names, (event.method, event.path, event.status_code), strict=True))
            return [(("http.server.request.duration", "s", "histogram", typed(labels)), event.duration, SECONDS)]
        case BackendRequest():
            labels = {"provider": event.provider, "model": event.model, "success": event.success}
            return [(("backend.request.duration", "s", "histogram", typed(labels)), event.latency, BACKEND)]
        case HealthCheck():
            of = typed({"backend": event.backend})
            return [
                (("backend.health", "", "gauge", of), float(event.healthy), ()),
                (("backend.health_check.duration", "s", "histogram", of), event.duration, SECONDS),
            ]
        case CacheMetric():
            labels = {"cache.type": event.cache_type, "cache.operation": event.operation}
            return [(("cache.operations", "{event}", "sum", typed(labels)), 1.0, ())]
        case _:
            raise AssertionError(event)


@given(st.lists(EVENT, max_size=60), st.integers(1, 20), st.integers(1, 30))
@settings(max_examples=examples(500))
def test_points_are_what_the_events_add_up_to(events: list[Any], batch_size: int, max_points: int) -> None:
    """Values, counts, bounds and attributes with their types; each series once, over any number of requests."""
    sink = sink_for()
    before = time.time_ns()
    wanted: dict[Any, tuple[list[float], Sequence[float], Attributes]] = {}
    for start in range(0, len(events), batch_size):
        assert sink.merge(Batch(events[start : start + batch_size])) is None
    for event in events:
        for key, value, bounds in measured(event):
            wanted.setdefault(as_texts(key), ([], bounds, key[3]))[0].append(value)
    found: dict[Any, Any] = {}
    for message in messages(sink, max_points):
        points = points_of(message)
        assert 0 < len(points) <= max_points
        for key, point in points.items():
            assert as_texts(key) not in found
            found[as_texts(key)] = key[3], point
        for metric in message.resource_metrics[0].scope_metrics[0].metrics:
            kind: Any = metric.WhichOneof("data")
            data = getattr(metric, kind)
            assert kind == "gauge" or data.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
            assert kind != "sum" or data.is_monotonic
    assert found.keys() == wanted.keys()
    for key, (values, bounds, first) in wanted.items():
        attributes, point = found[key]
        assert attributes == first, "the types of the first event"
        assert point.time_unix_nano == sink._now
        if key[2] == "gauge":
            assert (point.as_double, point.start_time_unix_nano) == (values[-1], 0)
            continue
        assert before <= point.start_time_unix_nano < point.time_unix_nano
        total = 0.0
        for value in values:
            total += value
        if key[2] == "sum":
            assert point.as_double == total
            continue
        counts = [0] * (len(bounds) + 1)
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        assert (point.count, point.sum) == (len(values), total)
        assert [*point.explicit_bounds] == [*bounds]
        assert [*point.bucket_counts] == counts


def test_requests_have_at_most_so_many_bytes() -> None:
    """A data point that is larger is alone."""
    sink = sink_for()
    sizes = (10, 11, 200, 5000, 12, 300)
    sink.merge(Batch([Counter("c", {"a": "x" * size}, 1) for size in sizes]))
    found = [
        [len(point.attributes[0].value.string_value) for point in metric.sum.data_points]
        for message in messages(sink, max_bytes=400)
        for metric in message.resource_metrics[0].scope_metrics[0].metrics
    ]
    assert [size for each in found for size in each] == [*sizes]
    assert [5000] in found
    assert all(sum(each) <= 400 or len(each) == 1 for each in found)


def test_a_point_of_a_bound_histogram_keeps_its_own_buckets() -> None:
    """They are folded into the store's, exactly if the bounds are the same."""
    sink = sink_for(bounds={"h": (1.0, 2.0)})
    sink.merge(Batch([HistogramPoint("h", {}, 4, 5.5, (1.0, 2.0), (1, 2, 1)), Histogram("h", {}, 1.0)]))
    ((_, point),) = points_of(messages(sink)[0]).items()
    assert (point.count, point.sum) == (5, 6.5)
    assert ([*point.explicit_bounds], [*point.bucket_counts]) == ([1.0, 2.0], [2, 2, 1])


def test_awkward_labels() -> None:
    """No name, no value, an empty one, an int beyond 64 bits, a lone surrogate, 1 next to True, 1.0 and "1"."""
    sink = sink_for()
    values = [2**63, "\ud800", 1, True, 1.0, "1", "", "true"]
    labels: list[Any] = [{"": "x", "n": None}, *({"n": value} for value in values)]
    sink.merge(Batch([Counter("c", each, number + 1) for number, each in enumerate(labels)]))
    found = {attributes: point.as_double for (_, _, _, attributes), point in points_of(messages(sink)[0]).items()}
    assert found == {
        frozenset(): 1.0 + 8.0,
        frozenset({("n", "string_value", str(2**63))}): 2.0,
        frozenset({("n", "string_value", "\ufffd")}): 3.0,
        frozenset({("n", "int_value", 1)}): 4.0 + 7.0,
        frozenset({("n", "bool_value", True)}): 5.0 + 9.0,
        frozenset({("n", "double_value", 1.0)}): 6.0,
    }


def test_name_unit_and_description_are_those_that_are_declared() -> None:
    """Once per instrument, however many series it has."""
    sink = sink_for()
    sink.merge(Batch([HttpRequest("GET", "/", status, 0.5) for status in (200, 404)]))
    (metric,) = messages(sink)[0].resource_metrics[0].scope_metrics[0].metrics
    assert metric.name == "http.server.request.duration"
    assert (metric.unit, metric.description) == ("s", "Duration of HTTP server requests.")


def test_infinite_sums_are_sent() -> None:
    """OTLP can carry them: they say that the sum has overflowed."""
    sink = sink_for()
    sink.merge(Batch([Counter("c", {}, 1.7e308), Counter("c", {}, 1.7e308)]))
    ((_, point),) = points_of(messages(sink)[0]).items()
    assert struct.pack("<d", point.as_double) == struct.pack("<d", float("inf"))


def test_attributes_of_one_point_are_unique() -> None:
    """OTLP forbids two attributes with one name: an event's own label replaces the static one."""
    sink = sink_for(static_labels={"zone": "a", "service.name": "shop"})
    sink.merge(Batch([Counter("c", {"zone": "b"}, 1), Counter("c", {"service.name": "other"}, 1)]))
    message = messages(sink)[0]
    assert {attributes for _, _, _, attributes in points_of(message)} == {
        frozenset({("zone", "string_value", "b")}),
        frozenset({("zone", "string_value", "a"), ("service.name", "string_value", "other")}),
    }
    resource = attributes_of(message.resource_metrics[0].resource.attributes)
    assert ("service.name", "string_value", "shop") in resource


def test_the_sizes_of_several_instruments_add_up() -> None:
    """A request is full even if no single instrument fills it."""
    sink = sink_for()
    sink.merge(Batch([Counter(f"c{number}", {"a": "x" * 100}, 1) for number in range(10)]))
    assert [len(points_of(message)) for message in messages(sink, max_bytes=400)] == [2] * 5
