"""Any mix of sinks settles the same events as a model that counts event by event."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers import balanced, ids, report_balanced
from tests.series.sinks import record
from trio_batchmetrics import BatchMetricsConfig, BatchMetricsStats, MetricEvent, collector
from trio_batchmetrics.abc import EventSink, Payload, Receipt, SeriesSink


class ModelSeries(SeriesSink[int]):
    """A series sink that remembers which events the last successful push contained."""

    def __init__(self, dice: random.Random, name: str) -> None:
        """Create a sink that fails at random."""
        super().__init__(name=name, timeout=5)
        self.dice = dice
        self.merged: list[int] = []
        self.bad: set[int] = set()
        self.delivered: set[int] = set()
        self.luck = dice.choice([0.2, 0.6, 1.0])

    def merge(self, events: Sequence[MetricEvent]) -> None:
        """Merge the events, or fail."""
        found = ids(list(events))
        if self.dice.random() < 0.1:
            self.bad.update(found)
            raise ValueError("merge")
        self.merged += found

    def snapshot(self) -> int:
        """Return how much is merged, or fail."""
        if self.dice.random() < 0.1:
            raise ValueError("snapshot")
        return len(self.merged)

    async def send(self, payload: Payload[int]) -> Receipt | None:
        """Push the snapshot, or fail."""
        await trio.sleep(self.dice.choice([0, 0.1, 3, 6]))
        if self.dice.random() > self.luck:
            raise OSError("down")
        self.delivered = set(self.merged[: payload.parts[0]])
        return None


class ModelEvents(EventSink[None]):
    """An event sink that remembers which events it has confirmed, refused and given up."""

    def __init__(self, dice: random.Random, name: str) -> None:
        """Create a sink that fails at random."""
        super().__init__(name=name, timeout=5, max_events=dice.choice([None, 3]), retry_budget=1e6)
        self.dice = dice
        self.bad: set[int] = set()
        self.delivered: set[int] = set()

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Take the events, or fail."""
        await trio.sleep(self.dice.choice([0, 0.1, 3, 6]))
        found = ids(list(payload.events))
        assert not self.delivered.intersection(found)
        assert not self.bad.intersection(found)
        places = list(range(len(found)))
        self.dice.shuffle(places)
        refused, again = places[: self.dice.choice([0, 0, 1])], places[1 : self.dice.choice([0, 0, 3])]
        match self.dice.randint(0, 5):
            case 0:
                return Receipt.retried()
            case 1:
                self.bad.update(found)
                return Receipt.failed("401")
            case 2:
                self.bad.update(found[at] for at in refused)
                self.bad.update(found if len(found) == 1 else ())
                return Receipt.split(rejected=dict.fromkeys(refused, "bad"))
            case _:
                self.bad.update(found[at] for at in refused)
                self.delivered.update(set(found) - {found[at] for at in (*refused, *again)})
                return Receipt.retried(retry=again, rejected=dict.fromkeys(refused, "bad"))


def assert_as_modelled(stats: BatchMetricsStats, sinks: Sequence[ModelSeries | ModelEvents], handed_over: int) -> None:
    """Compare the ledger with the events that the sinks remember, one by one."""
    processed = failed = 0
    for number in range(1, handed_over + 1):
        if all(number in sink.delivered or number in sink.bad for sink in sinks):
            if any(number in sink.bad for sink in sinks):
                failed += 1
            else:
                processed += 1
    assert (stats.processed_events, stats.failed_events) == (processed, failed)
    for sink in sinks:
        counts = stats.sinks[sink.name or ""]
        assert counts.delivered == len(sink.delivered)
        assert counts.rejected + counts.failed == len(sink.bad)
        assert counts.total == handed_over


@pytest.mark.parametrize("seed", range(60))
async def test_any_mix_of_sinks_accounts_as_a_model_does_event_by_event(seed: int, autojump_clock: MockClock) -> None:
    """Series and event sinks fail in every way while flushes are cut off; the ledger is checked at every stop."""
    dice = random.Random(seed)
    either: list[Callable[[random.Random, str], ModelSeries | ModelEvents]] = [ModelSeries, ModelEvents]
    kinds = [ModelSeries, *(dice.choice(either) for _ in range(dice.randint(0, 3)))]
    sinks = [kind(dice, f"sink{n}") for n, kind in enumerate(kinds)]
    batch_size = dice.choice([1, 3, 7])
    recorded = 0
    async with collector(BatchMetricsConfig(batch_size=batch_size, flush_interval=1e6), sinks=sinks) as metrics:
        handed_over = 0
        for _ in range(30):
            count = dice.randint(0, 9)
            record(metrics, recorded + 1, recorded + count)
            recorded += count
            handed_over += (recorded - handed_over) // batch_size * batch_size
            match dice.randint(0, 3):
                case 0:
                    with trio.move_on_after(dice.choice([0.05, 2, 20])):
                        handed_over = recorded
                        pending = balanced(metrics.stats()).pending_events
                        report_balanced(await metrics.flush(), pending)
                case _:
                    await trio.sleep(dice.choice([0.05, 1.7, 13]))
            await wait_all_tasks_blocked()
            assert_as_modelled(balanced(metrics.stats()), sinks, handed_over)
        await metrics.flush()
        assert_as_modelled(balanced(metrics.stats()), sinks, recorded)
        assert balanced(metrics.stats()).pending_events == 0
        assert metrics._engine.ledger.retained == 0
