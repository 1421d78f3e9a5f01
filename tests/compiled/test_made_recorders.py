"""A made recorder does the same as `record` with an event of its class, whatever the arguments."""

from __future__ import annotations

import time
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.compiled.classes import CALLS, Call, Checked, OwnInit, PostInit, PreInit, named, outcome
from tests.compiled.rows import FIELDS, one_row, values_of
from tests.helpers import examples
from trio_batchmetrics import (
    BatchMetricsCollector,
    CacheMetric,
    Counter,
    HttpRequest,
    MetricEvent,
    collector,
    label,
    measure,
    metric_event,
)
from trio_batchmetrics.abc import SeriesStore
from trio_batchmetrics.testing import RecordingSink


class UndecoratedInit(HttpRequest):
    """A subclass with its own constructor, which attrs didn't see."""

    def __init__(self, path: str) -> None:
        """Create a GET request."""
        super().__init__("GET", path, 200, 0.5)


@metric_event
class Strict(MetricEvent):
    """A class with a validator that raises the same errors as attrs' own."""

    queue: Any = label("queue")
    size: int = measure(Counter, "strict", default=1)

    @queue.validator  # type: ignore[untyped-decorator]
    def _look(self, field: Any, value: Any) -> None:
        attrs.validators.instance_of(str)(self, field, value)


REFUSED: list[Call] = [
    (Checked, ("bad",), {}),
    (Checked, ("error",), {"size": 3}),
    (PostInit, ("bad", 1), {}),
    (PreInit, ("bad", 1), {}),
    (OwnInit, ("no url",), {}),
]
"""Calls of classes whose constructor raises."""


@pytest.mark.parametrize("elsewhere", [False, True], ids=["recorder", "from_thread"])
@pytest.mark.parametrize(("kind", "positional", "keyword"), CALLS, ids=named)
def test_a_made_recorder_does_what_record_does_with_an_event(
    kind: Any, positional: tuple[Any, ...], keyword: dict[str, Any], elsewhere: bool
) -> None:
    """Arguments by place or name, defaults and explicit timestamps are tried; invalid events are invalid either way."""

    def by_recorder(metrics: BatchMetricsCollector) -> None:
        record: Any = (metrics.from_thread() if elsewhere else metrics).make_recorder(kind)
        for stamp in (7, 8):
            assert record(*positional, **keyword, timestamp=stamp) is None

    def by_event(metrics: BatchMetricsCollector) -> None:
        for stamp in (7, 8):
            metrics.record(kind(*positional, **keyword, timestamp=stamp))

    events, counted = outcome(by_recorder)
    expected, counted_by_event = outcome(by_event)
    assert counted == counted_by_event
    assert [type(event) for event in events] == [type(event) for event in expected]
    assert events == expected
    assert [repr(event) for event in events] == [repr(event) for event in expected]


@pytest.mark.parametrize(("kind", "positional", "keyword"), CALLS, ids=named)
def test_a_made_recorder_takes_the_time_at_the_call(
    kind: Any, positional: tuple[Any, ...], keyword: dict[str, Any]
) -> None:
    """The timestamp lies between the times before and after the call, whenever the event object is created."""
    stamps: list[int] = []

    def record(metrics: BatchMetricsCollector) -> None:
        recorder = metrics.make_recorder(kind)
        for _ in range(2):
            stamps.append(time.time_ns())
            recorder(*positional, **keyword)
        stamps.append(time.time_ns())

    events, _ = outcome(record)
    for event, before, after in zip(events, stamps, stamps[1:], strict=False):
        assert before <= event.timestamp <= after


@pytest.mark.parametrize(("kind", "positional", "keyword"), REFUSED, ids=named)
def test_arguments_that_a_class_refuses_count_as_invalid(
    kind: Any, positional: tuple[Any, ...], keyword: dict[str, Any]
) -> None:
    """They count like one bad value, and later events are recorded."""

    def record(metrics: BatchMetricsCollector) -> None:
        for recorder in (metrics.make_recorder(kind), metrics.from_thread().make_recorder(kind)):
            recorder(*positional, **keyword)
        metrics.make_recorder(CacheMetric)("redis", "hit")

    events, counted = outcome(record)
    assert len(events) == 1
    assert counted == (3, 1, 0, {"invalid": 2})


def test_a_validator_that_raises_a_type_error_counts_as_invalid() -> None:
    """The call was right and the value wasn't: recorders never raise for what happens at run time."""
    events, counted = outcome(lambda metrics: metrics.make_recorder(Strict)(3))
    assert (events, counted) == ([], (1, 0, 0, {"invalid": 1}))


def test_a_subclass_with_its_own_constructor_is_created_by_it() -> None:
    """The subclass's constructor runs, although the class that it inherits from could be compiled."""
    events, _ = outcome(lambda metrics: metrics.make_recorder(UndecoratedInit)("/path"))
    assert [getattr(event, "path", None) for event in events] == ["/path"]


async def test_labels_are_captured_by_value_by_a_made_recorder_too(autojump_clock: MockClock) -> None:
    """The caller may reuse one dict again and again."""
    sink = RecordingSink()
    labels: dict[str, Any] = {}
    async with collector(sinks=[sink]) as metrics:
        recorder = metrics.make_recorder(Counter)
        for number in range(3):
            labels["n"] = number
            recorder("c", labels, 1)
        labels.clear()
    assert [event.labels for event in sink.events if isinstance(event, Counter)] == [{"n": 0}, {"n": 1}, {"n": 2}]


@pytest.mark.parametrize(
    "name",
    [
        *("intake", "ident", "row", "event_class", "time_ns", "get_ident", "len", "captured", "type", "rows", "value"),
        *("labels", "name", "check", "record", "default_x", "int", "float", "str", "bool", "cls", "exec", "v0", "v1"),
    ],
)
def test_a_field_may_have_any_name(name: str) -> None:
    """Names that the compiled code might use itself are allowed, too."""
    namespace = {
        "__annotations__": {"x": Any, name: Any, "size": float},
        "x": label("x"),
        name: label(name),
        "size": measure(Counter, "size.of", default=5),
    }
    kind: Any = metric_event(type("Named", (MetricEvent,), namespace))
    events, counted = outcome(lambda metrics: metrics.make_recorder(kind)("one", **{name: "two"}, timestamp=3))
    assert events == [kind("one", "two", timestamp=3)]
    assert counted == (1, 1, 0, {})
    store = SeriesStore()
    store.merge(events)
    assert [dict(point.labels) for point in store.snapshot()[0].points] == [{"x": "one", name: "two"}]


@given(drawn=st.one_of([one_row(kind) for kind in FIELDS]))
@settings(max_examples=examples(300))
def test_a_made_recorder_counts_any_arguments_as_record_would(drawn: tuple[Any, ...]) -> None:
    """Where the class can't be created from the arguments, the events are invalid, and nothing is raised."""
    kind, _, _, *values = drawn

    def by_event(metrics: BatchMetricsCollector) -> None:
        try:
            event = kind(*values, timestamp=5)
        except RuntimeError:
            metrics.record("no event")
        else:
            metrics.record(event)

    events, counted = outcome(lambda metrics: metrics.make_recorder(kind)(*values, timestamp=5))
    expected, counted_by_event = outcome(by_event)
    assert counted == counted_by_event
    for one, two in zip(events, expected, strict=True):
        assert type(one) is type(two)
        for left, right in zip(values_of(one), values_of(two), strict=True):
            assert left is right or left == right
            # Validation converts measured values to plain numbers in rows; an event stays as it was created.
            assert type(left) is type(right) or (type(left) in (int, float) and isinstance(right, type(left)))
