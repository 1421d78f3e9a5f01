"""After the block every call counts as closed, and a disabled collector does nothing."""

from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.fakes import GatedSink, numbered, numbers
from tests.helpers import balanced
from tests.recording.examples import EXAMPLES, arguments, call
from trio_batchmetrics import BatchMetricsCollector, BatchMetricsConfig, collector
from trio_batchmetrics.testing import RecordingSink


async def test_after_the_block_every_call_counts_as_closed(autojump_clock: MockClock) -> None:
    """Nothing raises, and nothing arrives; an object that isn't an event counts as closed, too."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        thread = metrics.from_thread()
        metrics.record(numbered(1))
    nothing: Any = None
    for recorder in (metrics, thread, metrics.from_thread()):
        for name, event in EXAMPLES:
            call(recorder, name, **arguments(event))
        recorder.record(numbered(2))
        recorder.record(nothing)
    with trio.testing.assert_checkpoints():
        await metrics.arecord(numbered(3))
    assert numbers(sink.events) == [1]
    assert balanced(metrics.stats()).dropped == {"closed": 3 * 9 + 1}
    assert metrics.stats().processed_events == 1


def test_after_the_run_every_call_still_counts_as_closed() -> None:
    """Calls count even where Trio no longer runs."""

    async def main() -> BatchMetricsCollector:
        async with collector(sinks=[]) as metrics:
            metrics.record(numbered(1))
        return metrics

    metrics = trio.run(main)
    for name, event in EXAMPLES:
        call(metrics, name, **arguments(event))
        call(metrics.from_thread(), name, **arguments(event))
    assert balanced(metrics.stats()).dropped == {"closed": 2 * len(EXAMPLES)}


async def test_a_disabled_collector_accepts_everything_and_does_nothing(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is counted, logged or delivered, inside the block and after it, and no task runs."""
    sink = RecordingSink()
    nothing: Any = None
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with collector(BatchMetricsConfig(enabled=False, buffer_size=1), sinks=[sink]) as metrics:
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        for recorder in (metrics, metrics.from_thread()):
            for name, event in EXAMPLES:
                call(recorder, name, **arguments(event))
            call(recorder, "record_counter", "", None, "x")
            recorder.record(numbered(1))
            recorder.record(nothing)
        for _ in range(2):
            await metrics.arecord(numbered(2))
        report = await metrics.flush()
        assert report.ok
        assert report.processed == 0
        await trio.sleep(100)
    metrics.record(numbered(3))
    await metrics.arecord(numbered(3))
    stats = balanced(metrics.stats())
    assert (stats.total_events, stats.batch_count, stats.last_flush_time) == (0, 0, None)
    assert sink.attempts == 0
    assert caplog.records == []


async def test_a_disabled_collector_is_left_without_waiting(autojump_clock: MockClock) -> None:
    """The body's exception leaves as it is."""
    error = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        async with collector(BatchMetricsConfig(enabled=False), sinks=[GatedSink()]) as metrics:
            metrics.record(numbered(1))
            raise error
    assert caught.value is error
    assert trio.current_time() == 0
