"""What is compiled of a declaration: recorders that do what ``record(cls(...))`` does, checks that miss nothing."""

from __future__ import annotations

import contextlib
import enum
import functools
import inspect
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from http import HTTPStatus
from itertools import combinations, product
from types import SimpleNamespace
from typing import Any, NoReturn

import attrs
import pytest
import trio
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.bad_values import EVIL, HUGE, NOT_LABELS, NOT_NAMES, EvilFloat, EvilInt, NoText, Unprintable
from tests.helpers import balanced, interrupted_at
from tests.tally import Job, as_text
from trio_batchmetrics import (
    BackendRequest,
    Batch,
    BatchMetricsCollector,
    BatchMetricsConfig,
    BatchMetricsStats,
    CacheMetric,
    Counter,
    Gauge,
    HealthCheck,
    Histogram,
    HistogramPoint,
    HttpRequest,
    MetricEvent,
    collector,
    label,
    measure,
    metric_event,
)
from trio_batchmetrics._delivery.slices import SliceQueue
from trio_batchmetrics._events.batch import Row, UnusualRow, event_of, is_plain, rows_and_groups
from trio_batchmetrics._events.compiled import compiled_recorder
from trio_batchmetrics._events.validation import checked, plain_rows, valid
from trio_batchmetrics._ledger.pending_batch import PendingBatch
from trio_batchmetrics.abc import Payload, Receipt, SeriesSink, SeriesStore, labels_of
from trio_batchmetrics.testing import RecordingSink

HUGE_LABEL = 10**5000
"""An int that Python refuses to print (``sys.set_int_max_str_digits``)."""


@metric_event
class Odd(MetricEvent):
    """Its fields have the names that a compiled function might use itself."""

    row: str = label("row")
    intake: str = label("intake")
    len: str = label("len")
    ident: str = label("ident")
    type: str = label("type")
    time_ns: str = label("time_ns")
    captured: str = label("captured")
    event_class: str = label("event_class")
    get_ident: str = label("get_ident")
    value: float = measure(Counter, "odd")
    rows: str = label("rows", default="r")
    labels: Any = label("labels", default=None)
    name: str = label("name", default="n")
    check: str = label("check", default="c")
    default_name: str = label("default_name", default="d")
    default_default_name: str = label("default_default_name", default="dd")
    record: str = label("record", default="rec")
    _private: str = label("private", default="p")
    v0: str = label("v0", default="v")


@metric_event
class Plain(MetricEvent):
    """As `Odd`, with no name that is the recorder's own: it is compiled."""

    value: float = measure(Counter, "plain")
    labels: Any = label("labels", default=None)
    default_name: str = label("default_name", default="d")
    name: str = label("name", default="n")
    str: Any = label("str", default="s")
    _private: Any = label("private", default="p")
    dict: Any = label("dict", default=True)
    took: Any = measure(Histogram, "took", unit="s", default=timedelta(seconds=2))


@metric_event(counts="empty")
class Empty(MetricEvent):
    """Only counts."""


def fresh() -> list[str]:
    """Make a default value."""
    return ["fresh"]


@metric_event
class Fresh(MetricEvent):
    """Has a default that is made anew each time."""

    size: int = measure(Counter, "fresh")
    tags: Any = label("tags", default=attrs.Factory(fresh))


@metric_event
class Derived(MetricEvent):
    """Has a default that is made of the event."""

    size: int = measure(Counter, "derived")
    size_class: Any = label("size_class")

    @size_class.default  # type: ignore[untyped-decorator]
    def _size_class(self) -> str:
        return "large" if self.size > 10 else "small"


@metric_event
class Checked(MetricEvent):
    """Looks at what it is given."""

    queue: Any = label("queue")
    size: Any = measure(Counter, "checked", default=1)

    @queue.validator  # type: ignore[untyped-decorator]
    def _look(self, _: object, value: str) -> None:
        if value == "bad":
            raise ValueError("bad")
        if value == "error":
            raise KeyError("error")


@metric_event
class OwnInit(MetricEvent):
    """Is made of something else than its fields."""

    host: str = label("host")
    size: int = measure(Counter, "own.init")

    def __init__(self, url: str, size: int = 1, **rest: int) -> None:
        """Take the host out of a URL."""
        made: Any = self
        made.__attrs_init__(url.split("/")[2], size, **rest)


@metric_event
class PostInit(MetricEvent):
    """Looks at itself once it is made."""

    queue: str = label("queue")
    size: int = measure(Counter, "post.init")

    def __attrs_post_init__(self) -> None:
        """Refuse one queue."""
        if self.queue == "bad":
            raise ValueError("bad")


@metric_event
class PreInit(MetricEvent):
    """Looks at what it is given before it is made."""

    queue: str = label("queue")
    size: int = measure(Counter, "pre.init")

    def __attrs_pre_init__(self, queue: str, *_: object, **__: object) -> None:
        """Refuse one queue."""
        if queue == "bad":
            raise ValueError("bad")


class Undecorated(HttpRequest):
    """A subclass that is no declaration of its own."""


class UndecoratedInit(HttpRequest):
    """A subclass with a constructor of its own, that attrs did not see."""

    def __init__(self, path: str) -> None:
        """Be a GET."""
        super().__init__("GET", path, 200, 0.5)


@metric_event
class Strict(MetricEvent):
    """Has a validator that raises what attrs' own do."""

    queue: Any = label("queue")
    size: int = measure(Counter, "strict", default=1)

    @queue.validator  # type: ignore[untyped-decorator]
    def _look(self, field: Any, value: Any) -> None:
        attrs.validators.instance_of(str)(self, field, value)


Call = tuple[Any, tuple[Any, ...], dict[str, Any]]

ODD = ("row", "intake", "len", "ident", "type", "time_ns", "captured", "event_class", "get_ident", 3)

CALLS: list[Call] = [
    (HttpRequest, ("GET", "/", 200, 0.15), {}),
    (HttpRequest, ("GET", "/"), {"duration": timedelta(seconds=1), "status_code": HTTPStatus.OK}),
    (HttpRequest, (), {"duration": 1, "status_code": 200, "path": "/", "method": "GET"}),
    (HttpRequest, ("GET", "/", 200, -1), {}),
    (BackendRequest, ("openai", "gpt-4", True, 0.5), {}),
    (BackendRequest, ("openai", "gpt-4", False, 0.5, "timeout"), {}),
    (BackendRequest, ("openai", "gpt-4", False, 0.5), {"error_type": "timeout"}),
    (HealthCheck, ("b", True, 0.1), {}),
    (HealthCheck, ("b",), {"healthy": None, "duration": 0.1}),
    (CacheMetric, ("redis",), {"operation": "hit"}),
    (Counter, ("c", {"a": 1}, 2), {}),
    (Counter, ("c",), {"value": 2.5, "labels": {}}),
    (Counter, ("c", None, 1), {}),
    (Histogram, ("h", {"a": None}, -2), {}),
    (Gauge, ("g", {1: True}, 2), {}),
    (HistogramPoint, ("h", {}, 2, 3.5, (1.0,), (1, 1)), {}),
    (HistogramPoint, ("h", {}, 3, 3.5, (1.0,)), {"counts": (1, 1)}),
    (Job, ("q", 1, 2, 3, timedelta(seconds=4)), {}),
    (Job, ("q", 1, 2, 3, 4), {"code": 7, "done": True}),
    (Plain, (1,), {}),
    (Plain, (1, "l", "d", "n", "s", "p", False, 3), {}),
    (Plain, (), {"value": 2, "private": 1, "dict": None, "took": timedelta(seconds=1)}),
    (Empty, (), {}),
    (Odd, ODD, {}),
    (
        Odd,
        ODD[:5],
        {**dict(zip(("time_ns", "captured", "event_class", "get_ident"), ODD[5:9], strict=True)), "value": 2},
    ),
    (Odd, ODD, {"private": "x", "v0": "y", "labels": "l", "rows": 3}),
    (Fresh, (1,), {}),
    (Fresh, (1, "mine"), {}),
    (Derived, (1,), {}),
    (Derived, (11,), {}),
    (Checked, ("good", 2), {}),
    (Checked, ("good",), {}),
    (Checked, ("good", "no number"), {}),
    (OwnInit, ("http://host/path",), {"size": 3}),
    (PostInit, ("good", 2), {}),
    (PreInit, ("good", 2), {}),
    (Undecorated, ("GET", "/", 200, 0.15), {}),
]

REFUSED: list[Call] = [
    (Checked, ("bad",), {}),
    (Checked, ("error",), {"size": 3}),
    (PostInit, ("bad", 1), {}),
    (PreInit, ("bad", 1), {}),
    (OwnInit, ("no url",), {}),
]
"""Calls of classes whose constructor raises."""


def named(call: object) -> str | None:
    """Name a test's parameter by its class."""
    return call.__name__ if isinstance(call, type) else None


def told(stats: BatchMetricsStats) -> tuple[Any, ...]:
    """Return what became of events."""
    balanced(stats)
    return stats.total_events, stats.processed_events, stats.pending_events, stats.dropped


def outcome(record: Callable[[BatchMetricsCollector], object], **settings: Any) -> tuple[list[MetricEvent], Any]:
    """Record in a collector of its own; return what arrived, and what was counted."""
    sink = RecordingSink()

    async def main() -> BatchMetricsStats:
        async with collector(BatchMetricsConfig(**settings), sinks=[sink]) as metrics:
            record(metrics)
        return metrics.stats()

    counted = told(trio.run(main, clock=MockClock(autojump_threshold=0)))
    return sink.events, counted


# -- recorders made of a class


@pytest.mark.parametrize("elsewhere", [False, True], ids=["recorder", "from_thread"])
@pytest.mark.parametrize(("kind", "positional", "keyword"), CALLS, ids=named)
def test_a_made_recorder_does_what_record_does_with_an_event(
    kind: Any, positional: tuple[Any, ...], keyword: dict[str, Any], elsewhere: bool
) -> None:
    """Arguments by place or by name, defaults, a timestamp of one's own; what is invalid is so either way."""

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
    """Between before and after, whenever the event is made."""
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
def test_what_a_class_refuses_counts_as_invalid(
    kind: Any, positional: tuple[Any, ...], keyword: dict[str, Any]
) -> None:
    """Like one bad value; what comes after is recorded."""

    def record(metrics: BatchMetricsCollector) -> None:
        for recorder in (metrics.make_recorder(kind), metrics.from_thread().make_recorder(kind)):
            recorder(*positional, **keyword)
        metrics.make_recorder(CacheMetric)("redis", "hit")

    events, counted = outcome(record)
    assert len(events) == 1
    assert counted == (3, 1, 0, {"invalid": 2})


def test_a_validator_that_raises_a_type_error_counts_as_invalid() -> None:
    """The call was right, the value was not: recorders never raise for what happens at run time."""
    events, counted = outcome(lambda metrics: metrics.make_recorder(Strict)(3))
    assert (events, counted) == ([], (1, 0, 0, {"invalid": 1}))


def test_a_subclass_with_a_constructor_of_its_own_is_made_by_it() -> None:
    """Though the class that it inherits from could be compiled."""
    events, _ = outcome(lambda metrics: metrics.make_recorder(UndecoratedInit)("/path"))
    assert [getattr(event, "path", None) for event in events] == ["/path"]


WRONG_CALLS: list[Call] = [
    (HttpRequest, ("GET", "/", 200), {}),
    (HttpRequest, ("GET", "/", 200, 0.1, "more"), {}),
    (HttpRequest, ("GET", "/", 200, 0.1), {"method": "GET"}),
    (HttpRequest, ("GET", "/", 200, 0.1), {"colour": "red"}),
    (CacheMetric, ("redis",), {}),
    (CacheMetric, ("redis", "hit", 1), {}),
    (Counter, ("c", {}), {}),
    (Plain, (1,), {"_private": 1}),
    (Empty, (1,), {}),
    (Odd, (), {}),
    (Fresh, (), {}),
    (Checked, (), {"size": 1}),
    (OwnInit, (), {}),
    (PostInit, ("good",), {}),
]


@pytest.mark.parametrize(("kind", "positional", "keyword"), WRONG_CALLS, ids=named)
async def test_wrong_arguments_raise_at_the_call_and_record_nothing(
    kind: Any, positional: tuple[Any, ...], keyword: dict[str, Any], autojump_clock: MockClock
) -> None:
    """As the class itself would: what is wrong is the program."""
    async with collector(sinks=[]) as metrics:
        with pytest.raises(TypeError, match="argument"):
            kind(*positional, **keyword)
        for recorder in (metrics, metrics.from_thread()):
            with pytest.raises(TypeError, match="argument"):
                recorder.make_recorder(kind)(*positional, **keyword)
    assert balanced(metrics.stats()).total_events == 0


@pytest.mark.parametrize("thing", ["HttpRequest", None, 3, str, collector, HttpRequest("GET", "/", 200, 1), Mapping])
async def test_only_an_event_class_makes_a_recorder(thing: Any, autojump_clock: MockClock) -> None:
    """An instance is none either."""
    async with collector(sinks=[]) as metrics:
        for recorder in (metrics, metrics.from_thread()):
            with pytest.raises(TypeError, match="event class"):
                recorder.make_recorder(thing)


async def test_the_base_of_all_events_makes_a_recorder_of_invalid_ones(autojump_clock: MockClock) -> None:
    """It measures nothing."""
    async with collector(sinks=[]) as metrics:
        metrics.make_recorder(MetricEvent)()
    assert told(metrics.stats()) == (1, 0, 0, {"invalid": 1})


@pytest.mark.parametrize("kind", [HttpRequest, BackendRequest, HealthCheck, CacheMetric, Counter, Plain, Job, Empty])
async def test_a_made_recorder_shows_the_classs_own_parameters(kind: Any, autojump_clock: MockClock) -> None:
    """Names, order, kinds; and it says whose it is in a traceback."""
    async with collector(sinks=[]) as metrics:
        recorder = metrics.make_recorder(kind)
    parameters = inspect.signature(recorder).parameters.values()
    expected = inspect.signature(kind).parameters.values()
    assert [(one.name, one.kind) for one in parameters] == [(one.name, one.kind) for one in expected]
    with pytest.raises(TypeError, match=kind.__name__):
        recorder(*range(20))


@pytest.mark.parametrize("kind", [CacheMetric, PostInit])
@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
async def test_a_made_recorder_counts_like_others(kind: Any, policy: Any, autojump_clock: MockClock) -> None:
    """Full, closed, invalid; compiled or not, in any thread."""
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(buffer_size=3, on_full=policy), sinks=[sink]) as metrics:
        recorders = [each.make_recorder(kind) for each in (metrics, metrics.from_thread())]
        for number in range(3):
            for recorder in recorders:
                recorder(str(number), 1)
        assert told(metrics.stats()) == (6, 0, 3, {"buffer_full": 3})
        await metrics.flush()
        for recorder in recorders:
            recorder("3", 1, timestamp="never")
        await metrics.flush()
        assert told(metrics.stats()) == (8, 3, 0, {"buffer_full": 3, "invalid": 2})
    for recorder in recorders * 2:
        recorder("4", 1)
    assert told(metrics.stats()) == (12, 3, 0, {"buffer_full": 3, "invalid": 2, "closed": 4})
    arrived = [getattr(event, "cache_type", None) or getattr(event, "queue", None) for event in sink.events]
    assert arrived == (["0", "0", "1"] if policy == "drop_newest" else ["1", "2", "2"])


@pytest.mark.parametrize("kind", [CacheMetric, Counter, Odd, Checked, PostInit, OwnInit])
async def test_a_made_recorder_works_in_another_thread(kind: Any, autojump_clock: MockClock) -> None:
    """While there is room, when the buffer is full, and after the block; so does one made of ``from_thread()``."""
    arguments: dict[Any, tuple[Any, ...]] = {Counter: ("c", {}, 1), Odd: ODD, OwnInit: ("http://host/",)}

    def run(recorder: Callable[..., None]) -> None:
        thread = threading.Thread(target=recorder, args=arguments.get(kind, ("a", 1)))
        thread.start()
        thread.join()

    sink = RecordingSink()
    async with collector(BatchMetricsConfig(buffer_size=3), sinks=[sink]) as metrics:
        ours, theirs = metrics.make_recorder(kind), metrics.from_thread().make_recorder(kind)
        run(ours)
        for _ in range(2):
            run(theirs)
        run(ours)
        assert told(metrics.stats()) == (4, 0, 3, {"buffer_full": 1})
    run(ours)
    run(theirs)
    assert told(metrics.stats()) == (6, 3, 0, {"buffer_full": 1, "closed": 2})
    assert [type(event) for event in sink.events] == [kind] * 3


@pytest.mark.parametrize("kind", [CacheMetric, PostInit])
async def test_a_disabled_collectors_made_recorder_does_nothing(kind: Any, autojump_clock: MockClock) -> None:
    """It takes what it would take, in any thread, in the block and after it."""
    sink = RecordingSink()

    def record() -> None:
        for recorder in recorders:
            recorder("bad", 1)
            recorder("good", 1)

    async with collector(BatchMetricsConfig(enabled=False), sinks=[sink]) as metrics:
        recorders: list[Any] = [each.make_recorder(kind) for each in (metrics, metrics.from_thread())]
        record()
        thread = threading.Thread(target=record)
        thread.start()
        thread.join()
    record()
    assert told(metrics.stats()) == (0, 0, 0, {})
    assert sink.events == []


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [(CacheMetric, ("redis", "hit")), (Counter, ("c", {"a": 1}, 1)), (Odd, ODD), (PostInit, ("bad", 1))],
    ids=["compiled", "labels", "fallback", "refused"],
)
@pytest.mark.parametrize("size", [1, 2])
async def test_a_ctrl_c_in_the_middle_of_a_made_recorder_waits_for_its_end(
    kind: Any, arguments: tuple[Any, ...], size: int, autojump_clock: MockClock
) -> None:
    """At each place of it, its own lines and what it calls: no half of an event."""
    protected: list[bool] = []
    async with collector(BatchMetricsConfig(batch_size=size), sinks=[]) as metrics:
        recorder = metrics.make_recorder(kind)
        point, places, calls = 0, 1, 0
        while point < places:
            with interrupted_at(point, lambda: protected.append(trio.lowlevel.currently_ki_protected())) as passed:
                recorder(*arguments)
            places = passed[0]
            point, calls = point + 1, calls + 1
    assert len(protected) >= 3
    assert all(protected)
    assert balanced(metrics.stats()).total_events == calls


async def test_labels_are_captured_by_value_by_a_made_recorder_too(autojump_clock: MockClock) -> None:
    """One dict may be used again and again."""
    sink = RecordingSink()
    labels: dict[str, Any] = {}
    async with collector(sinks=[sink]) as metrics:
        recorder = metrics.make_recorder(Counter)
        for number in range(3):
            labels["n"] = number
            recorder("c", labels, 1)
        labels.clear()
    assert [event.labels for event in sink.events if isinstance(event, Counter)] == [{"n": 0}, {"n": 1}, {"n": 2}]


# -- any arguments


class Wordy(str):
    """A str that prints as something else."""

    __slots__ = ()

    def __str__(self) -> str:
        """Shout."""
        return self.upper()


class Whole(int):
    """An int that says nothing of its own."""


class Real(float):
    """A float that says nothing of its own."""


class Colour(enum.Enum):
    """Prints as its name."""

    RED = 1


class Lonely(str):
    """A str that equals nothing, not even itself, and has no hash."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

    def __eq__(self, other: object) -> bool:
        """Differ."""
        return False


class Sticky(float):
    """A float that cannot be added to anything."""

    def __radd__(self, other: object) -> NoReturn:
        """Refuse."""
        raise RuntimeError("no sum")

    __add__ = __lt__ = __gt__ = __radd__


class Unequal:
    """Has text, equals everything, and has no hash."""

    __hash__ = None  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

    def __eq__(self, other: object) -> bool:
        """Be like all others."""
        return True

    def __str__(self) -> str:
        """Be printed."""
        return "unequal"


STRANGE: list[Any] = [
    *(math.nan, math.inf, -math.inf, HUGE, -HUGE, HUGE_LABEL, -HUGE_LABEL, 2**63, -(2**63), 2**63 - 1, 2**1023),
    *(True, False, None, 0, 1, -1, 0.0, -0.0, 1.0, -1.0, 1.5, 5e-324, 1.7976931348623157e308),
    *("", "1", "1.0", "true", "name", "\ud800", "\udfff", "\ufffd", b"1", 1j, [1], {}, {"a": 1}, (1.0,), (1, 0)),
    *(
        Wordy("1"),
        Wordy("name"),
        Whole(1),
        Whole(2**70),
        Real(1.0),
        Sticky(1.0),
        Lonely("1"),
        Real("nan"),
        HTTPStatus.OK,
        Colour.RED,
    ),
    *(timedelta(seconds=1), timedelta(microseconds=-1), timedelta(), Unequal(), Unprintable(), NoText()),
    *(EvilInt(3), EvilFloat(3.0), *(make() for make in EVIL[:2]), *NOT_LABELS, *NOT_NAMES),
]
USUAL: st.SearchStrategy[Any] = st.sampled_from([0, 1, 2, 0.5, 1.5, "a", "b", "1", True, False, None, 200])
VALUE: st.SearchStrategy[Any] = st.one_of(
    USUAL,
    USUAL,
    st.sampled_from(STRANGE),
    st.floats(),
    st.integers(),
    st.integers(-(2**1100), 2**1100),
    st.text(max_size=3),
)
DICT: st.SearchStrategy[Any] = st.dictionaries(
    st.sampled_from(["a", "b", 1, 1.5, True, "\ud800", Wordy("a"), HUGE_LABEL, None, HTTPStatus.OK]), VALUE, max_size=3
)
STAMP: st.SearchStrategy[Any] = st.sampled_from([None] * 9 + [True, 1.0, "1"])
"""None: its number in the batch."""

FIELDS: dict[type[MetricEvent], list[st.SearchStrategy[Any]]] = {
    HttpRequest: [VALUE] * 4,
    BackendRequest: [VALUE] * 5,
    HealthCheck: [VALUE] * 3,
    CacheMetric: [VALUE] * 2,
    Counter: [st.just("c") | VALUE, DICT | VALUE, VALUE],
    Histogram: [st.just("h") | VALUE, DICT | VALUE, VALUE],
    Gauge: [st.just("g") | VALUE, DICT | VALUE, VALUE],
    HistogramPoint: [
        st.just("h") | VALUE,
        DICT | VALUE,
        st.integers(0, 3) | VALUE,
        VALUE,
        st.sampled_from([(1.0,), (1, 2)]) | VALUE,
        st.sampled_from([(1, 0), (0, 0), (1, 1, 1), (Whole(1), 1)]) | VALUE,
    ],
    Job: [VALUE] * 7,
    Plain: [VALUE] * 8,
    Empty: [],
}


def one_row(kind: type[MetricEvent]) -> st.SearchStrategy[tuple[Any, ...]]:
    """Make rows of a class, and say whether they come as events."""
    return st.tuples(st.just(kind), STAMP, st.booleans(), *FIELDS[kind])


ROWS = st.lists(st.one_of([one_row(kind) for kind in FIELDS]), max_size=12)


recorder_of = functools.cache(compiled_recorder)


def as_recorded(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a row as a recorder would leave it: plain or unusual, but with labels that are not text yet."""
    kind, stamp, *values = row
    record = recorder_of(kind)
    if record is None:
        return UnusualRow(row)
    left: list[Row] = []
    buffer = SimpleNamespace(gate=True, rows=left, limit=2)
    record(SimpleNamespace(_buffer=buffer), *values, timestamp=None if type(stamp) is int else stamp)
    return row if type(left[0]) is tuple else UnusualRow(row)


def rows_of(drawn: list[tuple[Any, ...]]) -> list[Row]:
    """Number rows, and turn those into events that shall be."""
    rows: list[Row] = []
    for number, (kind, own_stamp, as_event, *values) in enumerate(drawn, start=1_000_000):
        stamp = number if own_stamp is None else own_stamp
        row: Row = as_recorded((kind, stamp, *values))
        if as_event:
            with contextlib.suppress(Exception):  # such an event cannot be made; it is tried as a row
                row = kind(*values, timestamp=stamp)
        rows.append(row)
    return rows


def handed_over(rows: list[Any], plain: bool) -> Batch:
    """Return events as a sink gets them from its queue."""
    pending, queue = PendingBatch(rows, 1), SliceQueue()
    pending.plain = plain
    queue.append(pending)
    return queue.events()


def is_valid(row: Any) -> bool:
    """Tell whether a row is valid, looked at by itself."""
    return checked(tuple(row) if isinstance(row, tuple) else row) is not None  # pyright: ignore[reportUnknownArgumentType]


def stamp_of(row: Any) -> Any:
    """Return a row's number."""
    return row[1] if isinstance(row, tuple) else row.timestamp  # pyright: ignore[reportUnknownVariableType]


def values_of(row: Any) -> tuple[Any, ...]:
    """Return what a row's fields hold."""
    if isinstance(row, tuple):
        return row[2:]  # pyright: ignore[reportUnknownVariableType]
    return tuple(getattr(row, name) for name in row.__metric_schema__.fields)


NAMED = {Counter, Histogram, Gauge, HistogramPoint}
PLACES: dict[type, list[int]] = {
    HttpRequest: [0, 1, 2],
    BackendRequest: [0, 1, 2, 4],
    HealthCheck: [0],
    CacheMetric: [0, 1],
    Job: [0, 5, 6],
    Plain: [1, 2, 3, 4, 5, 6],
    Empty: [],
}
"""Which fields are labels."""


@given(drawn=ROWS)
@settings(max_examples=400)
def test_a_batch_keeps_just_the_rows_that_are_valid_by_themselves(drawn: list[tuple[Any, ...]]) -> None:
    """In order, and sorted by class in order; whatever objects they hold, nothing is raised."""
    rows = rows_of(drawn)
    expected = [row for row in rows if is_valid(row)]
    kept, groups = rows_and_groups(valid([*rows]))
    assert [stamp_of(row) for row in kept] == [stamp_of(row) for row in expected]
    assert groups is not None
    by_class: dict[Any, list[object]] = {}
    for row in expected:
        by_class.setdefault(row[0] if isinstance(row, tuple) else type(row), []).append(stamp_of(row))
    assert {type(row) for row in kept if isinstance(row, tuple)} <= {tuple}
    assert {kind: [row[1] for row in group] for kind, group in groups.items() if group} == by_class


USUAL_VALUES: dict[type[MetricEvent], tuple[Any, ...]] = {
    HttpRequest: ("GET", "/", 200, 0.1),
    BackendRequest: ("p", "m", True, 0.1, None),
    HealthCheck: ("b", True, 0.1),
    CacheMetric: ("redis", "hit"),
    Counter: ("c", {"a": 1}, 1),
    Histogram: ("h", {"a": 1}, 1),
    Gauge: ("g", {"a": 1}, 1),
    HistogramPoint: ("h", {"a": 1}, 1, 0.5, (1.0,), (1, 0)),
    Job: ("q", 1, 1, 1, 1, True, 3),
    Plain: (1, "l", "d", "n", "s", "p", True, 2),
    Empty: (),
}


def one_strange(kind: type[MetricEvent]) -> Iterator[tuple[Any, ...]]:
    """Yield a class's values with one that is strange, among the labels too."""
    usual = USUAL_VALUES[kind]
    for at in range(len(usual)):
        for strange in STRANGE:
            yield (*usual[:at], strange, *usual[at + 1 :])
            if usual[at] == {"a": 1}:
                yield (*usual[:at], {"a": strange}, *usual[at + 1 :])


@pytest.mark.parametrize("kind", USUAL_VALUES, ids=named)
def test_a_row_with_one_strange_value_is_kept_if_it_is_valid_by_itself(kind: Any) -> None:
    """Beside a usual one, as a row and as an event; a store takes all that are kept."""
    good = USUAL_VALUES[kind]
    for values in one_strange(kind):
        rows: list[Row] = [as_recorded((kind, stamp, *each)) for stamp, each in enumerate((good, values, good))]
        by_itself = is_valid(rows[1])
        batches = [rows]
        try:
            batches.append([rows[0], kind(*values, timestamp=1), rows[2]])
        except RuntimeError:
            assert not by_itself
        for batch in batches:
            kept = valid([*batch])
            assert len(kept) == 2 + by_itself
            store = SeriesStore()
            store.merge(kept)
            for metric in store.snapshot():
                if kind is HttpRequest:
                    assert sum(point.count for point in metric.points) == len(kept)
                elif kind is CacheMetric:
                    assert sum(point.value for point in metric.points) == len(kept)


def test_a_point_of_numbers_that_cannot_be_added_costs_no_other_event() -> None:
    """It is invalid, or merged as plain numbers."""
    store = SeriesStore()
    for total in (0.5, Sticky(0.5), 0.5):
        store.merge([HistogramPoint("h", {}, 1, total, (1.0,), (1, 0)), Counter("c", {}, 1)])
    assert [metric.points[0].value for metric in store.snapshot() if metric.name == "c"] == [3]


@pytest.mark.parametrize("at", [0, 1])
def test_any_two_label_values_meet_only_where_their_texts_do(at: int) -> None:
    """Each with each, of one batch."""
    fine = [value for value in STRANGE if checked((CacheMetric, 1, value, value)) is not None]
    assert len(fine) > 30
    for one, two in product(fine, fine):
        rows = [as_recorded((CacheMetric, 1, *(("x", value) if at else (value, "x")))) for value in (one, two)]
        store = SeriesStore()
        store.merge(valid([*rows]))
        assert len(store) == (1 if as_text(one) == as_text(two) else 2), (one, two)


@pytest.mark.parametrize(
    "name",
    [
        *("intake", "ident", "row", "event_class", "time_ns", "get_ident", "len", "captured", "type", "rows", "value"),
        *("labels", "name", "check", "record", "default_x", "int", "float", "str", "bool", "cls", "exec", "v0", "v1"),
    ],
)
def test_a_field_may_have_any_name(name: str) -> None:
    """Also one that what is compiled might use itself."""
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


def labels_in(kind: type, values: tuple[Any, ...]) -> dict[Any, Any]:
    """Return the labels in a row's values, by their name or place."""
    return dict(values[1]) if kind in NAMED else {place: values[place] for place in PLACES[kind]}


@given(drawn=ROWS)
@settings(max_examples=400)
def test_labels_sorted_by_class_are_equal_only_where_their_texts_are(drawn: list[tuple[Any, ...]]) -> None:
    """They are what series are looked up by; and their texts are those of what was recorded."""
    rows = {stamp_of(row): row for row in rows_of(drawn)}
    _, groups = rows_and_groups(valid([*rows.values()]))
    for kind, group in (groups or {}).items():
        found: list[tuple[Any, Any]] = []  # where it stands, and what: a declared label is compared with itself only
        for row in group:
            given_labels, labels = labels_in(kind, values_of(rows[row[1]])), labels_in(kind, row[2:])
            found += [("", each) for each in (*labels.values(), *labels)] if kind in NAMED else labels.items()
            wanted = {as_text(name): as_text(value) for name, value in given_labels.items() if value is not None}
            assert {as_text(name): as_text(value) for name, value in labels.items() if value is not None} == wanted
            if kind in NAMED:
                assert type(row[2]) is str
                assert row[2]
            for value in row[2 + len(values_of(rows[row[1]])) :]:
                assert value is None
        for (where, one), (place, two) in combinations(found, 2):
            assert where != place or one != two or (hash(one) == hash(two) and as_text(one) == as_text(two))


class Region(enum.StrEnum):
    """A label value as applications define them."""

    EU = "eu"


COMMON: list[tuple[Any, str | None]] = [
    (True, "true"),
    (False, "false"),
    (1, "1"),
    (1.0, "1.0"),
    (0.5, "0.5"),
    (Region.EU, "eu"),
    (HTTPStatus.OK, "200"),
    (2**70, str(2**70)),
    ("x", "x"),
    (None, None),
]


@pytest.mark.parametrize("as_event", [False, True], ids=["rows", "events"])
def test_labels_of_common_types_are_made_plain_with_no_closer_look(as_event: bool) -> None:
    """A class at a time; the batch keeps them as they were given, and the rows stay what they are."""
    rows: list[Row] = []
    for number, (value, _) in enumerate(COMMON):
        rows.append((Counter, number, "c", {"a": value, "b": "b"}, 1.0))
        rows.append((CacheMetric, number, "redis", value))
        rows.append((HttpRequest, number, "GET", "/", value, 0.5))
        rows.append((HistogramPoint, number, "h", {"a": value, "b": "b"}, 2, number, (1.0, 2.0), (1, 0, 1)))
    if as_event:
        rows = [event_of(row) for row in rows]
    called: set[str] = set()
    sys.setprofile(lambda frame, _, __: called.add(frame.f_code.co_name))
    try:
        batch = valid([*rows])
    finally:
        sys.setprofile(None)
    assert "valid" in called
    assert "examined" not in called
    kept, groups = rows_and_groups(batch)
    assert all(one is other for one, other in zip(kept, rows, strict=True))
    assert groups is not None
    plain = [group[number] for number in range(len(COMMON)) for group in groups.values()]
    for name, group in zip(("a", "cache.operation", "http.response.status_code", "a"), groups.values(), strict=True):
        assert [labels_of(event_of(row)).get(name) for row in group] == [text for _, text in COMMON]
    handed = handed_over(kept, is_plain(batch))
    assert plain_rows(handed) == plain_rows(batch) == plain
    assert [*handed] == [event_of(row) for row in rows]


@given(drawn=ROWS)
@settings(max_examples=200)
def test_sinks_get_the_same_plain_rows_whichever_way_events_come(drawn: list[tuple[Any, ...]]) -> None:
    """As a payload of rows, and as the sorted rows of a merge."""
    batch = valid(rows_of(drawn))
    rows, groups = rows_and_groups(batch)
    as_sorted = {row[1]: row for group in (groups or {}).values() for row in group}
    handed = handed_over(rows, is_plain(batch))
    for row in plain_rows(handed):
        wanted = as_sorted[row[1]]
        assert row[:2] == wanted[:2]
        for one, other in zip(row[2:], wanted[2:], strict=True):
            if row[0] in NAMED and one is row[3]:
                texts = [{as_text(name): as_text(value) for name, value in each.items()} for each in (one, other)]
                assert texts[0] == texts[1]
            else:
                assert as_text(one) == as_text(other)


@given(drawn=ROWS)
@settings(max_examples=100)
def test_a_store_takes_whatever_is_valid(drawn: list[tuple[Any, ...]]) -> None:
    """Each event once: nothing that validation lets pass makes a merge raise."""
    # Sums of such ints: test_sums_of_huge_ints_do_not_stop_a_series, in test_aggregation.py.
    assume(not any(isinstance(value, int) and abs(value) > 2**1000 for row in drawn for value in row))
    store = SeriesStore()
    rows = rows_of(drawn)
    store.merge(valid([*rows]))
    kinds = [row[0] if isinstance(row, tuple) else type(row) for row in rows if is_valid(row)]
    metrics = {metric.name: metric for metric in store.snapshot()}
    counted: list[tuple[Any, str]] = [(CacheMetric, "cache.operations"), (Empty, "empty"), (Job, "job.runs")]
    timed: list[tuple[Any, str]] = [
        (HttpRequest, "http.server.request.duration"),
        (BackendRequest, "backend.request.duration"),
    ]
    for kind, name in timed:
        found = sum(point.count for point in metrics[name].points) if name in metrics else 0
        assert found == kinds.count(kind)
    for kind, name in counted:
        total = sum(point.value for point in metrics[name].points) if name in metrics else 0
        assert total == kinds.count(kind)


@given(drawn=st.one_of([one_row(kind) for kind in FIELDS]))
@settings(max_examples=300)
def test_a_made_recorder_counts_any_arguments_as_record_would(drawn: tuple[Any, ...]) -> None:
    """Where the class can be made of them at all; else they are invalid, and nothing is raised."""
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
            # Validation makes plain numbers of what was measured, in rows; an event stays as it was made.
            assert type(left) is type(right) or (type(left) in (int, float) and isinstance(right, type(left)))


# -- what runs code of its own


class Sums(SeriesSink[None]):
    """Merges into a store."""

    def __init__(self) -> None:
        """Start empty."""
        super().__init__(name="sums")
        self.store = SeriesStore()

    def merge(self, events: Any) -> None:
        """Merge."""
        self.store.merge(events)

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Push."""
        return None


class OnlyOnce:
    """Has text only so often."""

    def __init__(self, times: int) -> None:
        """Be willing so often."""
        self.left = times

    def __str__(self) -> str:
        """Give the text, or refuse."""
        if not self.left:
            raise RuntimeError("no more")
        self.left -= 1
        return "once"


@pytest.mark.parametrize("as_event", [False, True], ids=["row", "event"])
@pytest.mark.parametrize("value", [HUGE_LABEL, -HUGE_LABEL], ids=["positive", "negative"])
async def test_an_int_too_large_to_print_is_no_label(value: int, as_event: bool, autojump_clock: MockClock) -> None:
    """It is invalid, as value, as name, as a status; the others of its batch are fine."""
    sinks: list[Any] = [Sums(), RecordingSink()]
    bad: list[Call] = [
        (Counter, ("c", {"a": value}, 1), {}),
        (Counter, ("c", {value: "a"}, 1), {}),
        (HttpRequest, ("GET", "/", value, 0.1), {}),
        (BackendRequest, ("p", "m", value, 0.1), {}),
        (CacheMetric, (value, "hit"), {}),
        (Job, (value, 1, 1, 1, 1), {}),
        (Job, ("q", 1, 1, 1, 1), {"code": value}),
        (HistogramPoint, ("h", {"a": value}, 1, 1.0, (1.0,), (1, 0)), {}),
    ]
    async with collector(sinks=sinks) as metrics:
        for kind, positional, keyword in bad:
            metrics.record_counter("c", {"a": 1}, 1)
            if as_event:
                metrics.record(kind(*positional, **keyword))
            else:
                metrics.make_recorder(kind)(*positional, **keyword)
            metrics.record_http_request("GET", "/", 200, 0.1)
    assert told(metrics.stats()) == (3 * len(bad), 2 * len(bad), 0, {"invalid": len(bad)})
    assert len(sinks[1].events) == 2 * len(bad)
    assert [sum(point.count or point.value for point in metric.points) for metric in sinks[0].store.snapshot()] == [
        len(bad)
    ] * 2


@pytest.mark.parametrize("times", [0, 1])
async def test_a_label_whose_text_is_not_always_to_be_had_costs_no_other_event(
    times: int, autojump_clock: MockClock
) -> None:
    """Such as a lazy object of the application's; it is invalid, or merged with the text it had."""
    sink = Sums()
    async with collector(sinks=[sink]) as metrics:
        metrics.record_counter("c", {"a": "b"}, 1)
        metrics.record_counter("c", {"a": OnlyOnce(times)}, 1)
        metrics.record_cache_metric("redis", "hit")
        await metrics.flush()
        metrics.record_counter("c", {"a": "b"}, 1)
    stats = balanced(metrics.stats())
    assert (stats.total_events, stats.failed_events) == (4, 0)
    assert stats.processed_events >= 3
