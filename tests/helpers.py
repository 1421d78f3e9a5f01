"""Shared helpers: the ledger's equations, the distribution of random pauses, and interruption wherever CPython may."""

from __future__ import annotations

import dis
import re
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Literal

import trio
from hypothesis import settings
from trio.testing import MockClock

from trio_batchmetrics import (
    BatchMetricsCollector,
    BatchMetricsStats,
    CacheMetric,
    Counter,
    FlushReport,
    MetricEvent,
)
from trio_batchmetrics import __file__ as package_file

__all__ = [
    "MANY",
    "PACKAGE",
    "RECORDERS",
    "Policy",
    "assert_full_jitter",
    "assert_goes_on",
    "balanced",
    "examples",
    "ids",
    "interrupted_at",
    "report_balanced",
    "run_at_every_point",
    "stable_id",
]

PACKAGE = str(Path(package_file).parent)
"""The folder of the library under test."""

Policy = Literal["drop_newest", "drop_oldest"]
"""The values of ``on_full``."""

COMPILED = "<trio_batchmetrics "
"""The prefix of the file names of functions that the library compiles."""


def balanced(stats: BatchMetricsStats) -> BatchMetricsStats:
    """Assert that both equations hold and that no count is below 0; return the stats."""
    parts = (
        stats.processed_events,
        stats.dropped_events,
        stats.failed_events,
        stats.spooled_events,
        stats.pending_events,
    )
    assert min(parts) >= 0, stats
    assert stats.total_events == sum(parts), stats
    assert stats.dropped_events == sum(stats.dropped.values()), stats
    for sink in stats.sinks.values():
        counts = (sink.delivered, sink.rejected, sink.failed, sink.spooled, sink.pending)
        assert min(counts) >= 0, stats
        assert sink.total == sum(counts), stats
        assert sink.failed == sum(sink.failures.values()), stats
        assert sink.total <= stats.total_events, stats
    return stats


def report_balanced(report: FlushReport, expected: int) -> FlushReport:
    """Assert that a flush accounts for the events that were pending at the call."""
    assert report.processed + report.failed + report.spooled + report.dropped + report.pending == expected, report
    return report


async def assert_goes_on(metrics: BatchMetricsCollector) -> None:
    """Assert that a collector delivers events recorded from now on, in virtual time: counters with ids from 100 on."""
    for number in range(100, 103):
        await trio.sleep(6)
        metrics.record_counter("c", {"id": number}, 1)
    await trio.sleep(6)
    assert balanced(metrics.stats()).pending_events == 0
    with trio.fail_after(1):
        assert (await metrics.flush()).ok


def ids(events: list[MetricEvent]) -> list[Any]:
    """Return the label ``id`` of each counter among the events."""
    return [event.labels["id"] for event in events if isinstance(event, Counter) and "id" in event.labels]


@lru_cache(maxsize=1)
def _made(metrics: BatchMetricsCollector) -> Callable[[str, str], None]:
    """Return the same made recorder each time, because making it isn't the code to interrupt."""
    return metrics.make_recorder(CacheMetric)


RECORDERS: dict[str, Callable[[BatchMetricsCollector], object]] = {
    "record": lambda metrics: metrics.record(Counter("c", {}, 1)),
    "record_http_request": lambda metrics: metrics.record_http_request("GET", "/", 200, 0.1),
    "record_backend_request": lambda metrics: metrics.record_backend_request("p", "m", True, 0.1),
    "record_health_check": lambda metrics: metrics.record_health_check("b", True, 0.1),
    "record_cache_metric": lambda metrics: metrics.record_cache_metric("redis", "hit"),
    "record_counter": lambda metrics: metrics.record_counter("c", {}, 1),
    "record_histogram": lambda metrics: metrics.record_histogram("h", {}, 1),
    "record_gauge": lambda metrics: metrics.record_gauge("g", {}, 1),
    "make_recorder": lambda metrics: _made(metrics)("redis", "hit"),
    "add": lambda metrics: metrics.counter("bound").add(),
    "set": lambda metrics: metrics.gauge("bound gauge").set(1),
    "inc": lambda metrics: metrics.gauge("bound gauge").inc(),
    "dec": lambda metrics: metrics.gauge("bound gauge").dec(),
    "observe": lambda metrics: metrics.histogram("bound histogram").observe(1),
}
"""A call of each plain method that records, and of a made recorder, by name."""

MANY = 60
"""Sinks at a time, to see where random pauses lie: all 60 miss a given quarter with a chance of 3 in 10⁸."""


def assert_full_jitter(pauses: Sequence[float], longest: float) -> None:
    """Assert that random pauses are spread over 0 … longest and stay within it."""
    assert min(pauses) >= 0
    assert max(pauses) <= longest
    assert min(pauses) < longest / 4
    assert max(pauses) > longest * 3 / 4


_CALLS = frozenset({"CALL", "CALL_FUNCTION_EX", "CALL_KW"})


@cache
def _points(code: CodeType) -> frozenset[int]:
    """Return the offsets in a function before which CPython runs signal handlers: entry, after a call, a jump back."""
    found: set[int] = set()
    after = False
    for instruction in dis.get_instructions(code):
        if after or instruction.opname == "JUMP_BACKWARD":
            found.add(instruction.offset)
        after = instruction.opname == "RESUME" or instruction.opname in _CALLS
    return frozenset(found)


@cache
def _calls(code: CodeType) -> frozenset[int]:
    """Return the offsets of the calls in a function."""
    return frozenset(each.offset for each in dis.get_instructions(code) if each.opname in _CALLS)


def _warm_up() -> None:
    """Trace a function once by opcode, because CPython 3.12 leaves out the very first one."""

    def traced() -> None:
        len("")

    sys.settrace(lambda frame, _event, _arg: setattr(frame, "f_trace_opcodes", True))
    traced()
    sys.settrace(None)


if sys.version_info[:2] == (3, 12):
    _warm_up()


@contextmanager
def interrupted_at(
    point: int, action: Callable[[], object], *, within: str = PACKAGE, before_calls: bool = False
) -> Generator[list[int], None, None]:
    """Run an action in the middle of the library's code, once, at the n-th place where a signal handler may run.

    Args:
        point: which place, from 0 on, counted over all code that runs inside the ``with`` block in this thread.
        action: what to run there, on top of the interrupted frame.
        within: the folder of another library to interrupt instead; this library includes the code it compiles.
        before_calls: use the places before each call instead, which is where a RecursionError may be raised.

    Yields:
        A list of one number: how many places were passed.
    """
    passed = [0]
    points = _calls if before_calls else _points
    files = (within, COMPILED) if within == PACKAGE else (within,)

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if not frame.f_code.co_filename.startswith(files):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and frame.f_lasti in points(frame.f_code):
            passed[0] += 1
            if passed[0] == point + 1:
                sys.settrace(None)
                action()
                sys.settrace(trace)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield passed
    finally:
        sys.settrace(before)


def run_at_every_point(play: Callable[[int], Any], least: int, *, stride: int = 1) -> None:
    """Play a scenario interrupted at its first place, then at its second, and so on, until there is none left.

    Args:
        play: takes the place, returns how many there were.
        least: the minimum number of places in the scenario.
        stride: 1 to try every place; long scenarios try only every n-th (``POINTS_STRIDE=1`` tries all).
    """
    point = 0
    while trio.run(play, point, clock=MockClock(autojump_threshold=0)) > point:
        point += stride
    assert point >= least, "the scenario did not run the library's code"


def stable_id(value: object) -> str:
    """Return an object's text as a test id that is the same in each process, without addresses and times."""
    return re.sub(r" at 0x[0-9a-f]+|, timestamp=[0-9]{19}", "", str(value))


def examples(count: int) -> int:
    """Scale the number of examples that a test runs in CI to the present profile of Hypothesis."""
    return max(1, count * settings.default.max_examples // 100) if settings.default is not None else count
