"""Errors of a sink, and a crash of the library's own tasks, don't reach the application."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.helpers import balanced
from tests.leaving.sinks import BodyError, record
from trio_batchmetrics import BatchMetricsConfig, Counter, collector
from trio_batchmetrics.abc import EventSink, Payload, Receipt
from trio_batchmetrics.testing import RecordingSink, StuckSink


class GroupSink(EventSink[None]):
    """A sink whose nursery raises Cancelled together with its own error when the attempt is cut off."""

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Wait, and fail when cancelled."""

        async def fail_when_cancelled() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise BodyError("while being cancelled")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_when_cancelled)
            await trio.sleep_forever()
        return None


async def test_errors_of_a_sink_cut_off_by_the_deadline_stay_with_the_sink(autojump_clock: MockClock) -> None:
    """None of them reaches the application; last_error has them."""
    async with collector(BatchMetricsConfig(shutdown_timeout=3), sinks=[GroupSink()]) as metrics:
        record(metrics, 2)
    stats = balanced(metrics.stats())
    assert stats.failed_events == 2
    assert "while being cancelled" in str(stats.sinks["group"].last_error)


@pytest.mark.parametrize("then", ["idle", "record", "flush", "arecord"])
async def test_a_crash_of_the_librarys_own_tasks_is_logged_and_the_application_goes_on(
    then: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """All pending events have failed, recorders count closed, and nothing raises."""
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        sink.timeout = "soon"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
        record(metrics, 3)
        await trio.sleep(1)
        stats = balanced(metrics.stats())
        assert (stats.failed_events, stats.pending_events) == (3, 0)
        assert stats.sinks["recording"].failures == {"crash": 2}
        if then == "record":
            record(metrics, 2)
            assert metrics.stats().dropped == {"closed": 2}
        elif then == "arecord":
            await metrics.arecord(Counter("c", {}, 1))
            assert metrics.stats().dropped == {"closed": 1}
        elif then == "flush":
            assert (await metrics.flush()).ok
        await trio.sleep(100)
    assert trio.current_time() == 101
    crashes = [record for record in caplog.records if record.exc_info]
    assert len(crashes) == 1
    assert "crashed" in crashes[0].getMessage()
    balanced(metrics.stats())


async def test_an_aclose_cut_off_by_the_deadline_does_not_count_as_a_crash(autojump_clock: MockClock) -> None:
    """Its own errors stay inside, though its nursery raises them together with Cancelled."""

    class Closing(RecordingSink):
        """A sink that can't close in time."""

        async def aclose(self) -> None:
            """Fail when cancelled."""

            async def fail_when_cancelled() -> None:
                try:
                    await trio.sleep_forever()
                finally:
                    raise BodyError("while closing")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail_when_cancelled)
                await trio.sleep_forever()

    config = BatchMetricsConfig(batch_size=2, shutdown_timeout=1)
    async with collector(config, sinks=[Closing(), StuckSink()]) as metrics:
        record(metrics, 2)
    stats = balanced(metrics.stats())
    assert stats.sinks["stuck"].failures == {"shutdown": 2}
    assert "while closing" in str(stats.sinks["closing"].last_error)


async def test_a_sink_that_raises_a_cancelled_of_another_scope_has_failed_and_is_tried_again(
    autojump_clock: MockClock,
) -> None:
    """It stops neither its own later batches nor another sink's."""

    class Foreign(RecordingSink):
        """A sink that at first raises what it caught in its own scope."""

        async def send(self, payload: Payload[None]) -> Receipt | None:
            """Raise it, or take the batch."""
            if self.attempts:
                return await super().send(payload)
            self.attempts += 1
            saved: list[BaseException] = []
            with trio.CancelScope() as scope:
                scope.cancel()
                try:
                    await trio.sleep(1)
                except trio.Cancelled as exc:
                    saved.append(exc)
                    raise
            raise saved[0]

    good, foreign = RecordingSink(), Foreign()
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[foreign, good]) as metrics:
        record(metrics, 4)
        await metrics.flush()
        assert (len(good.events), len(foreign.events)) == (4, 4)
    assert balanced(metrics.stats()).processed_events == 4
