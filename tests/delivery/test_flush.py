"""A flush waits until every event recorded before it is settled, and accounts for exactly those."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.delivery.sinks import ScriptedSink, record, upto
from tests.helpers import balanced, report_balanced
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.abc import Receipt
from trio_batchmetrics.testing import RecordingSink, StuckSink


async def test_flush_waits_while_a_sink_backs_off(autojump_clock: MockClock) -> None:
    """It returns at the instant when the retry succeeds, though another sink was done at once."""
    sink = ScriptedSink(Receipt.retried(17), takes=1)
    async with collector(sinks=[RecordingSink(), sink]) as metrics:
        record(metrics, 1, 3)
        report = report_balanced(await metrics.flush(), 3)
        assert trio.current_time() == 19
        assert report.ok


async def test_flush_returns_when_the_events_it_waits_for_are_given_up(autojump_clock: MockClock) -> None:
    """Events that exceeded their retry budget are settled, too."""
    sink = StuckSink(timeout=4, retry_budget=3)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await trio.sleep(1)
        record(metrics, 3, 4)
        report = report_balanced(await metrics.flush(), 4)
        assert trio.current_time() == 8
        assert (report.failed, report.ok) == (4, False)


async def test_several_flushes_at_once_each_account_for_their_own(autojump_clock: MockClock) -> None:
    """A flush that is called later waits for more events, and neither waits for events recorded afterwards."""
    sink = ScriptedSink(takes=10)
    done: dict[str, tuple[float, int]] = {}

    async def flush(name: str) -> None:
        report = await metrics.flush()
        done[name] = (trio.current_time(), report.processed)

    async with collector(BatchMetricsConfig(batch_size=10), sinks=[sink]) as metrics, trio.open_nursery() as nursery:
        record(metrics, 1, 2)
        nursery.start_soon(flush, "a")
        await trio.sleep(5)
        record(metrics, 3, 5)
        nursery.start_soon(flush, "b")
        nursery.start_soon(flush, "c")
        await trio.sleep(6)
        record(metrics, 6, 7)
    assert done == {"a": (10, 2), "b": (20, 5), "c": (20, 5)}


@pytest.mark.parametrize("moment", [0.0, 0.5, 3.0])
async def test_a_flush_that_is_cancelled_leaves_no_trace(moment: float, autojump_clock: MockClock) -> None:
    """The events it handed over go on their way, and nothing watches them any more."""
    sink = ScriptedSink(Receipt.retried(200), takes=1)
    async with collector(sinks=[RecordingSink(), sink]) as metrics:
        for repetition in range(50):
            record(metrics, 2 * repetition + 1, 2 * repetition + 2)
            with trio.move_on_after(moment) as scope:
                await metrics.flush()
            assert scope.cancelled_caught
        ledger = metrics._engine.ledger
        assert ledger.retained == 50, "the pending batches, and nothing for the flushes"
        await metrics.flush()
    assert balanced(metrics.stats()).processed_events == 100
    assert [event for payload in sink.payloads[1:] for event in payload] == upto(100)
