"""Times recording and adding to series, with a scraped sink, at first and after a million events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import trio

from trio_batchmetrics import BatchMetricsCollector, MetricEvent, collector
from trio_batchmetrics.abc import Payload, SeriesSink, SeriesStore, SinkContext

from .draining import EVENTS
from .effort import Effort
from .figures import Outcome, ratio
from .instruments import durations
from .peers import prometheus
from .recording import ROOM, check_accepted
from .timing import Contender, compete, floor

__all__ = ["Cumulative", "requests", "run"]

PIECE = 1000
"""Events recorded before each flush, for the figure about the number of earlier events."""
LOOP = "for method, path, status, duration in requests"
CALL = "metrics.record_http_request(method, path, status, duration)"


class Cumulative(SeriesSink[None]):
    """Keeps cumulative series, like a scraped sink."""

    scraped = True

    def bind(self, context: SinkContext) -> None:
        """Create the store."""
        super().bind(context)
        self.store = SeriesStore(context)

    def merge(self, events: Sequence[MetricEvent]) -> None:
        """Add events to the series."""
        self.store.merge(events)

    async def send(self, payload: Payload[None]) -> None:
        """Do nothing: the series are scraped."""


def requests(number: int) -> list[tuple[str, str, int, float]]:
    """Return requests to a service with 15 routes: 60 label sets in turn."""
    routes = [f"/api/{number}" for number in range(15)]
    kinds = [(method, route, status) for route in routes for method in ("GET", "POST") for status in (200, 500)]
    return [(*kinds[index * 7 % len(kinds)], duration) for index, duration in enumerate(durations(number))]


def _ours(name: str, metrics: BatchMetricsCollector, sample: list[tuple[str, str, int, float]]) -> Contender:
    names = {"requests": sample, "metrics": metrics}
    finish = "await metrics.flush()"
    return Contender(name, CALL, names, calls=len(sample), loop=LOOP, finish=finish, client="ours, up to series")


async def _alongside_a_peer(effort: Effort) -> Outcome:
    sample = requests(EVENTS)
    theirs: dict[str, Any] = {"requests": sample, "histogram": prometheus().histogram}
    statement = "histogram.labels(method, path, status).observe(duration)"
    large = attrs.evolve(ROOM, batch_size=1000)
    async with (
        collector(ROOM, sinks=[Cumulative()]) as metrics,
        collector(large, sinks=[Cumulative()]) as in_large_batches,
    ):
        contenders = [
            floor(calls=EVENTS),
            _ours("ours", metrics, sample),
            attrs.evolve(_ours("in large batches", in_large_batches, sample), client=""),
            Contender("theirs", statement, theirs, calls=EVENTS, loop=LOOP),
        ]
        rounds = await compete(contenders, effort.seconds)
        check_accepted(metrics)
        check_accepted(in_large_batches)
    name = "an event recorded and added to 60 cumulative histograms ÷ prometheus_client's `labels(…).observe(v)`"
    figures = [
        ratio(f"{name}, in batches of 100", rounds["ours"], rounds["theirs"], 0.45),
        ratio(f"{name}, in batches of 1000", rounds["in large batches"], rounds["theirs"], 0.35),
    ]
    return Outcome(figures, rounds.costs())


async def _at_length(effort: Effort) -> Outcome:
    sample = requests(PIECE)
    old_times: list[int] = []
    new_times: list[int] = []
    async with collector(ROOM, sinks=[Cumulative()]) as old:
        record_old = _ours("old", old, sample).compiled()
        for _ in range(effort.events // PIECE):
            await record_old()
        for _ in range(max(30, effort.events // PIECE // 5)):
            async with collector(ROOM, sinks=[Cumulative()]) as new:
                record_new = _ours("new", new, sample).compiled()
                await record_new()
                new_times.append(await record_new())
            old_times.append(await record_old())
        check_accepted(old)
    name = f"an event, with its series, when {effort.events:_} were recorded ÷ when 1000 were".replace("_", " ")
    return Outcome([ratio(name, old_times, new_times, 1.1)])


async def _run(effort: Effort) -> Outcome:
    alongside, length = await _alongside_a_peer(effort), await _at_length(effort)
    return Outcome([*alongside.figures, *length.figures], alongside.costs)


def run(effort: Effort) -> Outcome:
    """Run the benchmark."""
    return trio.run(_run, effort)
