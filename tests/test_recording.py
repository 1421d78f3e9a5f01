"""The recorders: plain calls that never wait and never raise for what happens at run time; `arecord`, which waits."""

import copy
import inspect
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from http import HTTPStatus
from operator import setitem
from types import MappingProxyType
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.bad_values import (
    EVIL,
    NOT_COUNTS,
    NOT_DURATIONS,
    NOT_LABELS,
    NOT_NAMES,
    NOT_VALUES,
    OTHER_NUMBERS,
    Changing,
    EvilClass,
    Unprintable,
    shown,
)
from tests.fakes import GatedSink, TimedSink, numbered, numbers
from tests.helpers import RECORDERS, Policy, balanced, interrupted_at
from trio_batchmetrics import (
    BackendRequest,
    BatchMetricsCollector,
    BatchMetricsConfig,
    CacheMetric,
    Counter,
    Gauge,
    HealthCheck,
    Histogram,
    HistogramPoint,
    HttpRequest,
    MetricEvent,
    Recorder,
    ThreadRecorder,
    collector,
)
from trio_batchmetrics.abc import EventSink, Payload, Receipt, fields_of, labels_of
from trio_batchmetrics.sinks import PrometheusSink
from trio_batchmetrics.testing import RecordingSink

POLICIES: list[Policy] = ["drop_newest", "drop_oldest"]

EXAMPLES: list[tuple[str, MetricEvent]] = [
    ("record_http_request", HttpRequest("GET", "/api/data", 200, 0.15, timestamp=0)),
    ("record_backend_request", BackendRequest("openai", "gpt-4", False, 0.85, "timeout", timestamp=0)),
    ("record_health_check", HealthCheck("backend-1", True, 0.05, timestamp=0)),
    ("record_cache_metric", CacheMetric("redis", "hit", timestamp=0)),
    ("record_counter", Counter("requests", {"region": "us-east"}, 42.0, timestamp=0)),
    ("record_histogram", Histogram("response_time", {"region": "us-east"}, 123.4, timestamp=0)),
    ("record_gauge", Gauge("temperature", {}, -3, timestamp=0)),
]
NAMES = [name for name, _ in EXAMPLES]
PARAMETERS = {
    "record": ["event"],
    "record_http_request": ["method", "path", "status_code", "duration"],
    "record_backend_request": ["provider", "model", "success", "latency", "error_type"],
    "record_health_check": ["backend", "healthy", "duration"],
    "record_cache_metric": ["cache_type", "operation"],
    "record_counter": ["name", "labels", "value"],
    "record_histogram": ["name", "labels", "value"],
    "record_gauge": ["name", "labels", "value"],
}


def call(recorder: Recorder, name: str, /, *args: Any, **kwargs: Any) -> None:
    """Call a recorder by name, with arguments that no type checker would let through."""
    getattr(recorder, name)(*args, **kwargs)


def arguments(event: MetricEvent) -> dict[str, Any]:
    """Return an event's fields, the timestamp apart."""
    schema = event.__metric_schema__
    assert schema is not None
    return {field: getattr(event, field) for field in schema.fields}


def timeless(events: list[MetricEvent]) -> list[tuple[type, dict[str, Any]]]:
    """Return what events say, without their timestamps."""
    return [(type(event), arguments(event)) for event in events]


# -- the documentation's example


def record_the_example(metrics: BatchMetricsCollector) -> None:
    """Record the six events of the documentation's example, as written there."""
    metrics.record_http_request("GET", "/api/data", 200, 0.150)
    metrics.record_backend_request("openai", "gpt-4", True, 0.850, None)
    metrics.record_health_check("backend-1", True, 0.050)
    metrics.record_cache_metric("redis", "hit")
    metrics.record_counter("custom_counter", {"region": "us-east"}, 42.0)
    metrics.record_histogram("response_time", {"region": "us-east"}, 123.4)


async def test_the_documentations_example_runs_as_written(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Six events are pending when the stats are printed, and arrive when the block ends."""
    sink = TimedSink()
    async with collector(
        BatchMetricsConfig(batch_size=200, flush_interval=10, buffer_size=5000), sinks=[sink]
    ) as metrics:
        record_the_example(metrics)
        print(metrics.stats())  # noqa: T201 - as in the example
    assert capsys.readouterr().out.startswith("total=6 processed=0 dropped=0 failed=0 spooled=0 pending=6 batches=0")
    assert sink.arrivals == [(0.0, 6)]
    assert timeless(sink.events) == timeless(
        [
            HttpRequest("GET", "/api/data", 200, 0.150),
            BackendRequest("openai", "gpt-4", True, 0.850, None),
            HealthCheck("backend-1", True, 0.050),
            CacheMetric("redis", "hit"),
            Counter("custom_counter", {"region": "us-east"}, 42.0),
            Histogram("response_time", {"region": "us-east"}, 123.4),
        ]
    )
    assert balanced(metrics.stats()).processed_events == 6


async def test_six_events_arrive_at_the_interval_and_full_batches_at_once(autojump_clock: MockClock) -> None:
    """With 200 a batch and 10 s: six at 10.0 s in one batch; of 450 more, two full batches without time passing."""
    sink = TimedSink()
    async with collector(
        BatchMetricsConfig(batch_size=200, flush_interval=10, buffer_size=5000), sinks=[sink]
    ) as metrics:
        record_the_example(metrics)
        await trio.sleep(9.999)
        assert sink.arrivals == []
        await trio.sleep(20)
        assert sink.arrivals == [(10.0, 6)]
        assert metrics.stats().batch_count == 1
        start = trio.current_time()
        for number in range(450):
            metrics.record(numbered(number))
        with trio.testing.assert_checkpoints():
            await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() == start
        assert sink.arrivals[1:] == [(start, 200), (start, 200)]
        assert metrics.stats().pending_events == 50
        await trio.sleep(20)
        assert sink.arrivals[3:] == [(start + 10, 50)]
    assert numbers(sink.events[6:]) == list(range(450))
    assert balanced(metrics.stats()).batch_count == 4


# -- parameters


@pytest.mark.parametrize("kind", [BatchMetricsCollector, ThreadRecorder])
def test_every_recorder_has_the_documented_parameters(kind: type[Recorder]) -> None:
    """In their order, positional or keyword; there is no recorder that this list lacks."""
    assert {name for name in dir(kind) if name.startswith("record")} == set(PARAMETERS)
    for name, parameters in PARAMETERS.items():
        signature = inspect.signature(getattr(kind, name))
        assert list(signature.parameters) == ["self", *parameters]
        kinds = {parameter.kind for parameter in signature.parameters.values()}
        assert kinds == {inspect.Parameter.POSITIONAL_OR_KEYWORD}
        defaults = {parameter.name: parameter.default for parameter in signature.parameters.values()}
        assert {key for key, value in defaults.items() if value is not inspect.Parameter.empty} == (
            {"error_type"} if name == "record_backend_request" else set()
        )
        assert defaults.get("error_type") is None


@pytest.mark.parametrize(("name", "event"), EXAMPLES, ids=NAMES)
@pytest.mark.parametrize("elsewhere", [False, True], ids=["recorder", "from_thread"])
async def test_each_recorder_takes_positions_and_keywords(
    name: str, event: MetricEvent, elsewhere: bool, autojump_clock: MockClock
) -> None:
    """And hands on the event that its class would make."""
    sink = RecordingSink()
    values = arguments(event)
    async with collector(sinks=[sink]) as metrics:
        recorder: Recorder = metrics.from_thread() if elsewhere else metrics
        call(recorder, name, *values.values())
        call(recorder, name, **values)
        call(recorder, name, **dict(reversed(values.items())))
        recorder.record(event)
        recorder.record(event=event)
    assert timeless(sink.events) == timeless([event] * 5)
    assert sink.events[3] is event
    assert balanced(metrics.stats()).processed_events == 5


async def test_an_error_type_need_not_be_given(autojump_clock: MockClock) -> None:
    """Nothing went wrong, then."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        metrics.record_backend_request("openai", "gpt-4", True, 0.85)
        metrics.record_backend_request("openai", "gpt-4", False, 0.85, error_type="timeout")
    assert [event.error_type for event in sink.events if isinstance(event, BackendRequest)] == [None, "timeout"]


async def test_a_call_that_no_recorder_has_is_the_programmers_mistake(autojump_clock: MockClock) -> None:
    """It raises a TypeError, and records nothing."""
    async with collector(sinks=[]) as metrics:
        with pytest.raises(TypeError, match="duration"):
            call(metrics, "record_http_request", "GET", "/", 200)
        with pytest.raises(TypeError, match="unexpected keyword"):
            call(metrics, "record_cache_metric", "redis", "hit", size=3)
        assert metrics.stats().total_events == 0


@pytest.mark.parametrize(
    ("duration", "seconds"), [(timedelta(milliseconds=1500), 1.5), (2, 2.0), (0.25, 0.25), (0, 0.0), (timedelta(), 0.0)]
)
async def test_durations_may_be_numbers_or_timedeltas(duration: Any, seconds: float, autojump_clock: MockClock) -> None:
    """Sinks get float seconds."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        metrics.record_http_request("GET", "/", 200, duration)
        metrics.record_backend_request("openai", "gpt-4", True, duration)
        metrics.record_health_check("backend-1", True, duration)
    one, two, three = sink.events
    assert isinstance(one, HttpRequest)
    assert isinstance(two, BackendRequest)
    assert isinstance(three, HealthCheck)
    kept = [one.duration, two.latency, three.duration]
    assert kept == [seconds] * 3
    assert [type(value) for value in kept] == [float] * 3


async def test_recorders_are_no_checkpoints(autojump_clock: MockClock) -> None:
    """Not when the buffer is full, the value bad, or the block left."""
    async with collector(BatchMetricsConfig(buffer_size=3), sinks=[]) as metrics:
        with trio.testing.assert_no_checkpoints():
            for name, event in EXAMPLES:
                call(metrics, name, **arguments(event))
                metrics.record(event)
                call(metrics.from_thread(), name, **arguments(event))
    with trio.testing.assert_no_checkpoints():
        metrics.record_cache_metric("redis", "hit")
    assert balanced(metrics.stats()).dropped == {"buffer_full": 18, "closed": 1}


@pytest.mark.parametrize("name", RECORDERS)
async def test_a_ctrl_c_in_the_middle_of_a_record_waits_for_its_end(name: str, autojump_clock: MockClock) -> None:
    """At each place of it: no half of an event."""
    protected: list[bool] = []
    function = "record" if name == "make_recorder" else name

    def look() -> None:
        if function in (frame.name for frame in traceback.extract_stack()):
            protected.append(trio.lowlevel.currently_ki_protected())

    async with collector(BatchMetricsConfig(batch_size=1), sinks=[]) as metrics:
        metrics.counter("bound")
        metrics.gauge("bound gauge")
        metrics.histogram("bound histogram")
        point, places = 0, 1
        while point < places:
            with interrupted_at(point, look) as passed:
                RECORDERS[name](metrics)
            places = passed[0]
            point += 1
    assert protected
    assert all(protected)


# -- what is captured at the call


@pytest.mark.parametrize("name", ["record_counter", "record_histogram", "record_gauge"])
@pytest.mark.parametrize("elsewhere", [False, True], ids=["recorder", "from_thread"])
async def test_labels_are_captured_by_value_at_the_call(name: str, elsewhere: bool, autojump_clock: MockClock) -> None:
    """One dict may be used again and again."""
    sink = RecordingSink()
    labels: dict[str, Any] = {}
    async with collector(sinks=[sink]) as metrics:
        recorder: Recorder = metrics.from_thread() if elsewhere else metrics
        for number in range(3):
            labels["n"] = number
            call(recorder, name, "x", labels, 1)
        recorder.record(Counter("y", labels, 1))
        labels.clear()
        view = MappingProxyType({"n": 4})
        call(recorder, name, "x", view, 1)
    found = [event.labels for event in sink.events if isinstance(event, Counter | Histogram | Gauge)]
    assert found == [{"n": 0}, {"n": 1}, {"n": 2}, {"n": 2}, {"n": 4}]


class Recording(Mapping[str, str]):
    """Labels that record when they are read, as a mapping with a cache behind it might."""

    def __init__(self, metrics: Recorder, number: int) -> None:
        """Record so many events at each look."""
        self._metrics = metrics
        self._number = number

    def __getitem__(self, key: str) -> str:
        """Record, and give a value."""
        for number in range(self._number):
            self._metrics.record(numbered(number))
        return "value"

    def __iter__(self) -> Iterator[str]:
        """Record, and name a label."""
        self._metrics.record(numbered(99))
        return iter(["label"])

    def __len__(self) -> int:
        """Say how many labels there are."""
        return 1


async def test_a_labels_mapping_may_record_in_the_middle_of_a_record(autojump_clock: MockClock) -> None:
    """Nothing is lost, nothing raises, and the outer event comes after what it caused."""
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(batch_size=4), sinks=[sink]) as metrics:
        metrics.record_counter("outer", Recording(metrics, 3), 1)
        metrics.record_gauge("outer", Recording(metrics, 3), 1)
    assert numbers(sink.events) == [99, 0, 1, 2, 99, 0, 1, 2]
    assert [type(event) for event in sink.events[4::5]] == [Counter, Gauge]
    assert balanced(metrics.stats()).processed_events == 10


async def test_reentry_does_not_overfill_the_buffer(autojump_clock: MockClock) -> None:
    """What is one too many is counted, whichever it is."""
    for policy in POLICIES:
        sink = RecordingSink()
        config = BatchMetricsConfig(batch_size=3, buffer_size=5, on_full=policy)
        async with collector(config, sinks=[sink]) as metrics:
            metrics.record_counter("outer", Recording(metrics, 7), 1)
            assert balanced(metrics.stats()).pending_events == 5
            assert metrics.stats().dropped == {"buffer_full": 4}
        assert len(sink.events) == 5
        assert numbers(sink.events) == ([99, 0, 1, 2, 3] if policy == "drop_newest" else [3, 4, 5, 6])


# -- timestamps


async def test_the_time_is_taken_at_the_call(autojump_clock: MockClock) -> None:
    """By the wall clock, in ns; not when the batch is made up."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        stamps = [time.time_ns()]
        for name, event in EXAMPLES:
            call(metrics, name, **arguments(event))
            stamps.append(time.time_ns())
            call(metrics.from_thread(), name, **arguments(event))
            stamps.append(time.time_ns())
        await trio.sleep(100)
    assert len(sink.events) == 2 * len(EXAMPLES)
    for event, before, after in zip(sink.events, stamps, stamps[1:], strict=False):
        assert type(event.timestamp) is int
        assert before <= event.timestamp <= after


async def test_an_events_own_timestamp_is_kept(autojump_clock: MockClock) -> None:
    """However it is recorded; recording order is the order of the batch all the same."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        metrics.record(CacheMetric("redis", "hit", timestamp=5))
        metrics.from_thread().record(CacheMetric("redis", "hit", timestamp=0))
        await metrics.arecord(CacheMetric("redis", "hit", timestamp=3))
    assert [event.timestamp for event in sink.events] == [5, 0, 3]


# -- labels by value


CAPTURING: dict[str, Callable[[BatchMetricsCollector, Any], Any]] = {
    "a request's method": lambda metrics, value: metrics.record_http_request(value, "/", 200, 0.1),
    "a request's path": lambda metrics, value: metrics.record_http_request("GET", value, 200, 0.1),
    "a request's status": lambda metrics, value: metrics.record_http_request("GET", "/", value, 0.1),
    "a provider": lambda metrics, value: metrics.record_backend_request(value, "m", True, 0.1, None),
    "a success": lambda metrics, value: metrics.record_backend_request("p", "m", value, 0.1, None),
    "an error": lambda metrics, value: metrics.record_backend_request("p", "m", True, 0.1, value),
    "a checked backend": lambda metrics, value: metrics.record_health_check(value, True, 0.1),
    "a cache": lambda metrics, value: metrics.record_cache_metric(value, "hit"),
    "a counter's label": lambda metrics, value: metrics.record_counter("c", {"a": "b", "label": value}, 1),
    "a counter's label's name": lambda metrics, value: metrics.record_counter("c", {value: "label"}, 1),
    "a histogram's label": lambda metrics, value: metrics.record_histogram("h", {"label": value}, 1),
    "a gauge's label": lambda metrics, value: metrics.record_gauge("g", {"label": value}, 1),
    "in a thread's request": lambda metrics, value: metrics.from_thread().record_http_request("GET", value, 200, 0.1),
    "in a thread's call": lambda metrics, value: metrics.from_thread().record_backend_request("p", "m", value, 0.1),
    "in a thread's check": lambda metrics, value: metrics.from_thread().record_health_check(value, True, 0.1),
    "in a thread's cache": lambda metrics, value: metrics.from_thread().record_cache_metric(value, "hit"),
    "in a thread's counter": lambda metrics, value: metrics.from_thread().record_counter("c", {"label": value}, 1),
    "by a made recorder": lambda metrics, value: metrics.make_recorder(CacheMetric)(value, "hit"),
    "in an event": lambda metrics, value: metrics.record(CacheMetric(value, "hit")),
    "in a named event": lambda metrics, value: metrics.record(Counter("c", {"label": value}, 1)),
    "in a thread's event": lambda metrics, value: metrics.from_thread().record(CacheMetric(value, "hit")),
    "in an event that waits": lambda metrics, value: metrics.arecord(CacheMetric(value, "hit")),
}


@pytest.mark.parametrize("how", CAPTURING)
@pytest.mark.parametrize("value", [Changing(), {"now": "early"}, ["early"]], ids=["object", "dict", "list"])
async def test_a_label_is_captured_by_value_at_the_call(how: str, value: Any, autojump_clock: MockClock) -> None:
    """What becomes of an object afterwards does not matter; its text as of the call is what sinks get."""
    value = copy.copy(value)
    early, sink = str(value), RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        try:
            called = CAPTURING[how](metrics, value)
        except TypeError:
            assert "name" in how, "only what has a hash can be the name of a label"
            return
        if inspect.isawaitable(called):
            await called
        if isinstance(value, Changing):
            value.now = "late"
        else:
            value.clear()
    [event] = sink.events
    labels = labels_of(event)
    assert early in (*labels.values(), *labels)
    assert balanced(metrics.stats()).processed_events == 1


@pytest.mark.parametrize("how", CAPTURING)
async def test_a_label_that_raises_makes_its_event_invalid(how: str, autojump_clock: MockClock) -> None:
    """The call does not raise, and the events around it arrive."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        metrics.record(numbered(1))
        called = CAPTURING[how](metrics, Unprintable())
        if inspect.isawaitable(called):
            await called
        metrics.record(numbered(2))
    assert numbers(sink.events) == [1, 2]
    assert balanced(metrics.stats()).dropped == {"invalid": 1}


@pytest.mark.parametrize(
    "value", [True, 3, 0.5, "x", None, HTTPStatus.OK, Decimal("1.5"), date(2026, 1, 2), b"x", (1, "a")], ids=str
)
@pytest.mark.parametrize("how", [how for how in CAPTURING if how != "a counter's label's name"])
async def test_a_label_that_cannot_change_is_kept_as_given(how: str, value: Any, autojump_clock: MockClock) -> None:
    """The very object: an event sink may tell an int from a str."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        called = CAPTURING[how](metrics, value)
        if inspect.isawaitable(called):
            await called
    [event] = sink.events
    given = getattr(event, "labels", None) or arguments(event)
    assert any(one is value for one in given.values())


class Vandal(EventSink[None]):
    """Changes whatever it can of what it is handed."""

    def __init__(self) -> None:
        """Note what could not be changed."""
        super().__init__(name="vandal")
        self.refusals = self.payloads = 0

    def refused(self, change: Callable[[], object]) -> None:
        """Try a change, and count it if it is refused."""
        try:
            change()
        except (TypeError, AttributeError):
            self.refusals += 1

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Try to change each event, the batch, and what the collector told."""
        self.payloads += 1
        events: Any = payload.events
        for event in events:
            self.refused(partial(event.labels.pop, "region"))
            self.refused(partial(setattr, event, "value", 0))
        self.refused(lambda: events.__setitem__(0, None))
        self.refused(lambda: setattr(payload, "parts", ()))
        told: Any = self.context
        for mapping in (told.static_labels, told.bounds, told.declared):
            self.refused(partial(setitem, mapping, "vandal", "was here"))
        return None


async def test_nothing_that_a_sink_does_to_what_it_is_handed_affects_another(autojump_clock: MockClock) -> None:
    """Labels, events, batches, and what all sinks are told of the collector."""
    vandal, later = Vandal(), RecordingSink()
    config = BatchMetricsConfig(static_labels={"a": "b"}, bounds={"h": [1]})
    async with collector(config, sinks=[vandal, later]) as metrics:
        metrics.counter("c", labels={"region": "eu"}).add(2)
        metrics.record_counter("c", {"region": "eu"}, 1)
        metrics.record(Counter("c", {"region": "eu"}, 1))
    assert vandal.refusals == 3 * 2 + vandal.payloads * 5
    counters = [event for event in later.events if isinstance(event, Counter)]
    assert [(event.labels, event.value) for event in counters] == [({"region": "eu"}, value) for value in (1, 1, 2)]
    assert (later.context.static_labels, later.context.bounds, {*later.context.declared}) == (
        {"a": "b"},
        {"h": (1.0,)},
        {"c"},
    )


# -- numbers of other types


@pytest.mark.parametrize(("value", "plain"), OTHER_NUMBERS, ids=shown)
async def test_numbers_of_other_types_are_recorded_as_what_they_are(
    value: Any, plain: float, autojump_clock: MockClock
) -> None:
    """By recorders, in events and by bound instruments; for what sinks write, and for series."""
    sink, prometheus = RecordingSink(), PrometheusSink()
    async with collector(sinks=[sink, prometheus]) as metrics:
        metrics.record_counter("c", {}, value)
        metrics.record(Counter("c", {}, value))
        metrics.counter("bound").add(value)
        metrics.gauge("bound gauge").set(value)
        metrics.histogram("bound histogram").observe(value)
        metrics.record_health_check("b", value, value)
        await metrics.flush()
        page = prometheus.render()[0].decode()
    assert balanced(metrics.stats()).processed_events == 6
    measured = [fields_of(event) for event in sink.events]
    number = float(plain)
    assert measured[:3] == [{"value": number}, {"value": number}, {"healthy": number, "duration": number}]
    assert [{**one}.get("value", one.get("sum")) for one in measured[3:]] == [number] * 3
    assert f"c_total {2 * number}" in page
    assert f"bound_gauge {number}" in page


# -- what is invalid


BAD: dict[str, tuple[str, tuple[Any, ...], int, list[Any]]] = {
    "duration of a request": ("record_http_request", ("GET", "/", 200, 0.5), 3, NOT_DURATIONS),
    "latency": ("record_backend_request", ("openai", "gpt-4", True, 0.5, None), 3, NOT_DURATIONS),
    "duration of a check": ("record_health_check", ("backend-1", True, 0.5), 2, NOT_DURATIONS),
    "health": (
        "record_health_check",
        ("backend-1", True, 0.5),
        1,
        [value for value in NOT_VALUES if not isinstance(value, bool)],
    ),
    "counter": ("record_counter", ("name", {}, 1), 2, NOT_COUNTS),
    "histogram": ("record_histogram", ("name", {}, 1), 2, NOT_VALUES),
    "gauge": ("record_gauge", ("name", {}, 1), 2, NOT_VALUES),
    "name of a counter": ("record_counter", ("name", {}, 1), 0, NOT_NAMES),
    "name of a histogram": ("record_histogram", ("name", {}, 1), 0, NOT_NAMES),
    "name of a gauge": ("record_gauge", ("name", {}, 1), 0, NOT_NAMES),
    "labels of a counter": ("record_counter", ("name", {}, 1), 1, NOT_LABELS),
    "labels of a histogram": ("record_histogram", ("name", {}, 1), 1, NOT_LABELS),
    "labels of a gauge": ("record_gauge", ("name", {}, 1), 1, NOT_LABELS),
    "label of a cache": ("record_cache_metric", ("redis", "hit"), 1, [Unprintable()]),
    "label of a backend": ("record_backend_request", ("openai", "gpt-4", True, 0.5, None), 1, [Unprintable()]),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("elsewhere", [False, True], ids=["recorder", "from_thread"])
async def test_each_invalid_event_is_counted_and_nothing_else_is_lost(
    what: str, elsewhere: bool, autojump_clock: MockClock
) -> None:
    """Good ones before, between and behind the bad ones arrive, in order; the call raises nothing."""
    name, good, position, bad = BAD[what]
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        recorder: Recorder = metrics.from_thread() if elsewhere else metrics
        for number, value in enumerate(bad):
            recorder.record(numbered(number))
            call(recorder, name, *good[:position], value, *good[position + 1 :])
        call(recorder, name, *good)
        assert balanced(metrics.stats()).total_events == 2 * len(bad) + 1
        assert (await metrics.flush()).dropped == len(bad)
    assert numbers(sink.events[:-1]) == list(range(len(bad)))
    assert timeless(sink.events[-1:]) == [(type(sink.events[-1]), dict(zip(PARAMETERS[name], good, strict=True)))]
    stats = balanced(metrics.stats())
    assert stats.dropped == {"invalid": len(bad)}
    assert stats.processed_events == len(bad) + 1


# Deviation reported: the value's own exception takes the flush task with it, and the collector: everything is lost.
@pytest.mark.parametrize("make", EVIL, ids=["int", "float", "class"])
async def test_a_value_that_raises_when_it_is_looked_at_takes_nothing_with_it(
    make: Callable[[], Any], autojump_clock: MockClock
) -> None:
    """A bad event never takes the rest of its batch with it."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        metrics.record(numbered(1))
        metrics.record_health_check("backend-1", True, make())
        metrics.record_counter("name", {}, make())
        metrics.record(numbered(2))
        await metrics.flush()
        metrics.record(numbered(3))
    assert numbers(sink.events) == [1, 2, 3]
    assert balanced(metrics.stats()).dropped == {"invalid": 2}


# Deviation reported: `isinstance(labels, Mapping)` and `isinstance(event, MetricEvent)` let the object's own error out.
async def test_recorders_do_not_raise_for_objects_that_raise_when_they_are_asked_what_they_are(
    autojump_clock: MockClock,
) -> None:
    """As lazy proxies do that have lost what they stand for."""
    evil: Any = EvilClass()
    async with collector(sinks=[]) as metrics:
        metrics.record_counter("name", evil, 1)
        metrics.record(evil)
        await metrics.arecord(evil)
        metrics.from_thread().record(evil)
    assert balanced(metrics.stats()).dropped == {"invalid": 4}


# Deviation reported: a point with such a bound takes the collector with it.
async def test_a_points_bound_that_no_float_can_hold_takes_nothing_with_it(autojump_clock: MockClock) -> None:
    """Users may record a point themselves."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        metrics.record(numbered(1))
        metrics.record(HistogramPoint("size", {}, 1, 1.0, (10**400,), (1, 0)))
        metrics.record(numbered(2))
    assert numbers(sink.events) == [1, 2]
    assert balanced(metrics.stats()).dropped == {"invalid": 1}


@pytest.mark.parametrize("event", [None, "hit", 3, {"kind": "CacheMetric"}, object(), CacheMetric], ids=shown)
async def test_what_is_no_event_counts_as_invalid(event: Any, autojump_clock: MockClock) -> None:
    """By whichever way it is recorded; it does not wait for room either."""
    sink = GatedSink()
    async with collector(BatchMetricsConfig(buffer_size=1, shutdown_timeout=0), sinks=[sink]) as metrics:
        for number in range(3):
            metrics.record(numbered(number))
            await trio.testing.wait_all_tasks_blocked()
        metrics.record(event)
        metrics.from_thread().record(event)
        with trio.fail_after(1), trio.testing.assert_checkpoints():
            await metrics.arecord(event)
        assert balanced(metrics.stats()).dropped == {"invalid": 3}


async def test_an_event_of_an_undeclared_class_is_invalid(autojump_clock: MockClock) -> None:
    """It says nothing that a sink could take."""

    class Forgotten(MetricEvent):
        """Lacks the decorator."""

    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        metrics.record(Forgotten())
        metrics.record(numbered(1))
        metrics.record(MetricEvent())
    assert numbers(sink.events) == [1]
    assert balanced(metrics.stats()).dropped == {"invalid": 2}


async def test_a_batch_that_validation_empties_is_no_batch(autojump_clock: MockClock) -> None:
    """No sink sees it, and it does not count."""
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        for _ in range(4):
            metrics.record_counter("", {}, 1)
        await metrics.flush()
        stats = balanced(metrics.stats())
        assert (stats.batch_count, stats.last_flush_time, stats.time_since_last_flush) == (0, None, None)
        assert stats.dropped == {"invalid": 4}
    assert sink.attempts == 0


async def test_invalid_events_are_pending_until_their_batch_is_made_up(autojump_clock: MockClock) -> None:
    """And counted then at the latest."""
    async with collector(BatchMetricsConfig(flush_interval=10), sinks=[]) as metrics:
        metrics.record_counter("", {}, 1)
        metrics.record_counter("a", {}, -1)
        stats = balanced(metrics.stats())
        assert stats.pending_events + stats.dropped_events == 2
        await trio.sleep(10.5)
        assert metrics.stats().dropped == {"invalid": 2}
        assert metrics.stats().pending_events == 0


async def test_checking_a_long_batch_does_not_hold_the_run_loop(autojump_clock: MockClock) -> None:
    """Others run in between: a turn of the flush task takes about a millisecond."""
    rounds = 0

    async def count() -> None:
        nonlocal rounds
        while True:
            await trio.lowlevel.checkpoint()
            rounds += 1

    async with collector(BatchMetricsConfig(batch_size=10_000), sinks=[]) as metrics, trio.open_nursery() as nursery:
        for number in range(9_500):
            metrics.record(numbered(number))
        nursery.start_soon(count)
        assert (await metrics.flush()).processed == 9_500
        nursery.cancel_scope.cancel()
    assert rounds >= 1


# -- closed and disabled


async def test_after_the_block_every_call_counts_as_closed(autojump_clock: MockClock) -> None:
    """Nothing raises, nothing arrives; what isn't an event counts as closed too."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        thread = metrics.from_thread()
        metrics.record(numbered(1))
    nothing: Any = None
    for recorder in (metrics, thread, metrics.from_thread()):
        for name, event in EXAMPLES:
            call(recorder, name, **arguments(event))
        recorder.record(numbered(2))
        recorder.record(nothing)
    with trio.testing.assert_checkpoints():
        await metrics.arecord(numbered(3))
    assert numbers(sink.events) == [1]
    assert balanced(metrics.stats()).dropped == {"closed": 3 * 9 + 1}
    assert metrics.stats().processed_events == 1


def test_after_the_run_every_call_still_counts_as_closed() -> None:
    """Where there is no Trio any more."""

    async def main() -> BatchMetricsCollector:
        async with collector(sinks=[]) as metrics:
            metrics.record(numbered(1))
        return metrics

    metrics = trio.run(main)
    for name, event in EXAMPLES:
        call(metrics, name, **arguments(event))
        call(metrics.from_thread(), name, **arguments(event))
    assert balanced(metrics.stats()).dropped == {"closed": 2 * len(EXAMPLES)}


async def test_a_disabled_collector_accepts_everything_and_does_nothing(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is counted, logged or delivered, inside the block and after it; no task runs."""
    sink = RecordingSink()
    nothing: Any = None
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with collector(BatchMetricsConfig(enabled=False, buffer_size=1), sinks=[sink]) as metrics:
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        for recorder in (metrics, metrics.from_thread()):
            for name, event in EXAMPLES:
                call(recorder, name, **arguments(event))
            call(recorder, "record_counter", "", None, "x")
            recorder.record(numbered(1))
            recorder.record(nothing)
        for _ in range(2):
            await metrics.arecord(numbered(2))
        report = await metrics.flush()
        assert report.ok
        assert report.processed == 0
        await trio.sleep(100)
    metrics.record(numbered(3))
    await metrics.arecord(numbered(3))
    stats = balanced(metrics.stats())
    assert (stats.total_events, stats.batch_count, stats.last_flush_time) == (0, 0, None)
    assert sink.attempts == 0
    assert caplog.records == []


async def test_a_disabled_collector_is_left_without_waiting(autojump_clock: MockClock) -> None:
    """And lets the body's exception out as it is."""
    error = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        async with collector(BatchMetricsConfig(enabled=False), sinks=[GatedSink()]) as metrics:
            metrics.record(numbered(1))
            raise error
    assert caught.value is error
    assert trio.current_time() == 0


# -- a full buffer


@settings(deadline=None, max_examples=60)
@given(
    policy=st.sampled_from(POLICIES),
    batch_size=st.integers(1, 12),
    buffer_size=st.integers(1, 12),
    burst=st.integers(0, 40),
    elsewhere=st.booleans(),
)
def test_a_full_buffer_loses_no_more_than_it_must(
    policy: Policy, batch_size: int, buffer_size: int, burst: int, elsewhere: bool
) -> None:
    """Of a burst, exactly `buffer_size` stay: the first, or under `drop_oldest` the last. The rest is counted."""

    async def main() -> None:
        sink = RecordingSink()
        config = BatchMetricsConfig(batch_size=batch_size, buffer_size=buffer_size, on_full=policy)
        async with collector(config, sinks=[sink]) as metrics:
            for start in (0, 1000):
                recorder: Recorder = metrics.from_thread() if elsewhere else metrics
                for number in range(start, start + burst):
                    recorder.record(numbered(number))
                    balanced(metrics.stats())
                assert metrics.stats().pending_events == min(burst, buffer_size)
                report = await metrics.flush()
                assert report.processed == min(burst, buffer_size)
                kept = list(range(start, start + burst))
                kept = kept[:buffer_size] if policy == "drop_newest" else kept[-buffer_size:]
                assert numbers(sink.events) == kept
                sink.batches.clear()
        lost = max(0, burst - buffer_size)
        assert balanced(metrics.stats()).dropped == ({"buffer_full": 2 * lost} if lost else {})
        assert metrics.stats().failed_events == 0

    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_buffer_that_is_just_full_loses_nothing(policy: Policy, autojump_clock: MockClock) -> None:
    """Not one too early."""
    sink = TimedSink()
    config = BatchMetricsConfig(batch_size=3, buffer_size=10, on_full=policy)
    async with collector(config, sinks=[sink]) as metrics:
        for number in range(10):
            metrics.record(numbered(number))
        assert metrics.stats().dropped_events == 0
        await trio.testing.wait_all_tasks_blocked()
        assert sum(count for _, count in sink.arrivals) == 9
        for number in range(10, 19):  # one waits still
            metrics.record(numbered(number))
        assert metrics.stats().dropped_events == 0
        metrics.record(numbered(19))
        assert metrics.stats().dropped == {"buffer_full": 1}
    expected = list(range(20))
    del expected[19 if policy == "drop_newest" else 9]
    assert numbers(sink.events) == expected


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_batch_size_above_the_buffers_leaves_when_the_buffer_is_full(
    policy: Policy, autojump_clock: MockClock
) -> None:
    """At once, not at the interval; nothing is dropped."""
    sink = TimedSink()
    config = BatchMetricsConfig(batch_size=100, buffer_size=4, on_full=policy)
    async with collector(config, sinks=[sink]) as metrics:
        for number in range(12):
            metrics.record(numbered(number))
            if number % 4 == 3:
                await trio.testing.wait_all_tasks_blocked()
        assert sink.arrivals == [(0.0, 4)] * 3
    assert balanced(metrics.stats()).processed_events == 12
    assert numbers(sink.events) == list(range(12))


async def test_a_batch_leaves_its_interval_after_its_first_event(autojump_clock: MockClock) -> None:
    """Not after the one before it left."""
    sink = TimedSink()
    async with collector(BatchMetricsConfig(flush_interval=5), sinks=[sink]) as metrics:
        await trio.sleep(3)
        metrics.record(numbered(1))
        await trio.sleep(4)
        metrics.record(numbered(2))
        await trio.sleep(2)
        metrics.record(numbered(3))
        await trio.sleep(100)
        assert sink.arrivals == [(8.0, 2), (14.0, 1)]


async def full(metrics: BatchMetricsCollector, *, batch: int, buffer: int) -> int:
    """Fill a payload under way, the sink's queue and the buffer; return how many events that took."""
    count = batch + 2 * buffer
    for number in range(count):
        metrics.record(numbered(number))
        if number % batch == batch - 1:
            await trio.testing.wait_all_tasks_blocked()
    assert metrics.stats().pending_events == count
    assert metrics.stats().dropped_events == 0
    return count


async def test_drop_oldest_keeps_the_newest_behind_a_sink_that_is_stuck(autojump_clock: MockClock) -> None:
    """The oldest that *waits* goes; what a sink has already is not taken back."""
    sink = GatedSink()
    config = BatchMetricsConfig(batch_size=2, buffer_size=4, on_full="drop_oldest", shutdown_timeout=100)
    async with collector(config, sinks=[sink]) as metrics:
        count = await full(metrics, batch=2, buffer=4)
        for number in range(count, count + 7):
            metrics.record(numbered(number))
            assert balanced(metrics.stats()).pending_events == count
        await trio.testing.wait_all_tasks_blocked()
        assert metrics.stats().dropped == {"buffer_full": 7}
        sink.gate.set()
    kept = numbers(sink.events)
    assert kept == [*range(6), 13, 14, 15, 16]
    assert balanced(metrics.stats()).failed_events == 0


async def test_drop_newest_keeps_the_oldest_behind_a_sink_that_is_stuck(autojump_clock: MockClock) -> None:
    """And takes new ones again as soon as there is room."""
    sink = GatedSink()
    config = BatchMetricsConfig(batch_size=2, buffer_size=4, shutdown_timeout=100)
    async with collector(config, sinks=[sink]) as metrics:
        count = await full(metrics, batch=2, buffer=4)
        for number in range(count, count + 7):
            metrics.record(numbered(number))
        assert metrics.stats().dropped == {"buffer_full": 7}
        sink.gate.set()
        await trio.testing.wait_all_tasks_blocked()
        metrics.record(numbered(100))
    assert numbers(sink.events) == [*range(10), 100]
    assert balanced(metrics.stats()).dropped == {"buffer_full": 7}


# -- arecord


SMALL = {policy: BatchMetricsConfig(buffer_size=2, on_full=policy, shutdown_timeout=100) for policy in POLICIES}


async def started(nursery: trio.Nursery, call: Callable[..., Awaitable[object]], *args: object) -> None:
    """Start a task and let it run until it waits."""
    nursery.start_soon(call, *args)
    await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize("policy", POLICIES)
async def test_arecord_waits_for_room_instead_of_dropping(policy: Policy, autojump_clock: MockClock) -> None:
    """Under either policy, first come first served."""
    sink = GatedSink()
    done: list[int] = []
    async with collector(SMALL[policy], sinks=[sink]) as metrics:

        async def record(number: int) -> None:
            await metrics.arecord(numbered(number))
            done.append(number)

        count = await full(metrics, batch=2, buffer=2)
        async with trio.open_nursery() as nursery:
            for number in range(count, count + 9):
                await started(nursery, record, number)
            await trio.sleep(50)
            assert done == []
            assert balanced(metrics.stats()).total_events == count
            sink.gate.set()
        assert sorted(done) == list(range(count, count + 9))
        assert trio.current_time() == 50
    assert numbers(sink.events) == list(range(count + 9))
    assert balanced(metrics.stats()).dropped_events == 0


@pytest.mark.parametrize("policy", POLICIES)
async def test_arecord_does_not_wait_where_there_is_room(policy: Policy, autojump_clock: MockClock) -> None:
    """It is a checkpoint all the same; the event is recorded before that checkpoint lets others run."""
    sink = RecordingSink()
    async with collector(SMALL[policy], sinks=[sink]) as metrics:
        for number in range(20):
            with trio.testing.assert_checkpoints():
                await metrics.arecord(numbered(number))
            assert metrics.stats().total_events == number + 1
    assert trio.current_time() == 0
    assert numbers(sink.events) == list(range(20))
    assert metrics.stats().dropped_events == 0


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_recorder_does_not_overtake_what_waits(policy: Policy, autojump_clock: MockClock) -> None:
    """While somebody waits the buffer is full: the policy decides about the recorder's event, not about a waiter's."""
    sink = GatedSink()
    async with collector(SMALL[policy], sinks=[sink]) as metrics:
        count = await full(metrics, batch=2, buffer=2)
        async with trio.open_nursery() as nursery:
            for number in (100, 101, 102):
                await started(nursery, metrics.arecord, numbered(number))
            metrics.record(numbered(200))
            await trio.testing.wait_all_tasks_blocked()
            assert balanced(metrics.stats()).dropped == {"buffer_full": 1}
            assert metrics.stats().total_events == count + 1
            sink.gate.set()
    events = numbers(sink.events)
    if policy == "drop_newest":
        assert events == [*range(count), 100, 101, 102]
    else:
        assert events == [0, 1, 2, 3, 5, 200, 100, 101, 102]
    assert balanced(metrics.stats()).dropped == {"buffer_full": 1}


@pytest.mark.parametrize("policy", POLICIES)
async def test_an_arecord_that_is_cancelled_has_recorded_nothing(policy: Policy, autojump_clock: MockClock) -> None:
    """The caller's scope bounds it, to the second; the others keep their turn."""
    sink = GatedSink()
    async with collector(SMALL[policy], sinks=[sink]) as metrics:
        count = await full(metrics, batch=2, buffer=2)
        cut: list[tuple[int, float]] = []

        async def bounded(number: int, seconds: float) -> None:
            with trio.move_on_after(seconds) as scope:
                await metrics.arecord(numbered(number))
            if scope.cancelled_caught:
                cut.append((number, trio.current_time()))

        async with trio.open_nursery() as nursery:
            for number, seconds in [(100, 3.0), (101, 9.0), (102, 5.0), (103, 9.0)]:
                await started(nursery, bounded, number, seconds)
            await trio.sleep(7)
            assert balanced(metrics.stats()).total_events == count
            sink.gate.set()
        assert cut == [(100, 3.0), (102, 5.0)]
        assert trio.current_time() == 7.0
    assert numbers(sink.events) == [*range(count), 101, 103]
    assert balanced(metrics.stats()).dropped_events == 0


async def test_an_arecord_that_is_cancelled_once_it_has_recorded_returns(autojump_clock: MockClock) -> None:
    """Cancelled is what has recorded nothing, whatever the order of tasks."""
    returned = 0

    async def cancel(scope: trio.CancelScope) -> None:
        scope.cancel()

    async with collector(sinks=[]) as metrics:
        for number in range(40):  # Trio shuffles the tasks of a round
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cancel, scope)
                    await metrics.arecord(numbered(number))
                    returned += 1
        assert balanced(metrics.stats()).total_events == returned


@pytest.mark.parametrize("state", ["room", "full", "closed", "disabled", "invalid"])
async def test_arecord_in_a_cancelled_scope_raises_and_records_nothing(state: str, autojump_clock: MockClock) -> None:
    """Whatever it would have done otherwise."""
    config = BatchMetricsConfig(buffer_size=2, enabled=state != "disabled", shutdown_timeout=0)
    event: Any = None if state == "invalid" else numbered(1)
    async with collector(config, sinks=[GatedSink()]) as metrics:
        if state == "full":
            await full(metrics, batch=2, buffer=2)
        if state != "closed":
            before = metrics.stats().total_events
            with trio.move_on_after(0) as scope, trio.testing.assert_checkpoints():
                await metrics.arecord(event)
            assert scope.cancelled_caught
            assert metrics.stats().total_events == before
    if state == "closed":
        with trio.move_on_after(0) as scope, trio.testing.assert_checkpoints():
            await metrics.arecord(event)
        assert scope.cancelled_caught
        assert metrics.stats().total_events == 0


@pytest.mark.parametrize("policy", POLICIES)
async def test_what_waits_when_the_block_is_left_counts_as_closed(policy: Policy, autojump_clock: MockClock) -> None:
    """Each of them returns at once, without an exception, although the flush goes on."""
    sink = GatedSink()
    returned: list[float] = []
    count = 0
    async with trio.open_nursery() as nursery:
        async with collector(SMALL[policy], sinks=[sink]) as metrics:

            async def record(number: int) -> None:
                await metrics.arecord(numbered(number))
                returned.append(trio.current_time())

            count = await full(metrics, batch=2, buffer=2)
            for number in range(3):
                await started(nursery, record, 100 + number)
            await trio.sleep(5)

            async def open_later() -> None:
                await trio.sleep(20)
                sink.gate.set()

            nursery.start_soon(open_later)
        assert trio.current_time() == 25.0
        assert returned == [5.0] * 3
    assert numbers(sink.events) == list(range(count))
    stats = balanced(metrics.stats())
    assert stats.dropped == {"closed": 3}
    assert stats.total_events == count + 3


async def test_one_freed_place_lets_one_waiter_through(autojump_clock: MockClock) -> None:
    """Not all of them: the buffer is never overfilled."""
    sink = RecordingSink(max_events=1)
    config = BatchMetricsConfig(buffer_size=1, flush_interval=10)
    async with collector(config, sinks=[sink]) as metrics:
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(metrics.arecord, numbered(number))
            for _ in range(50):
                await trio.lowlevel.checkpoint()
                stats = balanced(metrics.stats())
                # one in the buffer, one in the queue, one under way
                assert stats.pending_events <= 3
        assert trio.current_time() == 0
    assert sorted(numbers(sink.events)) == list(range(10))
    assert balanced(metrics.stats()).processed_events == 10


@pytest.mark.parametrize("policy", POLICIES)
async def test_arecord_counts_a_bad_event_like_record(policy: Policy, autojump_clock: MockClock) -> None:
    """When its batch is made up; it raises nothing."""
    sink = RecordingSink()
    async with collector(SMALL[policy], sinks=[sink]) as metrics:
        for number in range(3):
            await metrics.arecord(numbered(number))
            await metrics.arecord(Counter("a", {}, -1))
    assert numbers(sink.events) == [0, 1, 2]
    assert balanced(metrics.stats()).dropped == {"invalid": 3}
