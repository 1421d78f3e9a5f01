"""The built-in events are plain values that print, compare, hash and pickle, and have the documented declarations."""

import copy
import enum
import inspect
import json
import pickle
import time
from collections import ChainMap
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from http import HTTPStatus
from itertools import combinations
from types import MappingProxyType
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bad_values import Changing, RaisingMapping
from trio_batchmetrics import (
    BackendRequest,
    BatchMetricsCollector,
    CacheMetric,
    Counter,
    Gauge,
    HealthCheck,
    Histogram,
    HistogramPoint,
    HttpRequest,
    MetricEvent,
)

RECORDERS: list[tuple[type[MetricEvent], Callable[..., None]]] = [
    (HttpRequest, BatchMetricsCollector.record_http_request),
    (BackendRequest, BatchMetricsCollector.record_backend_request),
    (HealthCheck, BatchMetricsCollector.record_health_check),
    (CacheMetric, BatchMetricsCollector.record_cache_metric),
    (Counter, BatchMetricsCollector.record_counter),
    (Histogram, BatchMetricsCollector.record_histogram),
    (Gauge, BatchMetricsCollector.record_gauge),
]

EXAMPLES: list[MetricEvent] = [
    HttpRequest("GET", "/api/data", 200, 0.15, timestamp=1),
    BackendRequest("openai", "gpt-4", False, 0.85, "timeout", timestamp=2),
    HealthCheck("backend-1", True, 0.05, timestamp=3),
    CacheMetric("redis", "hit", timestamp=4),
    Counter("requests", {"region": "us-east"}, 42.0, timestamp=5),
    Histogram("response_time", {"region": "us-east"}, 123.4, timestamp=6),
    Gauge("temperature", {}, -3, timestamp=7),
    HistogramPoint("size", {"region": "us-east"}, 3, 7.5, (1.0, 5.0), (1, 2, 0), timestamp=8),
]

NAMED: list[type[Counter] | type[Histogram] | type[Gauge]] = [Counter, Histogram, Gauge]

LABEL_VALUES: st.SearchStrategy[Any] = st.text(max_size=8) | st.integers() | st.booleans() | st.none()
LABELS = st.dictionaries(st.text(min_size=1, max_size=8), LABEL_VALUES, max_size=3)
SECONDS = st.floats(min_value=0, allow_infinity=False)
STAMPS = st.integers(min_value=0, max_value=2**63 - 1)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60)


def named(kind: type[MetricEvent]) -> "st.SearchStrategy[MetricEvent]":
    """Create events that have a name, labels and a value."""
    return st.builds(kind, name=st.text(min_size=1, max_size=8), labels=LABELS, value=NUMBERS, timestamp=STAMPS)


EVENTS: st.SearchStrategy[MetricEvent] = st.one_of(
    st.builds(HttpRequest, st.text(max_size=8), st.text(max_size=8), st.integers(100, 599), SECONDS, timestamp=STAMPS),
    st.builds(
        BackendRequest,
        st.text(max_size=8),
        st.text(max_size=8),
        st.booleans(),
        SECONDS,
        st.none() | st.text(max_size=8),
        timestamp=STAMPS,
    ),
    st.builds(HealthCheck, st.text(max_size=8), st.booleans(), SECONDS, timestamp=STAMPS),
    st.builds(CacheMetric, st.text(max_size=8), st.text(max_size=8), timestamp=STAMPS),
    named(Counter),
    named(Histogram),
    named(Gauge),
)


def fields(kind: Any) -> list[str]:
    """Return the names of an event class's fields, the timestamp last."""
    return [field.name for field in attrs.fields(kind)]


def values(event: Any) -> tuple[object, ...]:
    """Return the values of an event's fields."""
    return tuple(getattr(event, name) for name in fields(type(event)))


def changed(event: Any, **changes: object) -> MetricEvent:
    """Return a copy of an event with other values."""
    copied: MetricEvent = attrs.evolve(event, **changes)
    return copied


def kind_of(value: object) -> str:
    """Return the class's name as the id of a parameter."""
    return value.__name__ if isinstance(value, type) else type(value).__name__


# -- fields


@pytest.mark.parametrize(("kind", "recorder"), RECORDERS, ids=kind_of)
def test_an_events_fields_are_its_recorders_parameters(kind: type[MetricEvent], recorder: Callable[..., None]) -> None:
    """They have the same names, order and defaults, positional or keyword; the timestamp is keyword-only."""
    of_recorder = list(inspect.signature(recorder).parameters.values())[1:]
    of_event = list(inspect.signature(kind).parameters.values())
    assert of_event[-1].name == "timestamp"
    assert of_event[-1].kind is inspect.Parameter.KEYWORD_ONLY
    assert [(one.name, one.default, one.kind) for one in of_event[:-1]] == [
        (one.name, one.default, inspect.Parameter.POSITIONAL_OR_KEYWORD) for one in of_recorder
    ]
    assert fields(kind) == [*(one.name for one in of_recorder), "timestamp"]


@pytest.mark.parametrize("event", EXAMPLES, ids=kind_of)
def test_an_event_can_be_made_by_position_and_by_keyword(event: MetricEvent) -> None:
    """Both ways give equal events."""
    kind: Any = type(event)
    assert kind(**{name: getattr(event, name) for name in fields(kind)}) == event
    *positional, stamp = values(event)
    assert kind(*positional, timestamp=stamp) == event


@pytest.mark.parametrize("event", EXAMPLES, ids=kind_of)
def test_the_timestamp_is_not_a_positional_field(event: MetricEvent) -> None:
    """An extra positional value is an error, not a time."""
    kind: Any = type(event)
    with pytest.raises(TypeError, match="positional"):
        kind(*values(event))


@pytest.mark.parametrize("event", EXAMPLES, ids=kind_of)
def test_an_event_is_frozen(event: MetricEvent) -> None:
    """No field can be set or added."""
    for name in fields(type(event)):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(event, name, None)
    with pytest.raises(AttributeError):
        object.__setattr__(event, "other", 1)


def test_every_event_class_is_a_metric_event() -> None:
    """Thus `isinstance` shows what can be recorded, and no event is an instance of another's class."""
    for event in EXAMPLES:
        assert isinstance(event, MetricEvent)
        assert type(event).__bases__ == (MetricEvent,)


# -- timestamps


def test_an_events_timestamp_is_the_wall_clock_when_it_is_made() -> None:
    """The timestamp is in nanoseconds since 1970."""
    before = time.time_ns()
    event = CacheMetric("redis", "hit")
    after = time.time_ns()
    assert before <= event.timestamp <= after


def test_an_explicit_timestamp_is_kept() -> None:
    """Zero is kept, too."""
    assert CacheMetric("redis", "hit", timestamp=0).timestamp == 0
    assert Counter("a", {}, 1, timestamp=123).timestamp == 123


# -- durations


@pytest.mark.parametrize(
    ("given_duration", "seconds"),
    [(0.25, 0.25), (3, 3.0), (timedelta(milliseconds=1500), 1.5), (timedelta(), 0.0), (0, 0.0)],
)
def test_durations_become_float_seconds(given_duration: Any, seconds: float) -> None:
    """Durations are converted from any type."""
    durations = [
        HttpRequest("GET", "/", 200, given_duration).duration,
        BackendRequest("openai", "gpt-4", True, given_duration).latency,
        HealthCheck("backend-1", True, given_duration).duration,
    ]
    assert durations == [seconds] * 3
    assert [type(duration) for duration in durations] == [float] * 3


def test_a_bad_value_raises_nothing_when_the_event_is_made() -> None:
    """The application creates the event; validation comes later, and counts it."""
    for bad in ("slow", None, 10**400):
        duration: Any = bad
        assert HttpRequest("GET", "/", 200, duration).duration is duration
    assert HealthCheck("backend-1", True, True).duration is True


# -- labels


@pytest.mark.parametrize("kind", NAMED, ids=kind_of)
def test_labels_compare_equal_to_a_dict(kind: type[Counter]) -> None:
    """Labels compare equal whatever mapping they came as."""
    expected: dict[str, Any] = {"region": "eu", "shard": 3}
    other: dict[str, Any] = {"shard": 3}
    for mapping in (expected, MappingProxyType(expected), ChainMap(other, {"region": "eu"})):
        assert kind("a", mapping, 1).labels == expected


@pytest.mark.parametrize("kind", NAMED, ids=kind_of)
def test_labels_are_captured_by_value(kind: type[Counter]) -> None:
    """Later changes to the caller's dict have no effect."""
    labels = {"region": "eu", "shard": "3"}
    event = kind("a", labels, 1)
    labels["region"] = "us"
    del labels["shard"]
    assert event.labels == {"region": "eu", "shard": "3"}


class Color(enum.Enum):
    """An enum used as a label value."""

    RED = 1


def test_label_values_are_kept_as_given() -> None:
    """Sinks convert them to text, not events; a value that can't change stays as it is."""
    values: dict[str, Any] = {
        "flag": True,
        "none": None,
        "int": 3,
        "float": 0.5,
        "enum": Color.RED,
        "status": HTTPStatus.OK,
        "decimal": Decimal("1.50"),
        "date": date(2026, 1, 2),
        "pair": (1, "a"),
        "bytes": b"x",
    }
    event = Counter("a", values, 1)
    assert event.labels == values
    assert {name: type(value) for name, value in event.labels.items()} == {
        name: type(value) for name, value in values.items()
    }
    request = BackendRequest("openai", "gpt-4", True, 1.0)
    assert request.success is True
    assert request.error_type is None


def test_labels_that_cannot_be_read_raise_nothing_when_the_event_is_made() -> None:
    """The event counts as invalid later."""
    Counter("a", RaisingMapping(), 1)
    nothing: Any = None
    assert Counter("a", nothing, 1).labels is None


@pytest.mark.parametrize("kind", NAMED, ids=kind_of)
def test_a_label_value_that_can_change_is_kept_as_its_text(kind: type[Counter]) -> None:
    """The text is that of the moment when the event is created."""
    changing, entries, pair = Changing(), [1], ({"a"}, 1)
    labels: dict[Any, Any] = {"object": changing, "list": entries, "tuple": pair, changing: "name", "text": "x"}
    event = kind("a", labels, 1)
    changing.now = "late"
    entries.append(2)
    pair[0].clear()
    assert event.labels == {"object": "early", "list": "[1]", "tuple": "({'a'}, 1)", "early": "name", "text": "x"}


CHANGES: dict[str, Callable[[Any], object]] = {
    "set": lambda labels: labels.__setitem__("region", "us"),
    "add": lambda labels: labels.__setitem__("new", "us"),
    "delete": lambda labels: labels.__delitem__("region"),
    "pop": lambda labels: labels.pop("region"),
    "popitem": lambda labels: labels.popitem(),
    "clear": lambda labels: labels.clear(),
    "setdefault": lambda labels: labels.setdefault("new", "us"),
    "update": lambda labels: labels.update(region="us"),
    "or": lambda labels: labels.__ior__({"region": "us"}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
@pytest.mark.parametrize("kind", NAMED, ids=kind_of)
def test_labels_are_read_only(kind: type[Counter], change: Callable[[Any], object]) -> None:
    """Every way to change a dict is refused, also after pickling and copying."""
    event = kind("a", {"region": "eu"}, 1)
    for one in (event, pickle.loads(pickle.dumps(event)), copy.copy(event), copy.deepcopy(event)):
        with pytest.raises(TypeError, match="read-only"):
            change(one.labels)
        assert one.labels == {"region": "eu"}


@pytest.mark.parametrize("kind", NAMED, ids=kind_of)
def test_read_only_labels_work_wherever_a_dict_does(kind: type[Counter]) -> None:
    """They print and serialize as a dict, can be merged, and can be copied into a dict that can change."""
    labels = kind("a", {"region": "eu"}, 1).labels
    assert (repr(labels), json.dumps(labels)) == ("{'region': 'eu'}", '{"region": "eu"}')
    assert {**labels, "a": "b"} == {"region": "eu", "a": "b"}
    for changeable in (dict(labels), {**labels}):
        changeable["a"] = "b"
    assert labels == {"region": "eu"}
    assert kind("a", labels, 1).labels == {"region": "eu"}


# -- printing, comparing, hashing, pickling


def test_events_print_as_the_call_that_makes_them() -> None:
    """Every field is shown, the timestamp last."""
    assert [repr(event) for event in EXAMPLES] == [
        "HttpRequest(method='GET', path='/api/data', status_code=200, duration=0.15, timestamp=1)",
        (
            "BackendRequest(provider='openai', model='gpt-4', success=False, latency=0.85, error_type='timeout',"
            " timestamp=2)"
        ),
        "HealthCheck(backend='backend-1', healthy=True, duration=0.05, timestamp=3)",
        "CacheMetric(cache_type='redis', operation='hit', timestamp=4)",
        "Counter(name='requests', labels={'region': 'us-east'}, value=42.0, timestamp=5)",
        "Histogram(name='response_time', labels={'region': 'us-east'}, value=123.4, timestamp=6)",
        "Gauge(name='temperature', labels={}, value=-3, timestamp=7)",
        (
            "HistogramPoint(name='size', labels={'region': 'us-east'}, count=3, sum=7.5, bounds=(1.0, 5.0),"
            " counts=(1, 2, 0), timestamp=8)"
        ),
    ]


@given(event=EVENTS)
def test_an_events_repr_makes_the_event_again(event: MetricEvent) -> None:
    """The result of evaluating the repr is equal, for plain label values."""
    names = {kind.__name__: kind for kind, _ in RECORDERS}
    assert eval(repr(event), names) == event


@given(one=EVENTS, other=EVENTS)
def test_events_are_equal_if_and_only_if_class_and_fields_are(one: MetricEvent, other: MetricEvent) -> None:
    """The timestamp is a field like the others, and equal events have equal hashes."""
    same = type(one) is type(other) and values(one) == values(other)
    assert (one == other) is same
    assert (one != other) is not same
    if same:
        assert hash(one) == hash(other)


@pytest.mark.parametrize("event", EXAMPLES, ids=kind_of)
def test_a_difference_in_any_one_field_makes_events_unequal(event: MetricEvent) -> None:
    """Each field is tried."""
    assert changed(event) == event
    assert hash(changed(event)) == hash(event)
    for name in fields(type(event)):
        assert changed(event, **{name: "something else"}) != event


def test_events_of_two_classes_are_never_equal() -> None:
    """Classes count, whatever the values are."""
    alike: list[MetricEvent] = [kind("name", {"a": "b"}, 1, timestamp=1) for kind in NAMED]
    for one, other in combinations(alike, 2):
        assert one != other
    as_tuple: Any = ("redis", "hit", 1)
    assert CacheMetric("redis", "hit", timestamp=1) != as_tuple


def test_an_event_hashes_although_its_labels_do_not() -> None:
    """The hash of a named event uses its other fields."""
    event = Counter("a", {"list": [1]}, 1, timestamp=1)
    assert len({event, Counter("a", {"list": [1]}, 1, timestamp=1)}) == 1
    assert len({event, Counter("a", {"list": [2]}, 1, timestamp=1)}) == 2


def test_an_event_with_an_unhashable_label_value_does_not_hash() -> None:
    """A tuple of its values wouldn't hash either."""
    unhashable: Any = ["redis"]
    with pytest.raises(TypeError, match="unhashable"):
        hash(CacheMetric(unhashable, "hit"))


@given(event=EVENTS, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_an_event_survives_pickling(event: MetricEvent, protocol: int) -> None:
    """By every protocol, the result is equal, of the same class, and has its timestamp."""
    again = pickle.loads(pickle.dumps(event, protocol))
    assert type(again) is type(event)
    assert again == event
    assert again.timestamp == event.timestamp


@pytest.mark.parametrize("event", EXAMPLES, ids=kind_of)
def test_an_event_survives_copying(event: MetricEvent) -> None:
    """The copies are shallow or deep, and a point is tried as well."""
    assert copy.copy(event) == event
    assert copy.deepcopy(event) == event
    assert pickle.loads(pickle.dumps(event)) == event


# -- the declarations of the documentation's table


def declared(kind: type[MetricEvent]) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Return a class's declaration: kind, name and unit of its instruments, and its labels."""
    schema = kind.__metric_schema__
    assert schema is not None
    measures = [(measure.kind.value, measure.name, measure.unit) for measure in schema.measures]
    return measures, [label.name for label in schema.labels]


def test_an_http_request_is_declared_by_opentelemetrys_conventions() -> None:
    """The event has one histogram."""
    assert declared(HttpRequest) == (
        [("histogram", "http.server.request.duration", "s")],
        ["http.request.method", "http.route", "http.response.status_code"],
    )


def test_a_backend_request_is_a_histogram_by_provider_model_success_and_error() -> None:
    """Its bounds suit slow responses."""
    assert declared(BackendRequest) == (
        [("histogram", "backend.request.duration", "s")],
        ["provider", "model", "success", "error.type"],
    )
    schema = BackendRequest.__metric_schema__
    assert schema is not None
    assert schema.measures[0].default_bounds == (
        *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
    )


def test_a_health_check_is_a_gauge_and_a_histogram() -> None:
    """Both instruments have the backend as their label."""
    measures, labels = declared(HealthCheck)
    assert measures[0][:2] == ("gauge", "backend.health")
    assert measures[1:] == [("histogram", "backend.health_check.duration", "s")]
    assert labels == ["backend"]


def test_a_cache_metric_is_counted() -> None:
    """Each event counts as one, and no field is measured."""
    measures, labels = declared(CacheMetric)
    assert [measure[:2] for measure in measures] == [("counter", "cache.operations")]
    assert labels == ["cache.type", "cache.operation"]


@pytest.mark.parametrize("kind", [HttpRequest, HealthCheck], ids=kind_of)
def test_a_histogram_in_seconds_has_opentelemetrys_bounds(kind: type[MetricEvent]) -> None:
    """The bounds are OpenTelemetry's recommendation for HTTP."""
    schema = kind.__metric_schema__
    assert schema is not None
    assert schema.measures[-1].default_bounds == (
        *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10),
    )


def test_any_other_histogram_has_the_sdks_bounds() -> None:
    """The bounds are OpenTelemetry's default."""
    schema = Histogram.__metric_schema__
    assert schema is not None
    assert schema.measures[0].default_bounds == (
        *(0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000),
    )
