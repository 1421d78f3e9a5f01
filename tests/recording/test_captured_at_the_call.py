"""A recorder takes the time, the labels and the values at the call, and no later change reaches a sink."""

import copy
import inspect
import time
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from functools import partial
from http import HTTPStatus
from operator import setitem
from types import MappingProxyType
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.bad_values import OTHER_NUMBERS, Changing, Unprintable, shown
from tests.fakes import numbered, numbers
from tests.helpers import balanced
from tests.recording.examples import EXAMPLES, arguments, call
from trio_batchmetrics import (
    BatchMetricsCollector,
    BatchMetricsConfig,
    CacheMetric,
    Counter,
    Gauge,
    Histogram,
    Recorder,
    collector,
)
from trio_batchmetrics.abc import EventSink, Payload, Receipt, fields_of, labels_of
from trio_batchmetrics.sinks import PrometheusSink
from trio_batchmetrics.testing import RecordingSink


@pytest.mark.parametrize("name", ["record_counter", "record_histogram", "record_gauge"])
@pytest.mark.parametrize("elsewhere", [False, True], ids=["recorder", "from_thread"])
async def test_labels_are_captured_by_value_at_the_call(name: str, elsewhere: bool, autojump_clock: MockClock) -> None:
    """The caller may reuse one dict again and again."""
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


async def test_the_time_is_taken_at_the_call(autojump_clock: MockClock) -> None:
    """The timestamp is wall-clock time in ns, and not the time when the batch is formed."""
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
    """Every way to record keeps the timestamp, and the batch stays in recording order all the same."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        metrics.record(CacheMetric("redis", "hit", timestamp=5))
        metrics.from_thread().record(CacheMetric("redis", "hit", timestamp=0))
        await metrics.arecord(CacheMetric("redis", "hit", timestamp=3))
    assert [event.timestamp for event in sink.events] == [5, 0, 3]


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
    """Later changes to an object have no effect; sinks get its text as of the call."""
    value = copy.copy(value)
    early, sink = str(value), RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        try:
            called = CAPTURING[how](metrics, value)
        except TypeError:
            assert "name" in how, "only a hashable object can be the name of a label"
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
    """The call doesn't raise, and the events around it arrive."""
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
    """It stays the same object, because an event sink may distinguish an int from a str."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        called = CAPTURING[how](metrics, value)
        if inspect.isawaitable(called):
            await called
    [event] = sink.events
    given = getattr(event, "labels", None) or arguments(event)
    assert any(one is value for one in given.values())


class Vandal(EventSink[None]):
    """A sink that changes whatever it can of the objects it is handed."""

    def __init__(self) -> None:
        """Create a sink that counts the changes it couldn't make."""
        super().__init__(name="vandal")
        self.refusals = self.payloads = 0

    def refused(self, change: Callable[[], object]) -> None:
        """Try a change, and count it if it is refused."""
        try:
            change()
        except (TypeError, AttributeError):
            self.refusals += 1

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Try to change each event, the batch, and the collector's context."""
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


async def test_a_sinks_changes_to_the_objects_it_is_handed_do_not_affect_another_sink(
    autojump_clock: MockClock,
) -> None:
    """Labels, events, batches and the context that all sinks share are tried."""
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


@pytest.mark.parametrize(("value", "plain"), OTHER_NUMBERS, ids=shown)
async def test_numbers_of_other_types_are_recorded_with_their_values(
    value: Any, plain: float, autojump_clock: MockClock
) -> None:
    """Recorders, events and bound instruments are tried, for sinks that write events and for series."""
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
