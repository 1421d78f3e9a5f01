"""Event classes of every shape that a recorder may be made from, and a way to see the outcome of a call."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import attrs
import trio
from trio.testing import MockClock

from tests.helpers import balanced
from tests.tally import Job
from trio_batchmetrics import (
    BackendRequest,
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
from trio_batchmetrics.testing import RecordingSink

__all__ = [
    "CALLS",
    "HUGE_LABEL",
    "ODD",
    "Call",
    "Checked",
    "Derived",
    "Empty",
    "Fresh",
    "Odd",
    "OwnInit",
    "Plain",
    "PostInit",
    "PreInit",
    "Undecorated",
    "fresh",
    "named",
    "outcome",
    "told",
]

HUGE_LABEL = 10**5000
"""An int that Python refuses to print (``sys.set_int_max_str_digits``)."""


@metric_event
class Odd(MetricEvent):
    """A class whose fields have names that a compiled function might use itself."""

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
    """A class like `Odd` without a name that the recorder uses, so its recorder is compiled."""

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
    """An event that is only counted."""


def fresh() -> list[str]:
    """Create a default value."""
    return ["fresh"]


@metric_event
class Fresh(MetricEvent):
    """A class with a default that is created anew for each event."""

    size: int = measure(Counter, "fresh")
    tags: Any = label("tags", default=attrs.Factory(fresh))


@metric_event
class Derived(MetricEvent):
    """A class with a default that depends on the event."""

    size: int = measure(Counter, "derived")
    size_class: Any = label("size_class")

    @size_class.default  # type: ignore[untyped-decorator]
    def _size_class(self) -> str:
        return "large" if self.size > 10 else "small"


@metric_event
class Checked(MetricEvent):
    """A class that checks its arguments."""

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
    """A class that is created from something other than its fields."""

    host: str = label("host")
    size: int = measure(Counter, "own.init")

    def __init__(self, url: str, size: int = 1, **rest: int) -> None:
        """Extract the host from a URL."""
        made: Any = self
        made.__attrs_init__(url.split("/")[2], size, **rest)


@metric_event
class PostInit(MetricEvent):
    """A class that checks itself once it is created."""

    queue: str = label("queue")
    size: int = measure(Counter, "post.init")

    def __attrs_post_init__(self) -> None:
        """Refuse one queue."""
        if self.queue == "bad":
            raise ValueError("bad")


@metric_event
class PreInit(MetricEvent):
    """A class that checks its arguments before it is created."""

    queue: str = label("queue")
    size: int = measure(Counter, "pre.init")

    def __attrs_pre_init__(self, queue: str, *_: object, **__: object) -> None:
        """Refuse one queue."""
        if queue == "bad":
            raise ValueError("bad")


class Undecorated(HttpRequest):
    """A subclass that isn't a declaration of its own."""


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


def named(call: object) -> str | None:
    """Return the class's name as the id of a test's parameter."""
    return call.__name__ if isinstance(call, type) else None


def told(stats: BatchMetricsStats) -> tuple[Any, ...]:
    """Return the outcome of events."""
    balanced(stats)
    return stats.total_events, stats.processed_events, stats.pending_events, stats.dropped


def outcome(record: Callable[[BatchMetricsCollector], object], **settings: Any) -> tuple[list[MetricEvent], Any]:
    """Record in a fresh collector; return the events that arrived and the counts."""
    sink = RecordingSink()

    async def main() -> BatchMetricsStats:
        async with collector(BatchMetricsConfig(**settings), sinks=[sink]) as metrics:
            record(metrics)
        return metrics.stats()

    counted = told(trio.run(main, clock=MockClock(autojump_threshold=0)))
    return sink.events, counted
