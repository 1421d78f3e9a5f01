"""A callback is read once per collection, and one that raises costs only its own point."""

import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.bad_values import NOT_VALUES, shown
from tests.fakes import TimedSink, numbered
from tests.helpers import balanced
from tests.instruments.points import TEN, plain
from trio_batchmetrics import BatchMetricsConfig, Counter, Gauge, collector
from trio_batchmetrics.testing import RecordingSink, StuckSink


async def test_a_callback_is_read_at_each_collection_and_only_then(autojump_clock: MockClock) -> None:
    """Collections come at the interval and at a flush, never after the body has ended."""
    sink = TimedSink()
    reads: list[float] = []

    def read() -> float:
        reads.append(trio.current_time())
        return len(reads)

    async with collector(TEN, sinks=[sink]) as metrics:
        metrics.observable_gauge("depth", read, labels={"queue": "in"})
        await trio.sleep(25)
        assert reads == [10.0, 20.0]
        await metrics.flush()
    assert reads == [10.0, 20.0, 25.0]
    assert [plain(event) for event in sink.events] == [
        ("gauge", "depth", {"queue": "in"}, value) for value in (1, 2, 3)
    ]
    await trio.sleep(100)
    assert len(reads) == 3


async def test_nothing_is_collected_once_the_block_is_being_left(autojump_clock: MockClock) -> None:
    """Neither the interval during the last flush nor a flush() after it collects."""
    reads: list[float] = []

    def read() -> float:
        reads.append(trio.current_time())
        return 1

    config = BatchMetricsConfig(flush_interval=10, shutdown_timeout=100)
    async with collector(config, sinks=[StuckSink()]) as metrics:
        metrics.observable_gauge("one", read)
        metrics.counter("c").add()
        await trio.sleep(1)
    with trio.fail_after(1):
        await metrics.flush()
    assert reads == []
    stats = balanced(metrics.stats())
    assert (stats.total_events, stats.failed_events) == (1, 1)


async def test_a_collection_that_comes_late_does_not_delay_the_next(autojump_clock: MockClock) -> None:
    """Here each collection takes 3 s of every 10, and they stay 10 s apart."""
    reads: list[float] = []

    def read() -> float:
        reads.append(trio.current_time())
        autojump_clock.jump(3)
        return 1

    async with collector(TEN, sinks=[]) as metrics:
        metrics.observable_gauge("g", read)
        await trio.sleep(45)
        assert reads == [10.0, 20.0, 30.0, 40.0]


async def test_a_callback_that_raises_is_logged_and_skipped(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are read, and the collector counts nothing for it."""
    sink = RecordingSink()
    calls = [0]

    def broken() -> float:
        calls[0] += 1
        if calls[0] == 1:
            raise RuntimeError("sensor is gone")
        return 5

    async with collector(TEN, sinks=[sink]) as metrics:
        metrics.observable_gauge("broken", broken)
        metrics.observable_gauge("fine", lambda: 1)
        metrics.counter("c").add()
        await trio.sleep(11)
        assert sorted(str(plain(event)[1]) for event in sink.events) == ["c", "fine"]
        (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert record.name == "trio_batchmetrics"
        assert "'broken'" in record.getMessage()
        assert "sensor is gone" in record.getMessage()
        await trio.sleep(10)
    assert ("gauge", "broken", {}, 5) in [plain(event) for event in sink.events]
    assert balanced(metrics.stats()).dropped_events == 0


@pytest.mark.parametrize("value", NOT_VALUES, ids=shown)
async def test_a_callback_that_returns_no_number_counts_as_invalid(value: Any, autojump_clock: MockClock) -> None:
    """It counts once per collection, and the others are read."""
    sink = RecordingSink()
    async with collector(TEN, sinks=[sink]) as metrics:
        metrics.observable_gauge("bad", lambda: value)
        metrics.observable_gauge("fine", lambda: 1)
        await trio.sleep(11)
        await metrics.flush()
        assert metrics.stats().dropped == {"invalid": 2}
        assert metrics.stats().processed_events == 2
    assert {plain(event)[1] for event in sink.events} == {"fine"}


async def test_the_same_observable_gauge_twice_is_an_error(autojump_clock: MockClock) -> None:
    """It would be unclear which of the two to read."""
    async with collector(sinks=[]) as metrics:
        metrics.observable_gauge("g", lambda: 1, labels={"a": "1"})
        metrics.observable_gauge("g", lambda: 1, labels={"a": "2"})
        with pytest.raises(ValueError, match="'g' with these labels is observed already"):
            metrics.observable_gauge("g", lambda: 2, labels={"a": "1"})


async def test_a_callback_may_record_and_update(autojump_clock: MockClock) -> None:
    """It runs in the application's thread, in the middle of a collection, and nothing is lost."""
    sink = RecordingSink()
    async with collector(TEN, sinks=[sink]) as metrics:
        counter = metrics.counter("reads")

        def read() -> float:
            metrics.record(numbered(1))
            counter.add()
            metrics.counter(f"new.{len(sink.events)}").add()
            return 1

        metrics.observable_gauge("g", read)
        await trio.sleep(11)
        await metrics.flush()
        await metrics.flush()
    events = [event for event in sink.events if isinstance(event, Counter)]
    reads = sum(isinstance(event, Gauge) for event in sink.events)
    assert reads == 3
    # The last collection, at the end, takes the values that the last callback added.
    assert sum(event.value for event in events if event.name == "reads") == reads
    balanced(metrics.stats())
