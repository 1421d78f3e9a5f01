"""An attempt ends at its timeout, and no retry begins after the payload's retry budget."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.delivery.sinks import ScriptedSink, account, record
from tests.helpers import report_balanced
from trio_batchmetrics import Batch, BatchMetricsConfig, collector
from trio_batchmetrics.abc import EventSink, Payload, Receipt
from trio_batchmetrics.testing import FlakySink


async def test_an_attempt_is_cut_off_at_its_timeout_and_made_again(autojump_clock: MockClock) -> None:
    """It ends at the exact instant, and the error names the timeout."""
    sink = ScriptedSink(..., ..., timeout=7)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
    lengths = [end - at for at, end in zip(sink.times, sink.ended, strict=True)]
    assert lengths == pytest.approx([7, 7, 0], abs=1e-9)  # the pauses between them are random
    stats = account(metrics)
    assert (stats.delivered, stats.retries) == (2, 2)
    assert "7 s" in str(stats.last_error)


async def test_a_timeout_is_reported_for_a_sink_whose_tasks_fail_as_they_are_cut_off(
    autojump_clock: MockClock,
) -> None:
    """Its own errors result from the cancellation; the missing response is the reason."""

    class Nested(ScriptedSink):
        """A sink with a nursery, at first, and a task that fails when it is cancelled."""

        async def send(self, payload: Payload[Any]) -> Any:
            """Hang and fail, or take the batch."""
            if self.attempts:
                return await super().send(payload)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                try:
                    await super().send(payload)
                finally:
                    raise ValueError("cut off")

    sink = Nested(..., timeout=2, name="scripted")
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
    assert sink.ended[0] == 2
    stats = account(metrics)
    assert (stats.delivered, stats.retries, stats.last_error) == (2, 1, "no answer within 2 s")


async def test_the_timeout_is_thirty_seconds_by_default(autojump_clock: MockClock) -> None:
    """The default also holds for functions, and for subclasses that don't call ``__init__``."""

    class Careless(EventSink[None]):
        def __init__(self) -> None:
            self.times: list[float] = []

        async def send(self, payload: Payload[None]) -> None:
            try:
                await trio.sleep_forever()
            finally:
                self.times.append(trio.current_time())

    times: list[float] = []

    async def function(batch: Batch) -> None:
        try:
            await trio.sleep_forever()
        finally:
            times.append(trio.current_time())

    careless = Careless()
    async with collector(BatchMetricsConfig(batch_size=2, shutdown_timeout=0), sinks=[careless, function]) as metrics:
        record(metrics, 1, 2)
        await trio.sleep(30)
        await wait_all_tasks_blocked()
        assert careless.times == times == [30]


async def test_no_retry_begins_after_the_budget_and_the_last_one_begins_at_its_end(autojump_clock: MockClock) -> None:
    """The payload has failed at that instant, and the next one has its own budget."""
    failure = Receipt.retried(3, error="503")
    sink = ScriptedSink(*[failure] * 5, failure, failure, retry_budget=10)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await trio.sleep(1)
        record(metrics, 3, 4)
        report = report_balanced(await metrics.flush(), 4)
    assert sink.times == [0, 3, 6, 9, 10, 10, 13, 16]
    assert sink.payloads == [[1, 2]] * 5 + [[3, 4]] * 3
    assert (report.processed, report.failed) == (2, 2)
    stats = account(metrics)
    assert (stats.failures, stats.retries, stats.last_error) == ({"retry_budget": 2}, 6, "503")


async def test_an_attempt_that_outlasts_the_budget_is_the_last(autojump_clock: MockClock) -> None:
    """No retry follows it, not even at once."""
    sink = ScriptedSink(OSError("late"), takes=12, retry_budget=10)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        assert (await metrics.flush()).failed == 2
        assert trio.current_time() == 12
    assert sink.times == [0]
    assert account(metrics).failures == {"retry_budget": 2}


async def test_the_rest_of_a_payload_shares_its_budget(autojump_clock: MockClock) -> None:
    """Items that come back again and again don't stay until the block ends."""
    failure = Receipt.retried(4, retry=[0])
    sink = ScriptedSink(*[failure] * 9, retry_budget=10)
    async with collector(BatchMetricsConfig(batch_size=3), sinks=[sink]) as metrics:
        record(metrics, 1, 3)
        report = await metrics.flush()
        assert trio.current_time() == 10
    assert sink.payloads == [[1, 2, 3], [1], [1], [1]]
    assert sink.times == [0, 4, 8, 10]
    assert (report.processed, report.failed) == (2, 1)


async def test_the_budget_is_300_seconds_by_default(autojump_clock: MockClock) -> None:
    """The last attempt is made at exactly 300 s."""
    sink = FlakySink(fail=10**6)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        assert (await metrics.flush()).failed == 2
        assert trio.current_time() == 300
    assert account(metrics, "flaky").failures == {"retry_budget": 2}
