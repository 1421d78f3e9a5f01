"""Payloads that are halved into many requests: their number, the events that wait, and what becomes of the rest."""

from __future__ import annotations

import random
from collections import Counter as Count
from collections.abc import Callable, Sequence
from itertools import groupby, pairwise
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers import balanced, ids
from trio_batchmetrics import BatchMetricsCollector, BatchMetricsConfig, MetricEvent, SinkStats, collector
from trio_batchmetrics.abc import EventSink, Payload, Receipt
from trio_batchmetrics.testing import RecordingSink

LARGE = BatchMetricsConfig(batch_size=5000, buffer_size=10_000)


@attrs.frozen
class Request:
    """One request as the back-end saw it."""

    at: float
    events: list[int]
    key: str
    taken: bool


class PickySink(EventSink[str]):
    """A sink that finds some payloads too large."""

    def __init__(self, too_large: Callable[[list[int]], bool], *, in_doubt: bool = False, **settings: Any) -> None:
        """Create a sink that refuses some payloads.

        Args:
            too_large: decides by the numbers of a payload's events.
            in_doubt: whether some of the refused events may have been stored.
            settings: those of :class:`EventSink`.
        """
        super().__init__(name="picky", **settings)
        self.too_large = too_large
        self.in_doubt = in_doubt
        self.requests: list[Request] = []

    def encode(self, events: Sequence[MetricEvent]) -> str:
        """Encode the events as their numbers."""
        return "".join(f"{event}," for event in ids(list(events)))

    async def send(self, payload: Payload[str]) -> Receipt | None:
        """Take the whole payload or nothing."""
        numbers = [int(number) for number in "".join(payload.parts).split(",")[:-1]]
        assert numbers == ids(list(payload.events))
        refused = self.too_large(numbers)
        self.requests.append(Request(trio.current_time(), numbers, payload.key, not refused))
        return Receipt.split(error="413", in_doubt=self.in_doubt) if refused else None

    @property
    def delivered(self) -> list[int]:
        """All accepted events, in this order."""
        return [number for request in self.requests if request.taken for number in request.events]

    @property
    def moments(self) -> dict[float, int]:
        """How many requests there were at each moment."""
        return Count(request.at for request in self.requests)


def everything(numbers: list[int]) -> bool:
    """Refuse every payload as too large."""
    return True


def any_of(poison: set[int]) -> Callable[[list[int]], bool]:
    """Return a predicate that refuses each payload with any of these events."""
    return lambda numbers: not poison.isdisjoint(numbers)


def record(metrics: BatchMetricsCollector, first: int, last: int) -> None:
    """Record events with these numbers."""
    for number in range(first, last + 1):
        metrics.record_counter("c", {"id": number}, 1)


def account(metrics: BatchMetricsCollector) -> SinkStats:
    """Assert that the ledger balances, and return the sink's account."""
    return balanced(metrics.stats()).sinks["picky"]


class Auditor(trio.abc.Instrument):
    """An instrument that checks the ledger after every step of every task."""

    def __init__(self) -> None:
        self.metrics: BatchMetricsCollector | None = None
        self.error: AssertionError | None = None

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Check the ledger."""
        try:
            if self.metrics is not None:
                balanced(self.metrics.stats())
        except AssertionError as exc:
            self.error = self.error or exc


# -- how many requests


async def test_a_back_end_that_finds_everything_too_large_gets_few_requests(autojump_clock: MockClock) -> None:
    """It gets 64 requests at a time, with pauses that double up to 30 s, for 300 s; then the rest has failed."""
    sink = PickySink(everything)
    async with collector(LARGE, sinks=[sink]) as metrics:
        record(metrics, 1, 5000)
        report = await metrics.flush()
        assert trio.current_time() == 300
        assert (report.processed, report.failed) == (0, 5000)
    alone = {request.events[0] for request in sink.requests if len(request.events) == 1}
    stats = account(metrics)
    assert (stats.rejected, stats.failures["retry_budget"]) == (len(alone), 5000 - len(alone))
    assert stats.last_error is not None
    assert sink.moments[0] == 64
    assert max(sink.moments.values()) == 64
    moments = [*sink.moments]
    for number, (before, after) in enumerate(pairwise(moments)):
        assert 0 < after - before <= min(30, 0.5 * 2**number)
    assert len(sink.requests) <= 64 * 60  # a pause is 15 s on average


async def test_a_back_end_that_finds_everything_too_large_gets_few_requests_under_steady_traffic_too(
    autojump_clock: MockClock,
) -> None:
    """Payloads come all the time, and none of them is taken; each pause is worth 64 requests of either kind."""
    sink = PickySink(everything)
    async with collector(BatchMetricsConfig(batch_size=100, shutdown_timeout=0), sinks=[sink]) as metrics:
        for step in range(240):
            record(metrics, 100 * step + 1, 100 * step + 100)
            await trio.sleep(1)
            balanced(metrics.stats())
    minutes = Count(int(request.at // 60) for request in sink.requests)
    assert max(minutes.values()) <= 64 * 40


async def test_only_one_of_several_rests_is_tried_per_pause_while_nothing_is_taken(autojump_clock: MockClock) -> None:
    """Six rests cause no more load than one: the average pause between two of them is 15 s."""
    sink = PickySink(everything, max_events=500)
    async with collector(BatchMetricsConfig(batch_size=500), sinks=[sink]) as metrics:
        record(metrics, 1, 3000)
        await metrics.flush()
    minutes = Count(int(moment // 60) for moment in sink.moments)
    assert max(minutes[minute] for minute in (1, 2, 3, 4)) <= 14


@pytest.mark.parametrize("guilty", [1, 1234, 5000])
async def test_one_event_among_5000_is_found_at_once(guilty: int, autojump_clock: MockClock) -> None:
    """Two requests per halving stay far below 64, so nothing is set aside, and the order is kept."""
    sink = PickySink(any_of({guilty}))
    async with collector(LARGE, sinks=[sink]) as metrics:
        record(metrics, 1, 5000)
        await metrics.flush()
        assert trio.current_time() == 0
    assert len(sink.requests) <= 27
    assert sink.delivered == [number for number in range(1, 5001) if number != guilty]
    assert (account(metrics).delivered, account(metrics).rejected) == (4999, 1)


async def test_a_hundred_events_among_5000_are_found_bit_by_bit(autojump_clock: MockClock) -> None:
    """Exactly these are rejected, deliveries make the pauses short, and the ledger balances after every step."""
    poison = set(random.Random(1).sample(range(1, 5001), 100))
    sink = PickySink(any_of(poison))
    auditor = Auditor()
    trio.lowlevel.add_instrument(auditor)
    async with collector(LARGE, sinks=[sink]) as metrics:
        auditor.metrics = metrics
        record(metrics, 1, 5000)
        await metrics.flush()
        assert trio.current_time() < 20
    trio.lowlevel.remove_instrument(auditor)
    assert auditor.error is None
    stats = account(metrics)
    assert (stats.delivered, stats.rejected, stats.failed) == (4900, 100, 0)
    assert sorted(sink.delivered) == [number for number in range(1, 5001) if number not in poison]
    assert max(sink.moments.values()) == 64
    assert len(sink.requests) < 2 * 100 * 8
    assert len({request.key for request in sink.requests}) == len(sink.requests)
    assert stats.retries == 0


async def test_a_server_that_takes_one_event_at_a_time_gets_them_all(autojump_clock: MockClock) -> None:
    """Each of 1000 has its own request, in order except for events that were set aside."""
    sink = PickySink(lambda numbers: len(numbers) > 1)
    async with collector(BatchMetricsConfig(batch_size=1000), sinks=[sink]) as metrics:
        record(metrics, 1, 1000)
        assert (await metrics.flush()).processed == 1000
    assert sink.delivered == [*range(1, 1001)]
    assert len(sink.requests) == 1999


# -- meanwhile, and afterwards


async def test_events_queued_behind_the_rest_are_delivered_meanwhile(autojump_clock: MockClock) -> None:
    """They go as soon as their batch is complete, however long the back-end has taken nothing of the rest."""
    sink = PickySink(any_of({*range(1, 2001)}))
    async with collector(BatchMetricsConfig(batch_size=2000, flush_interval=1), sinks=[sink]) as metrics:
        record(metrics, 1, 2000)
        for moment in (0, 40, 100, 200):
            await trio.sleep(moment - trio.current_time())
            record(metrics, 2001 + moment, 2010 + moment)
            await trio.sleep(2)
            [arrived] = [request.at for request in sink.requests if 2001 + moment in request.events]
            assert arrived == moment + 1
        await metrics.flush()
    stats = account(metrics)
    assert stats.delivered == 40
    assert stats.rejected + stats.failed == 2000


async def test_the_rest_goes_on_where_it_stopped(autojump_clock: MockClock) -> None:
    """Its halves aren't joined again; once the back-end takes them, each event arrives once."""
    sink = PickySink(lambda _: trio.current_time() < 5)
    async with collector(LARGE, sinks=[sink]) as metrics:
        record(metrics, 1, 5000)
        await metrics.flush()
    rejected = {request.events[0] for request in sink.requests if not request.taken and len(request.events) == 1}
    assert sink.delivered == [number for number in range(1, 5001) if number not in rejected]
    assert rejected == {*range(1, len(rejected) + 1)}
    stats = account(metrics)
    assert (stats.delivered, stats.rejected, stats.failed) == (5000 - len(rejected), len(rejected), 0)
    whole = [request.events for request in sink.requests if len(request.events) == 5000]
    assert len(whole) == 1


async def test_several_rests_go_on_one_at_a_time_once_the_queue_was_tried(autojump_clock: MockClock) -> None:
    """Each one goes on after its own backoff, with 64 requests more."""
    poison = {number for number in range(1, 3001) if number % 2}
    sink = PickySink(any_of(poison), max_events=500)
    async with collector(BatchMetricsConfig(batch_size=500), sinks=[sink]) as metrics:
        record(metrics, 1, 3000)
        await metrics.flush()
        assert trio.current_time() < 60
    stats = account(metrics)
    assert (stats.delivered, stats.rejected, stats.failed) == (1500, 1500, 0)
    origins = [(request.events[0] - 1) // 500 for request in sink.requests]
    for number in range(6):  # no set-aside event goes on before the whole queue has been tried
        assert origins[64 * number : 64 * (number + 1)] == [number] * 64
    assert max(sink.moments.values()) == 6 * 64
    assert sorted(sink.moments.values())[-2] == 64


async def test_a_rest_and_the_queue_take_turns(autojump_clock: MockClock) -> None:
    """Requests take long here, so that all of them are due: neither waits for all of the other."""

    class Slow(PickySink):
        async def send(self, payload: Payload[str]) -> Receipt | None:
            await trio.sleep(0.05)
            return await super().send(payload)

    sink = Slow(any_of({number for number in range(1, 201) if number % 2}), max_events=100)
    async with collector(BatchMetricsConfig(batch_size=100), sinks=[sink]) as metrics:
        record(metrics, 1, 1200)
        await metrics.flush()
    turns = [origin for origin, _ in groupby((request.events[0] - 1) // 100 for request in sink.requests)]
    assert turns[:10] == [0, 1, 0, 2, 1, 3, 0, 4, 1, 5]
    assert account(metrics).delivered == 1100


@pytest.mark.parametrize("settings", [{"retry_budget": 20.0}, {"retry_budget": 1.0, "backoff": 50.0}])
async def test_the_rest_shares_the_budget_of_its_payload(settings: dict[str, Any], autojump_clock: MockClock) -> None:
    """No request begins at its end or later, and what remains then has failed, though a pause would be longer."""
    sink = PickySink(everything, **settings)
    async with collector(LARGE, sinks=[sink]) as metrics:
        record(metrics, 1, 1000)
        await metrics.flush()
        assert trio.current_time() == settings["retry_budget"]
    stats = account(metrics)
    assert stats.rejected + stats.failures["retry_budget"] == 1000
    assert max(request.at for request in sink.requests) < settings["retry_budget"]


async def test_events_that_may_be_stored_stay_in_doubt_when_they_are_set_aside(autojump_clock: MockClock) -> None:
    """An event that is refused alone has therefore failed, and isn't rejected."""
    sink = PickySink(everything, in_doubt=True)
    async with collector(LARGE, sinks=[sink]) as metrics:
        record(metrics, 1, 200)
        await metrics.flush()
    stats = account(metrics)
    assert (stats.rejected, stats.failed) == (0, 200)


# -- the end of the block


async def test_at_the_end_of_the_block_the_rest_goes_first(autojump_clock: MockClock) -> None:
    """It goes at once, before the queue."""
    large = {*range(1, 1001)}
    sink = PickySink(any_of(large), backoff=1000.0, max_backoff=1000.0)
    async with collector(BatchMetricsConfig(batch_size=1000), sinks=[sink]) as metrics:
        record(metrics, 1, 1000)
        await trio.sleep(1)
        assert len(sink.requests) == 64
        assert account(metrics).pending == 1000 - account(metrics).rejected
        large.clear()
        record(metrics, 1001, 1002)
    assert trio.current_time() == 1
    rejected = account(metrics).rejected
    assert sink.delivered == [*range(rejected + 1, 1003)]
    assert account(metrics).delivered == 1002 - rejected


@pytest.mark.parametrize("timeout", [0, 1, 10])
async def test_the_rest_does_not_delay_the_end_of_the_block(timeout: float, autojump_clock: MockClock) -> None:
    """Events that are set aside fail at the deadline, like all others."""
    sink = PickySink(everything)
    config = BatchMetricsConfig(batch_size=5000, buffer_size=10_000, shutdown_timeout=timeout)
    async with collector(config, sinks=[sink]) as metrics:
        record(metrics, 1, 5000)
        await trio.sleep(3)
        record(metrics, 5001, 6000)
    assert trio.current_time() == 3 + timeout
    stats = account(metrics)
    assert (stats.pending, stats.delivered) == (0, 0)
    assert stats.rejected + stats.failures["shutdown"] == stats.total
    assert metrics.stats().failed_events == 6000
    assert max(sink.moments.values()) <= 192


@pytest.mark.parametrize("seed", range(30))
async def test_wherever_the_block_is_cancelled_the_ledger_balances(seed: int, autojump_clock: MockClock) -> None:
    """Requests are slow, and some too large or lost at random: accepted events are delivered, and none twice."""
    dice = random.Random(seed)

    class Slow(PickySink):
        async def send(self, payload: Payload[str]) -> Receipt | None:
            await trio.sleep(dice.choice([0, 0.01, 0.1]))
            if dice.random() < 0.05:
                return Receipt.retried(error="503")
            return await super().send(payload)

    sink = Slow(lambda numbers: dice.random() < 0.8 or len(numbers) > 40)
    config = BatchMetricsConfig(batch_size=300, buffer_size=900, shutdown_timeout=dice.choice([0, 0.5, 5]))
    auditor = Auditor()
    trio.lowlevel.add_instrument(auditor)
    with trio.move_on_after(dice.uniform(0, 20)):
        async with collector(config, sinks=[sink, RecordingSink()]) as auditor.metrics:
            for step in range(100):
                record(auditor.metrics, 30 * step + 1, 30 * step + 30)
                await trio.sleep(dice.choice([0, 0.1, 0.5]))
    trio.lowlevel.remove_instrument(auditor)
    assert auditor.error is None
    assert auditor.metrics is not None
    stats = account(auditor.metrics)
    assert stats.pending == 0
    assert stats.delivered == len(sink.delivered) == len({*sink.delivered})


# -- room in the queue


async def test_the_rest_takes_room_in_the_queue(autojump_clock: MockClock) -> None:
    """The only sink's flush task therefore waits, and no event is evicted to make room."""
    sink = PickySink(any_of({*range(1, 1001)}), backoff=100.0, max_backoff=100.0)
    async with collector(BatchMetricsConfig(batch_size=1000, buffer_size=1000), sinks=[sink]) as metrics:
        record(metrics, 1, 1000)
        await wait_all_tasks_blocked()
        rejected = account(metrics).rejected
        record(metrics, 1001, 2000)
        await wait_all_tasks_blocked()
        assert account(metrics).total == 1000  # the second batch is larger than the remaining room
        assert (await metrics.flush()).pending == 0
    stats = account(metrics)
    assert stats.delivered == 1000
    assert "queue_full" not in stats.failures
    assert rejected < stats.rejected <= 1000


class GatedSink(PickySink):
    """A sink that takes nothing before it is opened; refusals come at once."""

    def __init__(self, too_large: Callable[[list[int]], bool]) -> None:
        """Create a shut sink with an unlimited timeout."""
        super().__init__(too_large, backoff=1e6, max_backoff=1e6, timeout=1e9, retry_budget=1e9)
        self.gate = trio.Event()

    async def send(self, payload: Payload[str]) -> Receipt | None:
        """Refuse, or wait."""
        receipt = await super().send(payload)
        if receipt is None:
            await self.gate.wait()
        return receipt


CROWDED = BatchMetricsConfig(batch_size=50, buffer_size=110)


async def test_a_full_queue_evicts_the_rest_first_and_no_more_than_it_must(autojump_clock: MockClock) -> None:
    """Another sink goes on, and the rest loses its oldest events; the others arrive at the end."""
    poison = {*range(1, 51)}
    sink, good = GatedSink(any_of(poison)), RecordingSink()
    async with collector(CROWDED, sinks=[sink, good]) as metrics:
        record(metrics, 1, 50)
        await wait_all_tasks_blocked()
        assert len(sink.requests) == 64
        rejected = account(metrics).rejected
        for first in (51, 101):  # one batch is in flight, and stuck, the other fits into the queue
            record(metrics, first, first + 49)
            await wait_all_tasks_blocked()
        assert account(metrics).failed == 0
        record(metrics, 151, 200)
        await wait_all_tasks_blocked()
        assert account(metrics).failures == {"queue_full": 40 - rejected}
        poison.clear()
        sink.gate.set()
    assert sorted(sink.delivered) == [*range(41, 201)]
    assert account(metrics).delivered == 160
    assert len(good.events) == 200


async def test_a_full_queue_evicts_queued_events_once_the_rest_is_gone(autojump_clock: MockClock) -> None:
    """It never evicts events in flight."""
    sink = GatedSink(any_of({*range(1, 51)}))
    async with collector(CROWDED, sinks=[sink, RecordingSink()]) as metrics:
        for first in range(1, 251, 50):
            record(metrics, first, first + 49)
            await wait_all_tasks_blocked()
        rejected = account(metrics).rejected
        assert account(metrics).failures == {"queue_full": 50 - rejected + 40}
        sink.gate.set()
        await metrics.flush()
    assert sink.delivered == [*range(51, 101), *range(141, 251)]
    assert account(metrics).delivered == 160
