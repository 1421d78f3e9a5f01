"""Bytes a buffered event takes, whether memory grows, and how long the garbage collector stops the program.

Measured in a process of its own, ``python -m benchmarks.memory EVENTS``, which prints JSON: what other benchmarks
import would be the collector's work too.
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

from .draining import nothing
from .effort import Effort
from .figures import Figure, Outcome
from .processes import program
from .recording import ROOM

__all__ = ["run"]

BUFFERED = 50_000
"""Events in the buffer while their bytes are counted."""
PIECE = 1000
"""Events recorded between two flushes."""


async def _bytes_an_event() -> float:
    """With a float and a time of its own each; the labels are the same objects."""
    async with collector(ROOM, sinks=[]) as metrics:
        metrics.record_http_request("GET", "/api/data", 200, random.random())
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(BUFFERED):
            metrics.record_http_request("GET", "/api/data", 200, random.random())
        taken = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        return taken / BUFFERED


async def _growth(events: int) -> float:
    """Record and drain; return by how many bytes the second half took more than the first, its first tenth left out.

    The least of each, since Trio keeps the deadlines of scopes that were left and sweeps them now and then.
    """
    pieces = events // PIECE
    taken = array("Q", [0] * pieces)  # made before, so that it is no growth
    async with collector(sinks=[nothing]) as metrics:
        tracemalloc.start()
        for piece in range(pieces):
            for _ in range(PIECE):
                metrics.record_http_request("GET", "/api/data", 200, random.random())
            await metrics.flush()
            taken[piece] = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    return min(taken[pieces // 2 :]) - min(taken[pieces // 10 : pieces // 2])


class _Pauses:
    """How long the garbage collector ran, each time, in nanoseconds."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self._start = 0

    def __call__(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._start = perf_counter_ns()
        else:
            self.taken.append(perf_counter_ns() - self._start)


async def _pauses() -> dict[str, float]:
    """Fill the buffer and drain it, again and again; collect all garbage while it is empty, and while it is full.

    Twice in a row, as the first collection finds what was thrown away since the last.
    """
    size = BatchMetricsConfig().buffer_size
    pauses = _Pauses()
    natural: list[int] = []
    empty: list[int] = []
    full: list[int] = []
    gc.callbacks.append(pauses)
    async with collector(sinks=[nothing]) as metrics:
        for _ in range(20):
            gc.collect()
            gc.collect()
            empty.append(pauses.taken[-1])
            pauses.taken.clear()
            for _ in range(size):
                metrics.record_http_request("GET", "/api/data", 200, random.random())
            natural += pauses.taken
            gc.collect()
            gc.collect()
            full.append(pauses.taken[-1])
            pauses.taken.clear()
            await metrics.flush()
            natural += pauses.taken
    gc.callbacks.remove(pauses)
    return {"natural": max(natural) / 1e6, "empty": min(empty) / 1e6, "full": min(full) / 1e6}


def main() -> None:
    """Measure all and print it."""
    pauses = trio.run(_pauses)
    print(json.dumps({"bytes": trio.run(_bytes_an_event), "grown": trio.run(_growth, int(sys.argv[1])), **pauses}))


def run(effort: Effort) -> Outcome:
    """Measure."""
    found: dict[str, Any] = program("memory", effort.events)
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
