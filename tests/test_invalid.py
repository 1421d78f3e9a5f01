"""The log line that explains why an event is invalid: its content and its frequency."""

import logging
from collections.abc import Callable, Generator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.bad_values import HUGE, EvilClass, EvilFloat, RaisingMapping, Unprintable
from tests.helpers import balanced
from trio_batchmetrics import (
    BatchMetricsCollector,
    CacheMetric,
    Counter,
    HistogramPoint,
    HttpRequest,
    MetricEvent,
    collector,
    label,
    measure,
    metric_event,
)
from trio_batchmetrics._events.invalid import InvalidError, InvalidEvents

PREFIX = "metrics: invalid: "


class Lines(logging.Handler):
    """A handler that keeps the lines about invalid events, with their levels."""

    def __init__(self) -> None:
        """Create an empty handler."""
        super().__init__()
        self.lines: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        message = record.getMessage()
        if message.startswith(PREFIX):
            self.lines.append((record.levelno, message.removeprefix(PREFIX)))

    @property
    def texts(self) -> list[str]:
        """The texts of the lines."""
        return [line for _, line in self.lines]


@pytest.fixture
def lines() -> Generator[Lines, None, None]:
    """Listen to the library's logger."""
    handler, logger = Lines(), logging.getLogger("trio_batchmetrics")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@pytest.fixture
def at_debug() -> Generator[None, None, None]:
    """Let the library's logger log everything."""
    logger = logging.getLogger("trio_batchmetrics")
    before = logger.level
    logger.setLevel(logging.DEBUG)
    yield
    logger.setLevel(before)


@metric_event
class Picky(MetricEvent):
    """A class that refuses all arguments."""

    queue: str = label("queue")

    def __attrs_post_init__(self) -> None:
        """Raise an error."""
        raise ValueError("not that one")


@metric_event
class Job(MetricEvent):
    """An event class of a user."""

    queue: Any = label("queue")
    size: Any = measure(Counter, "job.size")


class Forgotten(MetricEvent):
    """A class that lacks the decorator."""


class LongRepr:
    """An object with a long repr of several lines."""

    def __repr__(self) -> str:
        """Return a very long text."""
        return "line\n" * 1000


Record = Callable[[Any], object]
SAID: list[tuple[Record, str]] = [
    (
        lambda metrics: metrics.record_http_request("GET", "/", 200, None),
        "HttpRequest.duration must be a number (got NoneType)",
    ),
    (
        lambda metrics: metrics.record_http_request("GET", "/", 200, "0.5"),
        "HttpRequest.duration must be a number (got str: '0.5')",
    ),
    (
        lambda metrics: metrics.record(HttpRequest("GET", "/", 200, -0.5)),
        "HttpRequest.duration must be >= 0 (got float: -0.5)",
    ),
    (
        lambda metrics: metrics.record_http_request("GET", "/", 200, timedelta(seconds=-1)),
        "HttpRequest.duration must be >= 0 (got timedelta: datetime.timedelta(days=-1, seconds=8639)",
    ),
    (
        lambda metrics: metrics.record_counter("jobs", {}, float("nan")),
        "Counter.value of 'jobs' must be finite (got float: nan)",
    ),
    (lambda metrics: metrics.record_counter("jobs", {}, -1), "Counter.value of 'jobs' must be >= 0 (got int: -1)"),
    (lambda metrics: metrics.record_gauge("g", {}, True), "Gauge.value of 'g' must be a number (got bool: True)"),
    (lambda metrics: metrics.record_gauge("g", {}, HUGE), "Gauge.value of 'g' must fit into a float (got int: 1000"),
    (
        lambda metrics: metrics.record_gauge("g", {}, Decimal("NaN")),
        "Gauge.value of 'g' must be finite (got Decimal: Decimal('NaN'))",
    ),
    (
        lambda metrics: metrics.record_gauge("g", {}, timedelta(seconds=1)),
        "Gauge.value of 'g' must be a number (got timedelta: datetime.timedelta(seconds=1))",
    ),
    (lambda metrics: metrics.record_gauge("g", {}, EvilFloat(1.5)), "Gauge.value of 'g' must be a number (got EvilFl"),
    (lambda metrics: metrics.record_gauge("g", {}, EvilClass()), "Gauge.value of 'g' must be a number (got EvilClass"),
    (lambda metrics: metrics.record_counter("", {}, 1), "Counter.name must be a non-empty str (got str: '')"),
    (lambda metrics: metrics.record_counter(3, {}, 1), "Counter.name must be a non-empty str (got int: 3)"),
    (lambda metrics: metrics.record_counter("c", None, 1), "Counter.labels must be a mapping (got NoneType)"),
    (
        lambda metrics: metrics.record_counter("c", RaisingMapping(), 1),
        "Counter.labels must be readable (got RaisingMapping, which raised RuntimeError)",
    ),
    (
        lambda metrics: metrics.record_counter("c", {"a": Unprintable()}, 1),
        "Counter.labels must have text (got Unprintable, which raised RuntimeError)",
    ),
    (
        lambda metrics: metrics.record_cache_metric("redis", Unprintable()),
        "CacheMetric.operation must have text (got Unprintable, which raised RuntimeError)",
    ),
    (
        lambda metrics: metrics.record_cache_metric("redis", 10**5000),
        "CacheMetric.operation must have text (got int, which raised ValueError)",
    ),
    (
        lambda metrics: metrics.make_recorder(Job)("q", "x" * 100_000),
        f"Job.size must be a number (got str: '{'x' * 39})",
    ),
    (
        lambda metrics: metrics.make_recorder(Job)("q", b"\x00" * 100_000),
        "Job.size must be a number (got bytes: b'\\x0",
    ),
    (
        lambda metrics: metrics.make_recorder(Job)("q", LongRepr()),
        "Job.size must be a number (got LongRepr: line\\nline\\nline\\n",
    ),
    (lambda metrics: metrics.make_recorder(Job)("q", [1] * 10**6), "Job.size must be a number (got list: [1, 1, 1, "),
    (lambda metrics: metrics.make_recorder(Picky)("q"), "Picky must accept its fields (got ValueError: ValueError("),
    (lambda metrics: metrics.record("hit"), "record() takes a MetricEvent (got str: 'hit')"),
    (lambda metrics: metrics.record(None), "record() takes a MetricEvent (got NoneType)"),
    (lambda metrics: metrics.record(EvilClass()), "record() takes a MetricEvent (got EvilClass"),
    (lambda metrics: metrics.record(Forgotten()), "Forgotten must be declared with @metric_event (got Forgotten"),
    (
        lambda metrics: metrics.record(object.__new__(CacheMetric)),
        "CacheMetric must be an event that can be read (got CacheMetric, which raised AttributeError)",
    ),
    (
        lambda metrics: metrics.record(CacheMetric("a", "b", timestamp=1.5)),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        "CacheMetric.timestamp must be an int (got float: 1.5)",
    ),
    (
        lambda metrics: metrics.record(HistogramPoint("h", {}, -1, 1.0, (1.0,), (1, 1))),
        "HistogramPoint.count of 'h' must be an int >= 0 (got int: -1)",
    ),
    (
        lambda metrics: metrics.record(HistogramPoint("h", {}, 2, 1.0, (2.0, 1.0), (1, 1, 0))),
        "HistogramPoint.bounds of 'h' must be a tuple of finite numbers, strictly increasing (got tuple: (2.0, 1.0))",
    ),
    (
        lambda metrics: metrics.record(HistogramPoint("h", {}, 2, 1.0, (1.0,), (1, 2))),
        "HistogramPoint.counts of 'h' must be a tuple of ints >= 0, one more than bounds, that sum to count (got tup",
    ),
]


@pytest.mark.parametrize(("record", "said"), SAID, ids=[said[:60] for _, said in SAID])
async def test_an_invalid_event_is_traceable(
    record: Record, said: str, lines: Lines, autojump_clock: MockClock
) -> None:
    """The line names the class, the field or instrument, the rule, the value's type and its start, on one line."""
    async with collector(sinks=[]) as metrics:
        record(metrics)
        metrics.record_cache_metric("redis", "hit")
        await metrics.flush()
        [line] = lines.texts
    assert line.startswith(said)
    assert line.isprintable()
    assert len(line) < 200
    assert lines.lines == [(logging.WARNING, line)]
    assert balanced(metrics.stats()).dropped == {"invalid": 1}


async def test_a_line_is_logged_once_a_minute_for_each_class_field_and_rule(
    lines: Lines, autojump_clock: MockClock
) -> None:
    """Other classes, fields and rules are logged at once."""
    unprintable: Any = Unprintable()
    async with collector(sinks=[]) as metrics:
        for _ in range(130):
            for number in range(3):
                metrics.record_counter(f"jobs {number}", {}, -number - 1)
                metrics.record_counter("jobs", {}, float("inf"))
                metrics.record_gauge("jobs", {}, float("inf"))
                metrics.record_cache_metric("redis", unprintable)
            await metrics.flush()
            await trio.sleep(1)
    once = [
        "Counter.value of 'jobs 0' must be >= 0 (got int: -1)",
        "Counter.value of 'jobs' must be finite (got float: inf)",
        "Gauge.value of 'jobs' must be finite (got float: inf)",
        "CacheMetric.operation must have text (got Unprintable, which raised RuntimeError)",
    ]
    assert sorted(lines.texts) == sorted(once * 3)
    assert {level for level, _ in lines.lines} == {logging.WARNING}


@pytest.mark.usefixtures("at_debug")
async def test_at_debug_every_invalid_event_is_logged(lines: Lines, autojump_clock: MockClock) -> None:
    """All invalid events of a batch are logged; those that aren't due at WARNING are logged at DEBUG."""
    async with collector(sinks=[]) as metrics:
        for number in range(1, 1201):
            metrics.record_counter("jobs", {}, -number)
        await metrics.flush()
    assert lines.texts == [f"Counter.value of 'jobs' must be >= 0 (got int: {-number})" for number in range(1, 1201)]
    assert [level for level, _ in lines.lines] == [logging.WARNING, *[logging.DEBUG] * 1199]


async def test_a_logging_handler_may_record_invalid_events(autojump_clock: MockClock) -> None:
    """It triggers itself no faster than batches come, and no loss goes uncounted."""
    held: list[BatchMetricsCollector] = []

    class Recording(logging.Handler):
        """A handler that records an invalid event for each line."""

        def emit(self, record: logging.LogRecord) -> None:
            """Record an invalid event."""
            held[0].record_counter("", {}, 1)
            held[0].record(record)

    handler, logger = Recording(), logging.getLogger("trio_batchmetrics")
    logger.addHandler(handler)
    try:
        async with collector(sinks=[]) as metrics:
            held.append(metrics)
            metrics.record_counter("c", {}, -1)
            await trio.sleep(30)
    finally:
        logger.removeHandler(handler)
    stats = balanced(metrics.stats())
    assert stats.pending_events == 0
    assert stats.dropped.keys() <= {"invalid", "closed"}
    assert stats.total_events < 50


async def test_a_disabled_or_left_collector_logs_nothing_about_values(lines: Lines, autojump_clock: MockClock) -> None:
    """Events recorded there aren't examined."""
    async with collector(sinks=[]) as metrics:
        pass
    nothing: Any = None
    metrics.record(nothing)
    metrics.record_counter("", {}, 1)
    assert lines.texts == []
    assert balanced(metrics.stats()).dropped == {"closed": 2}


def test_the_memory_of_faults_is_bounded(lines: Lines) -> None:
    """A program that creates event classes without end is logged more often, and memory stays bounded."""
    now = [0.0]
    invalid = InvalidEvents(lambda: now[0])
    for number in range(2500):
        invalid.note(InvalidError(f"Class{number}", "field", "must be good", number))
    invalid.log()
    assert lines.texts == [f"Class{n}.field must be good (got int: {n})" for n in range(1500, 2500)]
    assert len(invalid) <= 1000


def test_a_fault_is_due_again_after_a_minute_by_the_given_clock(lines: Lines) -> None:
    """Any clock may be given."""
    now = [100.0]
    invalid = InvalidEvents(lambda: now[0])
    for moment in (100.0, 159.9, 160.0, 200.0, 219.9, 220.0):
        now[0] = moment
        invalid.note(InvalidError("Job", "size", "must be good", moment))
    invalid.log()
    assert lines.texts == [f"Job.size must be good (got float: {moment})" for moment in (100.0, 160.0, 220.0)]
