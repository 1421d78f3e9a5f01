"""However long a sink is stuck, the collector's memory and the work per step stay bounded."""

from __future__ import annotations

import gc
import time

import trio
from trio.testing import MockClock

from tests.delivery.sinks import GatedSink, ScriptedSink, account, assert_let_in, record, record_batches, upto
from tests.helpers import balanced, report_balanced
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.abc import EventSink, Payload, Receipt
from trio_batchmetrics.testing import FlakySink, RecordingSink, StuckSink


def kept() -> int:
    """Count the live objects of the library's own classes."""
    gc.collect()
    return sum(str(type(one).__module__).startswith("trio_batchmetrics") for one in gc.get_objects())


async def test_the_work_for_a_long_queue_grows_with_its_length_and_not_with_the_square(
    autojump_clock: MockClock,
) -> None:
    """Two thousand payloads of one event take a fraction of a second, and don't block the loop for half a minute."""
    bad, good = GatedSink(name="bad", max_events=1), ScriptedSink(name="good")
    async with collector(BatchMetricsConfig(batch_size=1, buffer_size=2000), sinks=[bad, good]) as metrics:
        await record_batches(metrics, 1, 2001, 1)
        start = time.process_time()
        bad.gate.set()
        await metrics.flush()
        assert time.process_time() - start < 5
    assert [event for payload in bad.payloads for event in payload] == upto(2001)


async def test_batches_that_are_evicted_whole_take_no_memory(autojump_clock: MockClock) -> None:
    """However long a sink is stuck, the waiting events are bounded, and so are the batches without events."""

    async def push_out(count: int) -> None:
        for number in range(count):
            record(metrics, number, number)
            await trio.lowlevel.checkpoint()

    config = BatchMetricsConfig(batch_size=1, buffer_size=3, on_full="drop_oldest")
    async with collector(config, sinks=[StuckSink()]) as metrics:
        await push_out(100)
        before = kept()
        await push_out(500)
        assert balanced(metrics.stats()).dropped["buffer_full"] > 500
        assert kept() - before < 20


async def test_eviction_does_not_slow_down_while_a_sink_is_stuck(autojump_clock: MockClock) -> None:
    """Ten thousand empty batches take a fraction of a second, because they aren't searched each time."""
    config = BatchMetricsConfig(batch_size=1, buffer_size=3, on_full="drop_oldest")
    async with collector(config, sinks=[StuckSink()]) as metrics:
        start = time.process_time()
        record(metrics, 1, 10_000)
        assert time.process_time() - start < 2
        assert balanced(metrics.stats()).dropped == {"buffer_full": 9997}


async def test_a_send_that_never_waits_does_not_hold_the_run_loop(autojump_clock: MockClock) -> None:
    """A hundred payloads give other tasks a hundred chances to run."""

    class Instant(EventSink[None]):
        """A sink that responds without a checkpoint."""

        attempts = 0

        async def send(self, payload: Payload[None]) -> None:
            self.attempts += 1

    sink = Instant(max_events=10)
    seen: list[int] = []

    async def others() -> None:
        while True:
            seen.append(sink.attempts)
            await trio.lowlevel.checkpoint()

    async with collector(BatchMetricsConfig(batch_size=1000), sinks=[sink]) as metrics, trio.open_nursery() as nursery:
        nursery.start_soon(others)
        record(metrics, 1, 1000)
        await metrics.flush()
        nursery.cancel_scope.cancel()
    assert sink.attempts == 100
    assert_let_in(seen)


async def test_a_sink_that_fails_at_once_does_not_hold_the_run_loop(autojump_clock: MockClock) -> None:
    """Refusing, halving and rejecting are tried too: every attempt has a checkpoint."""

    class Instant(EventSink[None]):
        """A sink that responds without a checkpoint."""

        attempts = 0

        async def send(self, payload: Payload[None]) -> Receipt:
            self.attempts += 1
            return Receipt.split()

    sink = Instant()
    seen: list[int] = []

    async def others() -> None:
        while True:
            seen.append(sink.attempts)
            await trio.lowlevel.checkpoint()

    async with collector(BatchMetricsConfig(batch_size=32), sinks=[sink]) as metrics, trio.open_nursery() as nursery:
        nursery.start_soon(others)
        record(metrics, 1, 32)
        await metrics.flush()
        nursery.cancel_scope.cancel()
    assert sink.attempts == 63
    assert_let_in(seen)
    assert account(metrics, "instant").rejected == 32


async def test_flush_leaves_nothing_behind_when_all_is_settled(autojump_clock: MockClock) -> None:
    """The ledger holds no cohort and no watch, however many events went through."""
    async with collector(BatchMetricsConfig(batch_size=3), sinks=[RecordingSink(), FlakySink(3)]) as metrics:
        for repetition in range(30):
            record(metrics, 5 * repetition + 1, 5 * repetition + 5)
            assert report_balanced(await metrics.flush(), 5).ok
        ledger = metrics._engine.ledger
        assert ledger.retained == 0


async def test_a_batch_of_invalid_events_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    """The collector forgets the batch like any other settled one."""
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[]) as metrics:
        before = kept()
        for _ in range(100):
            metrics.record_counter("", {}, 1)
            metrics.record_counter("", {}, 1)
            assert (await metrics.flush()).dropped == 2
        assert kept() - before < 20
