"""A full buffer loses no more than it must, and `on_full` decides which events."""

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.fakes import GatedSink, TimedSink, numbered, numbers
from tests.helpers import Policy, balanced, examples
from tests.recording.examples import POLICIES, full
from trio_batchmetrics import BatchMetricsConfig, Recorder, collector
from trio_batchmetrics.testing import RecordingSink


@settings(deadline=None, max_examples=examples(60))
@given(
    policy=st.sampled_from(POLICIES),
    batch_size=st.integers(1, 12),
    buffer_size=st.integers(1, 12),
    burst=st.integers(0, 40),
    elsewhere=st.booleans(),
)
def test_a_full_buffer_loses_no_more_than_it_must(
    policy: Policy, batch_size: int, buffer_size: int, burst: int, elsewhere: bool
) -> None:
    """Exactly `buffer_size` of a burst stay: the first, or under `drop_oldest` the last. The rest is counted."""

    async def main() -> None:
        sink = RecordingSink()
        config = BatchMetricsConfig(batch_size=batch_size, buffer_size=buffer_size, on_full=policy)
        async with collector(config, sinks=[sink]) as metrics:
            for start in (0, 1000):
                recorder: Recorder = metrics.from_thread() if elsewhere else metrics
                for number in range(start, start + burst):
                    recorder.record(numbered(number))
                    balanced(metrics.stats())
                assert metrics.stats().pending_events == min(burst, buffer_size)
                report = await metrics.flush()
                assert report.processed == min(burst, buffer_size)
                kept = list(range(start, start + burst))
                kept = kept[:buffer_size] if policy == "drop_newest" else kept[-buffer_size:]
                assert numbers(sink.events) == kept
                sink.batches.clear()
        lost = max(0, burst - buffer_size)
        assert balanced(metrics.stats()).dropped == ({"buffer_full": 2 * lost} if lost else {})
        assert metrics.stats().failed_events == 0

    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_buffer_that_is_just_full_loses_nothing(policy: Policy, autojump_clock: MockClock) -> None:
    """No event is dropped one too early."""
    sink = TimedSink()
    config = BatchMetricsConfig(batch_size=3, buffer_size=10, on_full=policy)
    async with collector(config, sinks=[sink]) as metrics:
        for number in range(10):
            metrics.record(numbered(number))
        assert metrics.stats().dropped_events == 0
        await trio.testing.wait_all_tasks_blocked()
        assert sum(count for _, count in sink.arrivals) == 9
        for number in range(10, 19):  # one still waits
            metrics.record(numbered(number))
        assert metrics.stats().dropped_events == 0
        metrics.record(numbered(19))
        assert metrics.stats().dropped == {"buffer_full": 1}
    expected = list(range(20))
    del expected[19 if policy == "drop_newest" else 9]
    assert numbers(sink.events) == expected


@pytest.mark.parametrize("policy", POLICIES)
async def test_with_a_batch_size_above_the_buffers_a_batch_leaves_when_the_buffer_is_full(
    policy: Policy, autojump_clock: MockClock
) -> None:
    """It leaves at once, not at the interval, and nothing is dropped."""
    sink = TimedSink()
    config = BatchMetricsConfig(batch_size=100, buffer_size=4, on_full=policy)
    async with collector(config, sinks=[sink]) as metrics:
        for number in range(12):
            metrics.record(numbered(number))
            if number % 4 == 3:
                await trio.testing.wait_all_tasks_blocked()
        assert sink.arrivals == [(0.0, 4)] * 3
    assert balanced(metrics.stats()).processed_events == 12
    assert numbers(sink.events) == list(range(12))


async def test_a_batch_leaves_one_interval_after_its_first_event(autojump_clock: MockClock) -> None:
    """The interval doesn't begin when the previous batch left."""
    sink = TimedSink()
    async with collector(BatchMetricsConfig(flush_interval=5), sinks=[sink]) as metrics:
        await trio.sleep(3)
        metrics.record(numbered(1))
        await trio.sleep(4)
        metrics.record(numbered(2))
        await trio.sleep(2)
        metrics.record(numbered(3))
        await trio.sleep(100)
        assert sink.arrivals == [(8.0, 2), (14.0, 1)]


async def test_drop_oldest_keeps_the_newest_behind_a_sink_that_is_stuck(autojump_clock: MockClock) -> None:
    """The oldest *waiting* event is evicted; events that a sink has already taken stay with it."""
    sink = GatedSink()
    config = BatchMetricsConfig(batch_size=2, buffer_size=4, on_full="drop_oldest", shutdown_timeout=100)
    async with collector(config, sinks=[sink]) as metrics:
        count = await full(metrics, batch=2, buffer=4)
        for number in range(count, count + 7):
            metrics.record(numbered(number))
            assert balanced(metrics.stats()).pending_events == count
        await trio.testing.wait_all_tasks_blocked()
        assert metrics.stats().dropped == {"buffer_full": 7}
        sink.gate.set()
    kept = numbers(sink.events)
    assert kept == [*range(6), 13, 14, 15, 16]
    assert balanced(metrics.stats()).failed_events == 0


async def test_drop_newest_keeps_the_oldest_behind_a_sink_that_is_stuck(autojump_clock: MockClock) -> None:
    """It takes new ones again as soon as there is room."""
    sink = GatedSink()
    config = BatchMetricsConfig(batch_size=2, buffer_size=4, shutdown_timeout=100)
    async with collector(config, sinks=[sink]) as metrics:
        count = await full(metrics, batch=2, buffer=4)
        for number in range(count, count + 7):
            metrics.record(numbered(number))
        assert metrics.stats().dropped == {"buffer_full": 7}
        sink.gate.set()
        await trio.testing.wait_all_tasks_blocked()
        metrics.record(numbered(100))
    assert numbers(sink.events) == [*range(10), 100]
    assert balanced(metrics.stats()).dropped == {"buffer_full": 7}
