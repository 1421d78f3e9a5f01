"""A busy run loop loses no event: the flush task works by time, not by turns, and no task waits long for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.helpers import balanced, ids
from trio_batchmetrics import Batch, BatchMetricsConfig, MetricEvent, collector
from trio_batchmetrics._concurrency.turns import Turn
from trio_batchmetrics._delivery.event_delivery import EventDelivery
from trio_batchmetrics._delivery.in_flight import InFlight, Request
from trio_batchmetrics.abc import EventSink, Payload
from trio_batchmetrics.sinks import PrometheusSink
from trio_batchmetrics.testing import FlakySink, RecordingSink


async def nothing(batch: Batch) -> None:
    """Take a batch."""


SINKS: dict[str, Callable[[], list[Any]]] = {
    "none": list,
    "function": lambda: [nothing],
    "prometheus": lambda: [PrometheusSink()],
    "two": lambda: [nothing, PrometheusSink()],
}


@pytest.mark.parametrize("sinks", SINKS.values(), ids=SINKS)
@pytest.mark.parametrize("tasks", [300, 1000, 5000])
async def test_many_runnable_tasks_that_record_lose_nothing(tasks: int, sinks: Callable[[], list[Any]]) -> None:
    """Each task works for 20 µs and records once per pass of the run loop: at default settings, nothing is dropped."""
    rounds = max(20, 30_000 // tasks)

    async def record() -> None:
        for _ in range(rounds):
            end = time.perf_counter() + 20e-6
            while time.perf_counter() < end:
                pass
            metrics.record_http_request("GET", "/", 200, 0.1)
            await trio.lowlevel.checkpoint()

    async with collector(sinks=sinks()) as metrics:
        async with trio.open_nursery() as nursery:
            for _ in range(tasks):
                nursery.start_soon(record)
    stats = balanced(metrics.stats())
    assert stats.dropped == {}
    assert stats.processed_events == stats.total_events == rounds * tasks


@pytest.mark.parametrize("sinks", SINKS.values(), ids=SINKS)
async def test_bursts_between_checkpoints_lose_nothing(sinks: Callable[[], list[Any]]) -> None:
    """Each pass records two batches, for longer than the buffer can hold."""
    async with collector(sinks=sinks()) as metrics:
        for _ in range(400):
            for _ in range(200):
                metrics.record_http_request("GET", "/", 200, 0.1)
            await trio.lowlevel.checkpoint()
    stats = balanced(metrics.stats())
    assert (stats.processed_events, stats.dropped) == (80_000, {})


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
async def test_beyond_the_buffer_exactly_the_excess_is_dropped(policy: Any, autojump_clock: MockClock) -> None:
    """Of 130 events between two turns of the flush task, with room for 100, it drops 30 each time."""
    sink = RecordingSink()
    config = BatchMetricsConfig(batch_size=7, buffer_size=100, on_full=policy)
    kept: list[int] = []
    async with collector(config, sinks=[sink]) as metrics:
        for start in range(0, 5 * 130, 130):
            await metrics.flush()
            for number in range(start, start + 130):
                metrics.record_counter("c", {"id": number}, 1)
            kept += range(start, start + 100) if policy == "drop_newest" else range(start + 30, start + 130)
    assert ids(sink.events) == kept
    assert balanced(metrics.stats()).dropped == {"buffer_full": 150}


class Encoding(EventSink[str]):
    """A sink that encodes, and accepts every payload."""

    def encode(self, events: Sequence[MetricEvent]) -> str:
        """Encode a batch."""
        return "x" * len(events)

    async def send(self, payload: Payload[str]) -> None:
        """Take a payload."""


@pytest.mark.parametrize("sinks", [*SINKS.values(), lambda: [Encoding()]], ids=[*SINKS, "encoding"])
async def test_two_passes_of_events_fit_into_the_buffer_in_whatever_order_the_tasks_run(
    sinks: Callable[[], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flush task may be the first in one pass and the last in the next, and a sink's task the opposite."""
    monkeypatch.setattr(Turn, "over", False)

    async def record() -> None:
        for _ in range(1000):
            metrics.record_cache_metric("redis", "hit")
            await trio.lowlevel.checkpoint()

    async with collector(BatchMetricsConfig(batch_size=2, buffer_size=100), sinks=sinks()) as metrics:
        async with trio.open_nursery() as nursery:
            for _ in range(49):
                nursery.start_soon(record)
    stats = balanced(metrics.stats())
    assert (stats.processed_events, stats.dropped) == (49_000, {})


@pytest.mark.parametrize(
    ("sink", "room"),
    [
        (RecordingSink(), 100),
        (Encoding(), 100),
        (Encoding(max_events=10), 10),
        (Encoding(max_payload_bytes=1000), 0),
    ],
    ids=["recording", "encoding", "ten at a time", "some bytes at a time"],
)
async def test_events_that_a_sink_is_about_to_take_leave_their_room_to_others(sink: EventSink[Any], room: int) -> None:
    """Only events known to be next count. Once they are taken, there is as much room again, and no more."""
    async with collector(BatchMetricsConfig(batch_size=100, buffer_size=100), sinks=[sink]) as metrics:
        (delivery,) = metrics._engine._deliveries
        assert isinstance(delivery, EventDelivery)
        while delivery._queue.count < 100:  # tasks run in either order: it may have taken some in the same pass
            await metrics.flush()
            for _ in range(100):
                metrics.record_cache_metric("redis", "hit")
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
        assert delivery.room == room
        await metrics.flush()
        assert delivery.room == 100


async def test_events_that_are_set_aside_may_go_before_queued_ones() -> None:
    """The sink's next events aren't known then, so they leave no room to others."""
    async with collector(BatchMetricsConfig(batch_size=100, buffer_size=100), sinks=[RecordingSink()]) as metrics:
        (delivery,) = metrics._engine._deliveries
        assert isinstance(delivery, EventDelivery)
        while delivery._queue.count < 100:
            await metrics.flush()
            for _ in range(100):
                metrics.record_cache_metric("redis", "hit")
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
        delivery._aside.put(InFlight([Request(delivery._queue.pop(1))]))
        assert delivery.room == 0
    assert balanced(metrics.stats()).processed_events == metrics.stats().total_events


async def _batches_of(events: int, took: float = 0.0) -> list[int]:
    """Return the batches that a function of this duration gets from events at once, with a buffer of 200."""
    batches: list[int] = []

    async def sink(batch: Batch) -> None:
        batches.append(len(batch))
        await trio.sleep(took)

    async with collector(BatchMetricsConfig(batch_size=10, buffer_size=200), sinks=[sink]) as metrics:
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(events):
            metrics.record_cache_metric("redis", "hit")
        await trio.sleep(60)
    return batches


async def test_a_sink_that_keeps_up_gets_each_batch_by_itself(autojump_clock: MockClock) -> None:
    """While few events wait, a function or a recording sink sees batches as they were formed."""
    assert await _batches_of(50) == [10] * 5


async def test_a_slow_sink_gets_everything_that_has_queued_up(autojump_clock: MockClock) -> None:
    """One call for each batch would take that time for each batch."""
    assert await _batches_of(50, took=1.0) == [10, 40]


async def test_a_failing_sink_gets_everything_that_has_queued_up(autojump_clock: MockClock) -> None:
    """Batch by batch, a back-end that is down would get a request for each, with a backoff each time."""
    sink = FlakySink(fail=1)
    async with collector(BatchMetricsConfig(batch_size=10, buffer_size=200), sinks=[sink]) as metrics:
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(50):
            metrics.record_cache_metric("redis", "hit")
        await metrics.flush()
    assert [*map(len, sink.batches)] == [10, 40]


async def test_a_sink_that_is_behind_gets_everything_that_has_queued_up(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sink is behind with more than a quarter of its queue's capacity."""
    monkeypatch.setattr(Turn, "over", False)
    assert await _batches_of(60) == [60]


async def test_the_events_that_were_there_first_are_handed_over_in_the_flush_tasks_first_pass() -> None:
    """Existing events don't wait for a later pass. It is tried 20 times, since a pass runs tasks in either order."""
    for _ in range(20):
        async with collector(BatchMetricsConfig(batch_size=10), sinks=[]) as metrics:
            for _ in range(100):
                metrics.record_cache_metric("redis", "hit")
            for _ in range(2):  # in the first pass, the task is started
                await trio.lowlevel.checkpoint()
            assert balanced(metrics.stats()).processed_events == 100


async def test_a_recorder_looks_up_its_attributes_the_quick_way() -> None:
    """CPython 3.11 does so with slots, and else for up to 30 attributes only: it makes up a third of a call's time."""
    async with collector(sinks=[]) as metrics:
        assert not hasattr(metrics._engine.buffer, "__dict__")


class Clock:
    """A clock that can be set."""

    now = 0.0

    def __call__(self) -> float:
        """Return the set time."""
        return self.now


def test_a_turn_takes_a_millisecond_or_a_tenth_of_the_wait_for_it() -> None:
    """It takes the longer of the two, counted from when there was work."""
    clock = Clock()
    turn = Turn(clock, clock)
    clock.now = 0.0009
    assert not turn.over
    clock.now = 0.001
    assert turn.over
    clock.now = 5.0
    turn.begin()  # the time since when there was work wasn't reported
    clock.now = 5.0011
    assert turn.over
    turn.note_work()
    clock.now = 5.0511
    turn.note_work()  # there was work already
    clock.now = 5.1011
    turn.begin()  # after 0.1 s
    clock.now = 5.1110
    assert not turn.over
    clock.now = 5.1112
    assert turn.over


async def test_giving_way_is_a_checkpoint_and_begins_another_turn() -> None:
    """It lasts a tenth of the time that the other tasks took."""
    times, work = iter([1.0, 1.25]), Clock()
    turn = Turn(lambda: next(times), work)
    with trio.testing.assert_checkpoints():
        await turn.yield_to_others()
    work.now = 0.0249
    assert not turn.over
    work.now = 0.0251
    assert turn.over


def turn_after(wait: float) -> tuple[Turn, Clock, Clock]:
    """Return a turn that begins after a wait of so many seconds, its clock, and the clock of its work."""
    clock, work = Clock(), Clock()
    turn = Turn(clock, work)
    turn.note_work()
    clock.now = wait
    turn.begin()
    return turn, clock, work


async def test_the_rest_of_a_long_turn_is_kept_when_it_gives_way() -> None:
    """It may have waited for a sink, for example; the run loop comes round sooner this time, and later next time."""
    turn, _, work = turn_after(0.25)  # of 25 ms
    work.now = 0.004
    await turn.yield_to_others()
    assert turn.extended
    work.now = 0.0249
    assert not turn.over
    work.now = 0.0251
    assert turn.over
    await turn.yield_to_others()
    assert not turn.extended
    work.now = 0.0262
    assert turn.over


def test_a_garbage_collection_in_a_long_turn_is_not_counted_the_first_time() -> None:
    """No step of the flush task takes that long. A second time, it may be the application's own code, every time."""
    turn, clock, work = turn_after(0.2)  # of 20 ms
    work.now = 0.005
    assert not turn.over
    work.now = 0.1  # 95 ms
    assert not turn.over
    work.now = 0.1149
    assert not turn.over
    work.now = 0.1151
    assert turn.over
    clock.now = 0.4
    turn.note_work()
    clock.now = 0.6
    turn.begin()
    work.now = 0.2
    assert not turn.over
    work.now = 0.3
    assert turn.over


def test_a_short_turn_ends_after_a_long_step() -> None:
    """The loop comes round again quickly, so the other tasks need not wait for another step."""
    work = Clock()
    turn = Turn(Clock(), work)
    work.now = 0.1
    assert turn.over


async def test_a_sink_with_a_byte_limit_gets_its_turn_before_it_gives_events_up() -> None:
    """Alongside a series sink, the flush task doesn't wait for room. In each pass, either task may run first."""
    sink = Encoding(max_payload_bytes=10_000)
    async with collector(BatchMetricsConfig(batch_size=10, buffer_size=20), sinks=[sink, PrometheusSink()]) as metrics:
        for _ in range(100):
            for _ in range(20):
                metrics.record_cache_metric("redis", "hit")
            await trio.lowlevel.checkpoint()
    assert balanced(metrics.stats()).sinks["encoding"].failures == {}, "a full buffer refuses new events instead"
