"""At the end of the block a sink gets its last attempts, and only the process that opened it closes it."""

from __future__ import annotations

import os

import pytest
import trio
from trio.testing import MockClock

from tests.delivery.sinks import ScriptedSink
from tests.helpers import balanced
from trio_batchmetrics import Batch, BatchMetricsConfig, collector
from trio_batchmetrics._concurrency.turns import Turn
from trio_batchmetrics._delivery.attempts import Attempts
from trio_batchmetrics._delivery.event_delivery import EventDelivery
from trio_batchmetrics._delivery.room import RoomSignal
from trio_batchmetrics._ledger.counters import SinkCounters
from trio_batchmetrics._ledger.ledger import Ledger
from trio_batchmetrics.abc import Payload, Receipt
from trio_batchmetrics.testing import RecordingSink


async def test_a_pause_that_a_backend_asks_for_does_not_cost_the_last_attempts(autojump_clock: MockClock) -> None:
    """At the end of the block, the collector asks earlier if there isn't enough time for the whole pause."""
    busy = Receipt.retried(60, error="429")
    for busy_times, delivered in ((1, 1), (3, 1), (100, 0)):
        sink = ScriptedSink(*[busy] * busy_times)
        start = trio.current_time()
        async with collector(BatchMetricsConfig(shutdown_timeout=10), sinks=[sink]) as metrics:
            metrics.record_counter("c", {"id": 0}, 1)
        assert balanced(metrics.stats()).sinks["scripted"].delivered == delivered
        assert trio.current_time() - start <= 10
        assert len(sink.attempts) < 10


async def test_a_forked_child_does_not_close_its_parents_sinks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing may talk to the back-end, as where it deletes a consumer group."""

    class Closing(ScriptedSink):
        closed = 0

        async def aclose(self) -> None:
            self.closed += 1
            await trio.lowlevel.checkpoint()

    for child in (True, False):
        sink, counters, pid = Closing(), SinkCounters("closing", series=False), os.getpid()
        delivery = EventDelivery(
            sink,
            counters,
            Ledger([counters]),
            capacity=1,
            run_id="",
            room=RoomSignal(Turn()),
            report=lambda: None,
        )
        delivery.finish()
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda pid=pid + child: pid)
            await delivery.run()
        assert sink.closed == (not child)


async def test_a_cancelled_task_makes_no_attempt_even_if_it_was_just_woken() -> None:
    """With a ``shutdown_timeout`` of 0 there is no further attempt, not even by a task that was just woken."""
    sink = RecordingSink()
    attempts = Attempts(sink, SinkCounters("recording", series=False), lambda: None)
    attempts.just_resumed = True
    with trio.CancelScope() as scope:
        scope.cancel()
        await attempts.attempt(Payload(Batch([]), (), "a key"))
    assert scope.cancelled_caught
    assert sink.attempts == 0
