"""The stats report the last error and the last success of each sink."""

from __future__ import annotations

from datetime import UTC, datetime

from trio.testing import MockClock, wait_all_tasks_blocked

from tests.delivery.sinks import ScriptedSink, account, record
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.abc import Receipt


async def test_last_success_ignores_a_payload_that_was_refused_whole(autojump_clock: MockClock) -> None:
    """The back-end is up, but it took no event."""
    sink = ScriptedSink(Receipt(rejected={0: "bad"}))
    async with collector(sinks=[sink]) as metrics:
        metrics.record_counter("c", {"id": 0}, 1)
        await metrics.flush()
        assert metrics.stats().sinks["scripted"].last_success is None
        metrics.record_counter("c", {"id": 1}, 1)
        await metrics.flush()
        assert metrics.stats().sinks["scripted"].last_success is not None


async def test_last_error_and_last_success_report_the_state_of_a_sink(autojump_clock: MockClock) -> None:
    """Both start as None; the error stays after a success, and the success has a wall-clock time."""
    sink = ScriptedSink(Receipt.retried(5, error="503"), None, OSError("later\nand worse"))
    before = datetime.now(UTC)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        assert (account(metrics).last_error, account(metrics).last_success) == (None, None)
        record(metrics, 1, 2)
        await wait_all_tasks_blocked()
        assert (account(metrics).last_error, account(metrics).last_success) == ("503", None)
        await metrics.flush()
        first = account(metrics).last_success
        assert first is not None
        assert before <= first <= datetime.now(UTC)
        assert account(metrics).last_error == "503"
        record(metrics, 3, 4)
        await wait_all_tasks_blocked()
        assert account(metrics).last_success == first
        assert account(metrics).last_error == "OSError: later and worse"
        await metrics.flush()
        second = account(metrics).last_success
        assert second is not None
        assert second > first


async def test_an_error_is_kept_short(autojump_clock: MockClock) -> None:
    """A back-end that responds with a whole page fills neither the memory nor a log."""
    sink = ScriptedSink(OSError("x" * 10**6), None, Receipt.failed("y" * 10**6))
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        for start in (1, 3):
            record(metrics, start, start + 1)
            await metrics.flush()
            assert len(account(metrics).last_error or "") == 500
