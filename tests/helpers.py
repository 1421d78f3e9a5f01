"""What many tests need: the law of the ledger, and a way to interrupt code wherever CPython may."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from trio_batchmetrics import BatchMetricsStats, Counter, FlushReport, MetricEvent
from trio_batchmetrics import __file__ as package_file

__all__ = ["PACKAGE", "balanced", "ids", "interrupted_at", "report_balanced"]

PACKAGE = str(Path(package_file).parent)
"""The folder of the library under test."""


def balanced(stats: BatchMetricsStats) -> BatchMetricsStats:
    """Assert the two equations, and that no count is below 0; return the stats."""
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
    """Assert that a flush accounts for what was pending at the call."""
    assert report.processed + report.failed + report.spooled + report.dropped + report.pending == expected, report
    return report


def ids(events: list[MetricEvent]) -> list[Any]:
    """Return the label ``id`` of each counter among the events."""
    return [event.labels["id"] for event in events if isinstance(event, Counter) and "id" in event.labels]


_POINTS: dict[CodeType, frozenset[int]] = {}


def _points(code: CodeType) -> frozenset[int]:
    """Return the offsets in a function before which CPython runs signal handlers: entry, after a call, a jump back."""
    if code not in _POINTS:
        found: set[int] = set()
        after = False
        for instruction in dis.get_instructions(code):
            name = instruction.opname
            if after or name == "JUMP_BACKWARD":
                found.add(instruction.offset)
            after = name in ("RESUME", "CALL", "CALL_FUNCTION_EX", "CALL_KW")
        _POINTS[code] = frozenset(found)
    return _POINTS[code]


def _warm_up() -> None:
    """Have a function traced once by opcode: CPython 3.12 leaves out the first that ever is."""

    def traced() -> None:
        len("")

    sys.settrace(lambda frame, _event, _arg: setattr(frame, "f_trace_opcodes", True))
    traced()
    sys.settrace(None)


if sys.version_info[:2] == (3, 12):
    _warm_up()


@contextmanager
def interrupted_at(point: int, action: Callable[[], object]) -> Generator[list[int], None, None]:
    """Run an action in the middle of the library's code, once, at the n-th place where a signal handler may run.

    Args:
        point: which place, from 0 on, counted over all that runs inside the ``with`` block in this thread.
        action: what to run there, in the frame that stands there.

    Yields:
        A list of one number: how many places were passed.
    """
    passed = [0]

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and frame.f_lasti in _points(frame.f_code):
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
