"""Leaving takes at most `shutdown_timeout`, and every sink is tried until then."""

from __future__ import annotations

import logging

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.helpers import MANY, assert_full_jitter, balanced, ids
from tests.leaving.sinks import ENDINGS, BodyError, SlowSink, record
from trio_batchmetrics import BatchMetricsCollector, BatchMetricsConfig, collector
from trio_batchmetrics.abc import Payload, Receipt
from trio_batchmetrics.testing import FlakySink, RecordingSink, StuckSink


@pytest.mark.parametrize("ending", ENDINGS[:4])
@pytest.mark.parametrize("timeout", [0, 2.5, 10])
async def test_a_stuck_sink_costs_exactly_shutdown_timeout_and_one_line(
    ending: str, timeout: float, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The good sink gets everything at once, leaving takes exactly the timeout, and one line reports the loss."""
    good, stuck = RecordingSink(), StuckSink()
    config = BatchMetricsConfig(batch_size=2, shutdown_timeout=timeout)
    metrics: BatchMetricsCollector | None = None
    left = -1.0
    with trio.CancelScope() as outer, pytest.raises(BodyError) if ending == "body error" else trio.CancelScope():
        if ending == "deadline":
            outer.deadline = trio.current_time() + 1
        async with collector(config, sinks=[stuck, good]) as metrics:
            record(metrics, 4)
            await trio.testing.wait_all_tasks_blocked()
            assert ids(good.events) == [1, 2, 3, 4]
            left = trio.current_time() + 1
            await trio.sleep(1)
            if ending == "body error":
                raise BodyError
            if ending == "outer cancel":
                outer.cancel()
                await trio.sleep_forever()
    assert metrics is not None
    assert trio.current_time() - left == timeout
    stats = balanced(metrics.stats())
    assert (stats.processed_events, stats.failed_events, stats.pending_events) == (0, 4, 0)
    assert stats.sinks["recording"].delivered == 4
    assert stats.sinks["stuck"].failures == {"shutdown": 4}
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert "lost 4 of 4 events" in lines[0]


async def test_without_time_there_is_no_further_attempt(autojump_clock: MockClock) -> None:
    """With shutdown_timeout=0, events that weren't delivered before fail at once, without another attempt."""
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(shutdown_timeout=0), sinks=[sink]) as metrics:
        record(metrics, 3)
        await trio.testing.wait_all_tasks_blocked()
        left = trio.current_time()
    assert trio.current_time() == left
    assert sink.attempts == 0
    assert balanced(metrics.stats()).failed_events == 3


async def test_retries_go_on_until_the_deadline(autojump_clock: MockClock) -> None:
    """A sink that recovers in time gets everything; the pauses start again at half a second."""
    sink = FlakySink(fail=6, backoff=0.5, max_backoff=30)
    async with collector(BatchMetricsConfig(batch_size=2, shutdown_timeout=60), sinks=[sink]) as metrics:
        record(metrics, 2)
        await trio.testing.wait_all_tasks_blocked()
        left = trio.current_time()
    stats = balanced(metrics.stats())
    assert stats.processed_events == 2
    assert stats.sinks["flaky"].retries == 6
    assert trio.current_time() - left <= 0.5 + 1 + 2 + 4 + 8 + 16


async def test_a_backoff_that_leaving_cuts_short_starts_again_at_the_shortest(autojump_clock: MockClock) -> None:
    """After minutes of pauses of up to 30 s, attempts come at once, then up to 0.5 s, 1 s and 2 s later."""

    class Down(RecordingSink):
        """A sink that always fails."""

        def __init__(self) -> None:
            """Create a sink that keeps the times of its attempts."""
            super().__init__()
            self.times: list[float] = []

        async def send(self, payload: Payload[None]) -> Receipt | None:
            """Keep the time, and fail."""
            self.times.append(trio.current_time())
            return Receipt.retried(error="down")

    sinks = [Down() for _ in range(MANY)]
    async with collector(BatchMetricsConfig(batch_size=2, shutdown_timeout=5), sinks=sinks) as metrics:
        record(metrics, 2)
        await trio.sleep(200)
        for sink in sinks:
            sink.times.clear()
        left = trio.current_time()
    assert {sink.times[0] for sink in sinks} == {left}
    for n, longest in enumerate([0.5, 1, 2]):
        assert_full_jitter([sink.times[n + 1] - sink.times[n] for sink in sinks], longest)
    assert balanced(metrics.stats()).failed_events == 2


async def test_events_that_the_deadline_cuts_off_have_failed_and_confirmed_ones_have_not(
    autojump_clock: MockClock,
) -> None:
    """At one second per batch, 3.5 s are enough for three batches; the others have failed."""
    sink = SlowSink(1)
    sink.max_events = 2
    async with collector(BatchMetricsConfig(batch_size=2, shutdown_timeout=3.5), sinks=[sink]) as metrics:
        record(metrics, 10)
        left = trio.current_time()
    assert trio.current_time() - left == 3.5
    stats = balanced(metrics.stats())
    assert stats.processed_events == len(sink.events) == 6
    assert stats.failed_events == 4


async def test_an_attempt_under_way_when_the_block_is_left_may_fail_and_is_soon_made_again(
    autojump_clock: MockClock,
) -> None:
    """However many attempts failed before, the pauses are short from then on, so the next attempt is in time."""

    class Down(RecordingSink):
        """A sink that fails twelve times, the twelfth time slowly."""

        async def send(self, payload: Payload[None]) -> Receipt | None:
            """Fail, or take the batch."""
            if self.attempts < 12:
                self.attempts += 1
                await trio.sleep(1 if self.attempts == 12 else 0)
                if self.attempts == 12:
                    twelfth.set()
                    await trio.sleep(1)
                raise OSError("no route")
            return await super().send(payload)

    twelfth = trio.Event()
    async with collector(BatchMetricsConfig(batch_size=2, shutdown_timeout=10), sinks=[Down()]) as metrics:
        record(metrics, 2)
        await twelfth.wait()
    assert balanced(metrics.stats()).processed_events == 2
