"""A push that refuses single series rejects exactly the events that were merged into them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.helpers import balanced, report_balanced
from trio_batchmetrics import BatchMetricsCollector, BatchMetricsConfig, Counter, HealthCheck, MetricEvent, collector
from trio_batchmetrics.abc import EventSink, Payload, Receipt, SeriesSink, SeriesStore, SinkContext

Key = tuple[str, str]
"""An instrument's name, and a label's value."""


def keys_of(event: MetricEvent) -> set[Key]:
    """Return the series that an event is merged into."""
    if isinstance(event, HealthCheck):
        return {("backend.health", event.backend), ("backend.health_check.duration", event.backend)}
    assert isinstance(event, Counter)
    return {(event.name, str(event.labels["id"]))}


class Refusing(SeriesSink[list[Key]]):
    """Pushes the points of a store; what becomes of each push is decided by a function."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.refuse: set[Key] = set()
        self.script: list[Any] = []
        self.merged: list[MetricEvent] = []
        self.in_snapshot = 0
        self.settled: dict[int, str] = {}
        self.pushed: list[list[Key]] = []

    def bind(self, context: SinkContext) -> None:
        """Begin with an empty store."""
        super().bind(context)
        self.store = self.snapshot_store = SeriesStore(context)

    def merge(self, events: Sequence[MetricEvent]) -> dict[int, str] | None:
        """Merge the events."""
        self.merged += events
        return self.store.merge(events)

    def snapshot(self) -> list[Key]:
        """Return the series of all points."""
        self.in_snapshot = len(self.merged)
        return [(measure.name, next(iter(point.labels.values()))) for measure, _, point in self.store.points()]

    async def send(self, payload: Payload[list[Key]]) -> Receipt:
        """Refuse the series that are to be refused."""
        [listed] = payload.parts
        await trio.sleep(0.5)
        refused = {at: "no" for at, key in enumerate(listed) if key in self.refuse}
        outcome = self.script.pop(0) if self.script else "delivered"
        if outcome == "down":
            raise OSError
        if outcome == "retry":
            return Receipt.retried(rejected=refused, error="429")
        if outcome == "failed":
            self._settle(lambda _: "failed")
            return Receipt.failed("401")
        self.pushed.append([key for key in listed if key not in self.refuse])
        accepted = {*self.pushed[-1]}
        self._settle(lambda event: "delivered" if keys_of(event) <= accepted else "rejected")
        return Receipt(rejected=refused)

    def _settle(self, verdict: Callable[[Any], str]) -> None:
        for at in range(self.in_snapshot):
            if at not in self.settled:
                self.settled[at] = verdict(self.merged[at])


def count(metrics: Any, name: str, label: int) -> None:
    """Record a counter's event."""
    metrics.record_counter(name, {"id": label}, 1)


async def test_one_refused_series_neither_holds_up_the_others_nor_counts_as_delivered(
    autojump_clock: MockClock,
) -> None:
    """It is left out until it changes, and the events of other series are delivered at once."""
    sink = Refusing(name="memory", refresh=None)
    sink.refuse = {("c", "2")}
    async with collector(sinks=[sink]) as metrics:
        for label in (1, 2, 2, 3):
            count(metrics, "c", label)
        report = report_balanced(await metrics.flush(), 4)
        assert (report.processed, report.failed) == (2, 2)
        count(metrics, "c", 1)
        assert (await metrics.flush()).ok
        assert sink.pushed[-1] == [("c", "1"), ("c", "3")]
        sink.refuse.clear()
        count(metrics, "c", 2)
        assert (await metrics.flush()).ok
        assert sink.pushed[-1] == [("c", "1"), ("c", "2"), ("c", "3")]
    account = balanced(metrics.stats()).sinks["memory"]
    assert (account.delivered, account.rejected, account.failed, account.retries) == (4, 2, 0, 0)
    assert account.last_error == "1 series refused: no"


async def test_an_event_of_two_series_is_rejected_if_one_of_them_is(autojump_clock: MockClock) -> None:
    """It counts once, and its other series is delivered."""
    sink = Refusing(name="memory")
    sink.refuse = {("backend.health", "a")}
    async with collector(sinks=[sink]) as metrics:
        metrics.record_health_check("a", True, 0.1)
        metrics.record_health_check("b", True, 0.1)
        await metrics.flush()
    account = balanced(metrics.stats()).sinks["memory"]
    assert (account.delivered, account.rejected) == (1, 1)
    assert ("backend.health_check.duration", "a") in sink.pushed[0]


async def test_a_series_that_is_refused_in_a_push_to_be_repeated_is_left_out_of_the_next(
    autojump_clock: MockClock,
) -> None:
    """Its events are rejected once a push succeeds without it."""
    sink = Refusing(name="memory")
    sink.refuse, sink.script = {("c", "2")}, ["retry"]
    async with collector(sinks=[sink]) as metrics:
        count(metrics, "c", 1)
        count(metrics, "c", 2)
        report = report_balanced(await metrics.flush(), 2)
        assert (report.processed, report.failed) == (1, 1)
    assert sink.pushed[0] == [("c", "1")]
    account = balanced(metrics.stats()).sinks["memory"]
    assert (account.delivered, account.rejected, account.retries) == (1, 1, 1)


async def test_whoever_reads_the_store_during_a_push_does_not_change_what_the_receipt_refuses(
    autojump_clock: MockClock,
) -> None:
    """Positions in a receipt are those in the snapshot that was pushed, not in what was read last."""
    sink = Refusing(name="memory", refresh=None)
    sink.refuse = {("c", "1")}
    async with collector(sinks=[sink]) as metrics:
        count(metrics, "c", 0)
        assert (await metrics.flush()).ok
        seen = sink.store.generation
        count(metrics, "c", 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(metrics.flush)
            await trio.sleep(0.25)  # in the middle of the push
            assert [point.labels["id"] for *_, point in sink.store.points(since=seen)] == ["1"]
        count(metrics, "c", 0)
        await metrics.flush()
        assert sink.pushed[-1] == [("c", "0")]
    account = balanced(metrics.stats()).sinks["memory"]
    assert (account.delivered, account.rejected, account.failed, account.retries) == (2, 1, 0, 0)


async def test_a_push_cancelled_at_any_moment_leaves_the_ledger_balanced(autojump_clock: MockClock) -> None:
    """Nothing is delivered or rejected that no receipt has reported; the rest has failed."""
    for tenth in range(12):
        sink = Refusing(name="memory", refresh=None)
        sink.refuse, sink.script = {("c", "2")}, ["delivered", "retry"]
        opened: list[BatchMetricsCollector] = []
        with trio.move_on_after(tenth / 10):
            async with collector(BatchMetricsConfig(flush_interval=0.1), sinks=[sink]) as metrics:
                opened.append(metrics)
                for label in (1, 2, 3):
                    count(metrics, "c", label)
                await trio.sleep(0.3)
                balanced(metrics.stats())
                count(metrics, "c", 2)
                await trio.sleep_forever()
        account = balanced(opened[0].stats()).sinks["memory"]
        told = [*sink.settled.values()]
        assert (account.delivered, account.rejected) == (told.count("delivered"), told.count("rejected"))
        assert account.total == account.delivered + account.rejected + account.failed


async def test_a_sink_without_a_store_cannot_refuse_single_series(autojump_clock: MockClock) -> None:
    """Nobody could tell which events to reject: the receipt is invalid, and the push is repeated."""

    class Plain(Refusing):
        def bind(self, context: SinkContext) -> None:
            super().bind(context)
            self.snapshot_store = None

    sink = Plain(name="memory")
    sink.refuse = {("c", "2")}
    async with collector(BatchMetricsConfig(shutdown_timeout=3), sinks=[sink]) as metrics:
        count(metrics, "c", 2)
    account = balanced(metrics.stats()).sinks["memory"]
    assert (account.delivered, account.rejected, account.failed) == (0, 0, 1)
    assert "outside the payload" in (account.last_error or "")


class Moody(EventSink[None]):
    """An event sink that refuses, retries and gives up at random."""

    def __init__(self, dice: random.Random, name: str) -> None:
        super().__init__(name=name, max_events=dice.choice([None, 3]), retry_budget=1e6)
        self.dice = dice
        self.settled: dict[str, str] = {}

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Take the events, or some of them, or none."""
        await trio.sleep(self.dice.choice([0, 0.1, 3]))
        ids = [*payload.events.ids]
        match self.dice.randint(0, 4):
            case 0:
                return Receipt.retried(error="503")
            case 1:
                self.settled |= dict.fromkeys(ids, "failed")
                return Receipt.failed("401")
            case 2:
                self.settled |= {each: "rejected" if at == 0 else "delivered" for at, each in enumerate(ids)}
                return Receipt(rejected={0: "no"})
            case _:
                self.settled |= dict.fromkeys(ids, "delivered")
                return None


def outcomes(series: Sequence[Refusing], moody: Sequence[Moody], total: int) -> Iterator[str]:
    """Yield what becomes of each event, by the sinks' own books."""
    for at in range(total):
        verdicts = [sink.settled.get(at) for sink in series]
        verdicts += [verdict for sink in moody for each, verdict in sink.settled.items() if each.endswith(f":{at}")]
        known = len(verdicts) == len(series) + len(moody) and None not in verdicts
        yield "pending" if not known else "processed" if {*verdicts} <= {"delivered"} else "failed"


@pytest.mark.parametrize("seed", range(40))
async def test_refusals_by_series_account_as_a_model_does_event_by_event(seed: int, autojump_clock: MockClock) -> None:
    """Up to two series sinks refuse series at random, alongside up to two event sinks, with flushes in between."""
    dice = random.Random(seed)
    series = [Refusing(name=f"series{number}", refresh=None) for number in range(dice.choice([1, 1, 2]))]
    moody = [Moody(dice, f"events{number}") for number in range(dice.choice([0, 1, 2]))]
    everything = [(name, str(label)) for name in ("c", "d") for label in range(3)]
    everything += [(name, "x") for name in ("backend.health", "backend.health_check.duration")]
    total = 0
    config = BatchMetricsConfig(batch_size=dice.choice([1, 3, 10]), flush_interval=1, shutdown_timeout=1e5)
    async with collector(config, sinks=[*series, *moody]) as metrics:
        for _ in range(30):
            for sink in series:
                sink.refuse = {*dice.sample(everything, dice.choice([0, 0, 1, 3]))}
                sink.script = dice.choices(["delivered", "down", "retry", "failed"], [6, 1, 1, 1], k=2)
            for _ in range(dice.choice([0, 1, 5])):
                total += 1
                if dice.random() < 0.2:
                    metrics.record_health_check("x", True, 0.1)
                else:
                    count(metrics, dice.choice("cd"), dice.randrange(3))
            await trio.sleep(dice.choice([0, 0.3, 1, 7]))
            if dice.random() < 0.2:
                with trio.move_on_after(dice.choice([0.1, 100])):
                    pending = metrics.stats().pending_events
                    report_balanced(await metrics.flush(), pending)
            balanced(metrics.stats())
    stats = balanced(metrics.stats())
    found = [*outcomes(series, moody, total)]
    assert (stats.total_events, stats.pending_events) == (total, 0)
    assert (stats.processed_events, stats.failed_events) == (found.count("processed"), found.count("failed"))
    for sink in series:
        mine, account = [*sink.settled.values()], stats.sinks[sink.name or ""]
        assert len(mine) == total
        for verdict in ("delivered", "rejected", "failed"):
            assert getattr(account, verdict) == mine.count(verdict), verdict


async def test_whoever_reads_the_store_between_two_steps_of_a_snapshot_changes_nothing(
    autojump_clock: MockClock,
) -> None:
    """The positions are those of the snapshot's own points, from its first step on."""

    class InSteps(SeriesSink[list[Key]]):
        def bind(self, context: SinkContext) -> None:
            super().bind(context)
            self.store = self.snapshot_store = SeriesStore(context)

        def merge(self, events: Sequence[MetricEvent]) -> dict[int, str] | None:
            return self.store.merge(events)

        def snapshot(self) -> Iterator[list[Key]]:
            for measure, _, point in self.store.points():
                yield [(measure.name, point.labels["id"])]
                assert [*self.store.points(since=self.store.generation)] == []  # as another task may, after any step

        async def send(self, payload: Payload[list[Key]]) -> Receipt:
            return Receipt(rejected={at: "no" for at, [key] in enumerate(payload.parts) if key == ("c", "2")})

    sink = InSteps(name="memory", refresh=None)
    async with collector(sinks=[sink]) as metrics:
        for label in (1, 2, 3):
            count(metrics, "c", label)
        with trio.fail_after(60):
            await metrics.flush()
    account = balanced(metrics.stats()).sinks["memory"]
    assert (account.delivered, account.rejected, account.failed, account.retries) == (2, 1, 0, 0)
