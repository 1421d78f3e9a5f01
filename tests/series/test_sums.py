"""The back-end's series add up to the recorded events, whatever pushes failed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.helpers import balanced
from tests.series.sinks import MemorySink, account
from tests.tally import Job, Tally
from trio_batchmetrics import (
    BackendRequest,
    BatchMetricsConfig,
    CacheMetric,
    Counter,
    Gauge,
    HealthCheck,
    Histogram,
    HttpRequest,
    MetricEvent,
    collector,
)
from trio_batchmetrics.abc import Payload, Receipt, SeriesSink


def any_event(dice: random.Random) -> MetricEvent:
    """Create an event of any kind, in one of a few series."""
    some: Any = dice.choice(["a", "b", 1, True, None, "1"])
    seconds = dice.choice([0.005, 0.1, 0.3, 1, 10.5])
    number = dice.randint(0, 9)
    return dice.choice(
        [
            HttpRequest("GET", some, dice.choice([200, 503]), seconds),
            BackendRequest("p", "m", dice.random() < 0.5, seconds, some),
            HealthCheck(some, dice.random() < 0.5, seconds),
            CacheMetric("redis", some),
            Counter("c", {"x": some}, number),
            Histogram("h", {"x": some, "y": 1}, number),
            Gauge("g", {"y": 1, "x": some}, number),
            Job(some, number, number, number, seconds),
        ]
    )


@pytest.mark.parametrize("seed", range(8))
async def test_a_back_ends_series_add_up_to_the_recorded_events(seed: int, autojump_clock: MockClock) -> None:
    """Sums, counts, buckets and last values, with static labels, agree at each flush, whatever pushes failed before."""
    dice = random.Random(seed)
    answers = [None, OSError(), Receipt.retried(2), ..., Receipt.failed("500")]
    sink = MemorySink(*[dice.choice(answers) for _ in range(40)], OSError(), takes=0.1, timeout=5)
    static = {"region": "eu", "x": "static"}
    tally = Tally(static)
    config = BatchMetricsConfig(batch_size=dice.choice([1, 7, 100]), static_labels=static)
    recorded = 0
    async with collector(config, sinks=[sink]) as metrics:
        for _ in range(10):
            for _ in range(dice.randint(1, 60)):
                event = any_event(dice)
                metrics.record(event)
                tally.add(event)
                recorded += 1
                if dice.random() < 0.05:
                    await trio.sleep(dice.choice([0, 0.05, 3]))
            assert (await metrics.flush()).ok
            tally.assert_told_by(sink.backend.metrics)
    assert account(metrics).retries > 0
    assert account(metrics).delivered == recorded


async def test_points_of_bound_instruments_are_merged_like_other_events(autojump_clock: MockClock) -> None:
    """Each point is merged once, whether a push succeeds or not."""
    sums: list[float] = []

    class Sums(SeriesSink[None]):
        """A sink that adds up the values of counters, and whose first three pushes fail."""

        attempts = 0

        def merge(self, events: Sequence[MetricEvent]) -> None:
            sums.extend(event.value for event in events if isinstance(event, Counter))

        async def send(self, payload: Payload[None]) -> Receipt | None:
            self.attempts += 1
            return Receipt.retried() if self.attempts <= 3 else None

    async with collector(BatchMetricsConfig(flush_interval=1), sinks=[Sums()]) as metrics:
        counter = metrics.counter("n")
        await trio.sleep(0.5)  # between two collections
        for n in range(1, 5):
            counter.add(n)
            await trio.sleep(1)
        await metrics.flush()
    assert sums == [1, 2, 3, 4]
    assert balanced(metrics.stats()).processed_events == len(sums)
