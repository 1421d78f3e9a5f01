"""Counts events lost in a busy run loop: with many runnable tasks that record, and bursts between checkpoints.

The sink does nothing, so only the library could lose an event. A concurrent task sleeps for a millisecond again and
again, with and without recording. The cost is the delay of its wake-ups.
"""

from __future__ import annotations

from functools import partial
from time import perf_counter

import trio

from trio_batchmetrics import Batch, BatchMetricsCollector, collector

from .effort import Effort
from .figures import Figure, Outcome

__all__ = ["run"]

TASKS = (300, 1_000, 5_000)
"""The numbers of runnable tasks, each with 20 µs of work and one record per pass of the run loop."""
WORK = 20e-6
BURSTS = (200, 3_000)
"""The numbers of events that one task records between two checkpoints."""
SLEEP_SECONDS = 0.001


async def _nothing(batch: Batch) -> None:
    """Do nothing with a batch; a sink."""


async def _sleep(durations: list[float]) -> None:
    while True:
        start = perf_counter()
        await trio.sleep(SLEEP_SECONDS)
        durations.append(perf_counter() - start)


async def _work(metrics: BatchMetricsCollector | None) -> None:
    while True:
        end = perf_counter() + WORK
        while perf_counter() < end:
            pass
        if metrics is not None:
            metrics.record_http_request("GET", "/", 200, 0.1)
        await trio.lowlevel.checkpoint()


async def _burst(metrics: BatchMetricsCollector, count: int) -> None:
    record = metrics.record_http_request
    while True:
        for _ in range(count):
            record("GET", "/", 200, 0.1)
        await trio.lowlevel.checkpoint()


async def _tasks(count: int, seconds: float, *, recording: bool) -> tuple[int, float]:
    """Return the number of lost events, and the 99th percentile of the sleeps."""
    naps: list[float] = []
    async with collector(sinks=[_nothing]) as metrics, trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(_work, metrics if recording else None)
        nursery.start_soon(_sleep, naps)
        await trio.sleep(seconds)
        nursery.cancel_scope.cancel()
    naps = sorted(naps) or [seconds]
    return _lost(metrics), naps[len(naps) * 99 // 100]


async def _bursts(count: int, seconds: float) -> int:
    async with collector(sinks=[_nothing]) as metrics:
        with trio.move_on_after(seconds):
            await _burst(metrics, count)
    return _lost(metrics)


def _lost(metrics: BatchMetricsCollector) -> int:
    stats = metrics.stats()
    return stats.dropped_events + stats.failed_events


def run(effort: Effort) -> Outcome:
    """Run the benchmark."""
    figures: list[Figure] = []
    seconds = max(1.5, effort.seconds / 4)  # a pass may take 0.1 s
    for count in TASKS:
        lost, late = trio.run(partial(_tasks, count, seconds, recording=True))
        _, alone = trio.run(partial(_tasks, count, seconds, recording=False))
        name = f"{count:_} runnable tasks".replace("_", " ")
        figures.append(Figure(f"events lost with {name}", lost, "", 0))
        figures.append(Figure(f"a sleep of 1 ms alongside {name} that record ÷ that do not, p99", late / alone))
    for count in BURSTS:
        lost = trio.run(_bursts, count, seconds)
        figures.append(Figure(f"events lost with {count:_} between checkpoints".replace("_", " "), lost, "", 0))
    return Outcome(figures)
