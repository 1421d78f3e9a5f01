"""Recording, and adding to series: what a scraped sink costs, now and after a million events."""

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
"""Events recorded before each flush, where a figure is about how many there were so far."""
LOOP = "for method, path, status, duration in requests"
CALL = "metrics.record_http_request(method, path, status, duration)"


class Cumulative(SeriesSink[None]):
    """Cumulative series, as a sink that is scraped keeps them."""

    scraped = True

    def bind(self, context: SinkContext) -> None:
        """Make the series."""
        super().bind(context)
        self.store = SeriesStore(context)

    def merge(self, events: Sequence[MetricEvent]) -> None:
        """Add events to them."""
        self.store.merge(events)

    async def send(self, payload: Payload[None]) -> None:
        """Do nothing: it is scraped."""


def requests(number: int) -> list[tuple[str, str, int, float]]:
    """Return requests to a service with 15 routes: 60 sets of labels in turn."""
    routes = [f"/api/{number}" for number in range(15)]
    kinds = [(method, route, status) for route in routes for method in ("GET", "POST") for status in (200, 500)]
    return [(*kinds[index * 7 % len(kinds)], duration) for index, duration in enumerate(durations(number))]


def _ours(name: str, metrics: BatchMetricsCollector, of: list[tuple[str, str, int, float]]) -> Contender:
    names = {"requests": of, "metrics": metrics}
    finish = "await metrics.flush()"
    return Contender(name, CALL, names, calls=len(of), loop=LOOP, finish=finish, client="ours, up to series")


async def _alongside_a_peer(effort: Effort) -> Outcome:
    of = requests(EVENTS)
    theirs: dict[str, Any] = {"requests": of, "histogram": prometheus().histogram}
    statement = "histogram.labels(method, path, status).observe(duration)"
    large = attrs.evolve(ROOM, batch_size=1000)
    async with (
        collector(ROOM, sinks=[Cumulative()]) as metrics,
        collector(large, sinks=[Cumulative()]) as in_large_batches,
    ):
        contenders = [
            floor(calls=EVENTS),
            _ours("ours", metrics, of),
            attrs.evolve(_ours("in large batches", in_large_batches, of), client=""),
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
    of = requests(PIECE)
    old_times: list[int] = []
    new_times: list[int] = []
    async with collector(ROOM, sinks=[Cumulative()]) as old:
        record_old = _ours("old", old, of).compiled()
        for _ in range(effort.events // PIECE):
            await record_old()
        for _ in range(max(30, effort.events // PIECE // 5)):
            async with collector(ROOM, sinks=[Cumulative()]) as new:
                record_new = _ours("new", new, of).compiled()
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
    """Measure."""
    return trio.run(_run, effort)
