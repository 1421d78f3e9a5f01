"""Times one update of a bound instrument."""

from __future__ import annotations

import math
import random
from typing import Any

import trio

from trio_batchmetrics import BatchMetricsCollector, collector

from .effort import Effort
from .figures import Outcome, ratio
from .peers import prometheus
from .timing import FLOOR, Contender, Rounds, compete, floor

__all__ = ["durations", "run"]


def durations(number: int) -> list[float]:
    """Return typical request durations, always the same: most are near 0.15 s, with a long tail."""
    chance = random.Random(1)
    return [chance.lognormvariate(math.log(0.15), 1) for _ in range(number)]


async def _updates(metrics: BatchMetricsCollector, effort: Effort) -> Rounds:
    return await compete(
        [
            floor(),
            Contender("add", "counter.add(1)", {"counter": metrics.counter("requests")}, client="ours, bound"),
            Contender("set", "gauge.set(0.5)", {"gauge": metrics.gauge("load")}, client="ours, bound"),
            Contender("inc", "child.inc()", {"child": prometheus().counter_child}),
        ],
        effort.seconds,
    )


async def _observations(metrics: BatchMetricsCollector, effort: Effort) -> Rounds:
    values = durations(1000)
    each: dict[str, Any] = {"calls": len(values), "loop": "for value in values"}
    names = {"histogram": metrics.histogram("request.duration", unit="s"), "values": values}
    child = {"child": prometheus().histogram_child, "values": values}
    return await compete(
        [
            floor("value", names={"values": values}, **each),
            Contender("ours", "histogram.observe(value)", names, client="ours, bound", **each),
            Contender("peer", "child.observe(value)", child, client="prometheus_client, bound", **each),
        ],
        effort.seconds,
    )


async def _run(effort: Effort) -> Outcome:
    async with collector(sinks=[]) as metrics:
        updates = await _updates(metrics, effort)
        observations = await _observations(metrics, effort)
    observe = observations["ours"]
    figures = [
        ratio("bound `counter.add(1)` ÷ A", updates["add"], updates[FLOOR], 1.4),
        ratio("bound `counter.add(1)` ÷ prometheus_client's `child.inc()`", updates["add"], updates["inc"], 0.32),
        ratio("bound `gauge.set(v)` ÷ A", updates["set"], updates[FLOOR], 1.3),
        ratio("bound `histogram.observe(v)` ÷ A", observe, observations[FLOOR], 1.75),
        ratio("bound `histogram.observe(v)` ÷ prometheus_client's, bound", observe, observations["peer"], 0.2),
    ]
    return Outcome(figures, [*updates.costs(), *observations.costs()])


def run(effort: Effort) -> Outcome:
    """Run the benchmark."""
    return trio.run(_run, effort)
