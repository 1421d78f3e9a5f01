"""Measures the bytes per buffered event, the growth of memory, and the pauses of the garbage collector.

It runs in a separate process, ``python -m benchmarks.memory EVENTS``, which prints JSON: the imports of other
benchmarks would add to the garbage collector's work.
"""

from __future__ import annotations

import gc
import json
import random
import sys
import tracemalloc
from array import array
from time import perf_counter_ns
from typing import Any

import trio

from trio_batchmetrics import BatchMetricsConfig, collector

from .draining import discard
from .effort import Effort
from .figures import Figure, Outcome
from .processes import run_program
from .recording import ROOM

__all__ = ["run"]

BUFFERED = 50_000
"""The number of events in the buffer while their bytes are counted."""
PIECE = 1000
"""The number of events between two flushes."""


async def _bytes_an_event() -> float:
    """Return the bytes per buffered event. Each has its own float and time; the labels are the same objects."""
    async with collector(ROOM, sinks=[]) as metrics:
        metrics.record_http_request("GET", "/api/data", 200, random.random())
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(BUFFERED):
            metrics.record_http_request("GET", "/api/data", 200, random.random())
        traced = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        return traced / BUFFERED


async def _growth(events: int) -> float:
    """Record and drain; return how many more bytes the second half took than the first, without the first tenth.

    The minimum of each counts, because Trio keeps the deadlines of exited scopes and removes them only now and then.
    """
    pieces = events // PIECE
    traced = array("Q", [0] * pieces)  # created before, so that it doesn't count as growth
    async with collector(sinks=[discard]) as metrics:
        tracemalloc.start()
        for piece in range(pieces):
            for _ in range(PIECE):
                metrics.record_http_request("GET", "/api/data", 200, random.random())
            await metrics.flush()
            traced[piece] = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    return min(traced[pieces // 2 :]) - min(traced[pieces // 10 : pieces // 2])


class _Pauses:
    """Records the duration of each garbage collection, in nanoseconds."""

    def __init__(self) -> None:
        self.durations: list[int] = []
        self._start = 0

    def __call__(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._start = perf_counter_ns()
        else:
            self.durations.append(perf_counter_ns() - self._start)


async def _pauses() -> dict[str, float]:
    """Fill and drain the buffer repeatedly; collect all garbage while it is empty and while it is full.

    Each collection runs twice in a row, because the first one finds the garbage since the last.
    """
    size = BatchMetricsConfig().buffer_size
    pauses = _Pauses()
    natural: list[int] = []
    empty: list[int] = []
    full: list[int] = []
    gc.callbacks.append(pauses)
    async with collector(sinks=[discard]) as metrics:
        for _ in range(20):
            gc.collect()
            gc.collect()
            empty.append(pauses.durations[-1])
            pauses.durations.clear()
            for _ in range(size):
                metrics.record_http_request("GET", "/api/data", 200, random.random())
            natural += pauses.durations
            gc.collect()
            gc.collect()
            full.append(pauses.durations[-1])
            pauses.durations.clear()
            await metrics.flush()
            natural += pauses.durations
    gc.callbacks.remove(pauses)
    return {"natural": max(natural) / 1e6, "empty": min(empty) / 1e6, "full": min(full) / 1e6}


def main() -> None:
    """Measure everything and print it."""
    pauses = trio.run(_pauses)
    print(json.dumps({"bytes": trio.run(_bytes_an_event), "grown": trio.run(_growth, int(sys.argv[1])), **pauses}))


def run(effort: Effort) -> Outcome:
    """Run the benchmark."""
    found: dict[str, Any] = run_program("memory", effort.events)
    events = f"{effort.events:_}".replace("_", " ")
    return Outcome(
        [
            Figure("a buffered event, its labels shared", found["bytes"], "B", 170),
            Figure(f"growth of memory from {events} events, recorded and drained", found["grown"] / 1000, "kB", 10),
            Figure(
                "longest pause of the garbage collector while the default buffer fills and is drained",
                found["natural"],
                "ms",
            ),
            Figure("a collection of all garbage while the default buffer is full", found["full"], "ms"),
            Figure("a collection of all garbage while it is empty", found["empty"], "ms"),
        ]
    )


if __name__ == "__main__":
    main()
