"""Every loss is logged: one WARNING at once, at most one per minute afterwards, one line at the end.

Where nothing is lost, nothing is logged.
"""

import logging
from collections.abc import Generator
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.fakes import numbered, numbers
from tests.helpers import balanced
from trio_batchmetrics import BatchMetricsCollector, BatchMetricsConfig, collector
from trio_batchmetrics.testing import FlakySink, PartialSink, RecordingSink, StuckSink

TINY = BatchMetricsConfig(buffer_size=2, flush_interval=5)


class Listener(logging.Handler):
    """A handler that keeps the library's messages and their times by Trio's clock."""

    def __init__(self) -> None:
        """Create a handler without messages."""
        super().__init__()
        self.heard: list[tuple[float, str]] = []
        self.levels: list[int] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self.levels.append(record.levelno)
        self.heard.append((trio.current_time(), record.getMessage()))

    @property
    def times(self) -> list[float]:
        """The times of the messages."""
        return [time for time, _ in self.heard]

    @property
    def messages(self) -> list[str]:
        """The messages."""
        return [message for _, message in self.heard]


def attached(handler: logging.Handler) -> Generator[Any, None, None]:
    """Attach a handler to the library's logger while the generator is suspended."""
    logger = logging.getLogger("trio_batchmetrics")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@pytest.fixture
def listener() -> Generator[Listener, None, None]:
    """Listen to the library's logger."""
    yield from attached(Listener())


def lose(metrics: BatchMetricsCollector, count: int) -> int:
    """Record the given number of events more than fit into the buffer; return the total."""
    total = TINY.buffer_size + count - metrics.stats().pending_events
    for number in range(total):
        metrics.record(numbered(number))
    return total


async def test_nothing_is_logged_where_nothing_is_lost(listener: Listener, autojump_clock: MockClock) -> None:
    """No line comes at the end either."""
    async with collector(sinks=[RecordingSink()]) as metrics:
        for number in range(250):
            metrics.record(numbered(number))
        await metrics.flush()
        await trio.sleep(200)
        metrics.record(numbered(250))
    assert balanced(metrics.stats()).processed_events == 251
    assert listener.heard == []


async def test_a_loss_is_logged_at_once_and_then_at_most_once_a_minute(
    listener: Listener, autojump_clock: MockClock
) -> None:
    """A message has number and reasons; later losses are in the next one; after a quiet minute it comes at once."""
    async with collector(TINY, sinks=[]) as metrics:
        await trio.sleep(1)
        lose(metrics, 3)
        await trio.testing.wait_all_tasks_blocked()
        assert listener.heard == [(1.0, "metrics: dropped 3 (buffer_full)")]
        for _ in range(50):
            await trio.sleep(1)
            lose(metrics, 2)
        assert listener.times == [1.0]
        await trio.sleep(20)
        assert listener.times == [1.0, 61.0]
        await trio.sleep(200)
        assert listener.times == [1.0, 61.0]
        lose(metrics, 1)
        await trio.testing.wait_all_tasks_blocked()
        assert listener.times == [1.0, 61.0, 271.0]
        told = [int(message.split()[2]) for message in listener.messages]
        assert sum(told) == balanced(metrics.stats()).dropped_events == 3 + 100 + 1
        assert set(listener.levels) == {logging.WARNING}


async def test_evicted_events_are_logged_at_once(listener: Listener, autojump_clock: MockClock) -> None:
    """Evictions under drop_oldest are logged like other losses."""
    async with collector(BatchMetricsConfig(buffer_size=2, on_full="drop_oldest"), sinks=[]) as metrics:
        lose(metrics, 3)
        await trio.sleep(1)
        assert listener.heard == [(0.0, "metrics: dropped 3 (buffer_full)")]


async def test_invalid_events_alone_are_logged_at_once(listener: Listener, autojump_clock: MockClock) -> None:
    """The message comes when their batch is formed, and not only at the end of the block."""
    async with collector(sinks=[]) as metrics:
        metrics.record_counter("", {}, 1)
        metrics.record_counter("", {}, 1)
        await metrics.flush()
        await trio.sleep(1)
        assert listener.heard == [
            (0.0, "metrics: invalid: Counter.name must be a non-empty str (got str: '')"),
            (0.0, "metrics: dropped 2 (invalid)"),
        ]


async def test_one_line_at_the_end_reports_the_loss(listener: Listener, autojump_clock: MockClock) -> None:
    """It reports the totals and the whole account, and it is the last line."""
    async with collector(TINY, sinks=[RecordingSink()]) as metrics:
        lose(metrics, 3)
        await trio.sleep(1)
        lose(metrics, 2)
    stats = balanced(metrics.stats())
    assert listener.messages == [
        "metrics: dropped 3 (buffer_full)",
        f"metrics: lost 5 of 9 events: {stats}",
    ]
    assert listener.times == [0.0, 1.0]
    assert (stats.processed_events, stats.dropped) == (4, {"buffer_full": 5})


async def test_a_loss_at_the_very_end_is_logged_in_one_line(listener: Listener, autojump_clock: MockClock) -> None:
    """A sink hangs, and one line comes when the deadline has passed."""
    async with collector(BatchMetricsConfig(shutdown_timeout=4), sinks=[StuckSink(), RecordingSink()]) as metrics:
        metrics.record(numbered(1))
        metrics.record(numbered(2))
    assert listener.heard == [(4.0, f"metrics: lost 2 of 2 events: {metrics.stats()}")]
    assert "stuck: total=2 delivered=0 rejected=0 failed=2 (shutdown 2)" in listener.messages[0]


async def test_the_closing_line_is_logged_even_if_the_body_raises(
    listener: Listener, autojump_clock: MockClock
) -> None:
    """The body's exception leaves as the same object."""
    error = KeyError("mine")
    opened: list[BatchMetricsCollector] = []
    with pytest.raises(KeyError) as caught:
        async with collector(TINY, sinks=[]) as metrics:
            lose(metrics, 3)
            opened.append(metrics)
            raise error
    assert caught.value is error
    (metrics,) = opened
    assert listener.messages[-1] == f"metrics: lost 3 of 5 events: {metrics.stats()}"
    assert sum("lost" in message for message in listener.messages) == 1


async def test_each_reason_is_reported_separately(listener: Listener, autojump_clock: MockClock) -> None:
    """Drops are reported by reason, failures and rejections by sink, and errors in the sink's words."""
    partial = PartialSink(lambda event: event.operation == "1", name="picky")
    async with collector(BatchMetricsConfig(buffer_size=5), sinks=[partial, FlakySink(fail=1)]) as metrics:
        for number in (0, 1, 1, 2):
            metrics.record(numbered(number))
        metrics.record_counter("", {}, 1)
        metrics.record(numbered(9))
        await metrics.flush()
        await trio.sleep(100)
    said = " ".join(listener.messages[:-1])
    for words in (
        "dropped 1 (buffer_full)",
        "dropped 1 (invalid)",
        "picky: rejected 2",
        "flaky: ConnectionError: deliberate failure 1 of 1",
    ):
        assert said.count(words) == 1
    assert [time for time in listener.times if time < 60] == [0.0, 0.0]  # the first explains why an event is invalid


async def test_a_sinks_failure_is_logged_once_however_often_it_recurs(
    listener: Listener, autojump_clock: MockClock
) -> None:
    """A back-end that is down for a long time doesn't fill the log."""

    async def down(_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise ConnectionError("refused")

    async with collector(BatchMetricsConfig(shutdown_timeout=0), sinks=[down]) as metrics:
        for number in range(10):
            metrics.record(numbered(number))
            await trio.sleep(10)
        attempts = metrics.stats().sinks["down"].retries
        assert attempts > 3
        assert listener.messages == ["metrics: down: ConnectionError: refused"]
    assert len(listener.messages) == 2
    assert listener.messages[1].startswith("metrics: lost 10 of 10 events: ")


async def test_events_recorded_after_the_block_are_logged_once(listener: Listener, autojump_clock: MockClock) -> None:
    """Every one of them is counted."""
    async with collector(sinks=[]) as metrics:
        metrics.record(numbered(1))
    assert listener.heard == []
    for number in range(100):
        metrics.record(numbered(number))
        metrics.from_thread().record(numbered(number))
    assert len(listener.heard) == 1
    assert "counted as closed" in listener.messages[0]
    assert balanced(metrics.stats()).dropped == {"closed": 200}


async def test_events_recorded_after_a_block_with_losses_are_logged_too(
    listener: Listener, autojump_clock: MockClock
) -> None:
    """One line comes, though the block ended in the minute without further lines."""
    async with collector(sinks=[]) as metrics:
        metrics.record("no event")
        await trio.sleep(1)
    listener.heard.clear()
    for number in range(3):
        metrics.record(numbered(number))
    assert ["counted as closed" in message for message in listener.messages] == [True]


async def test_each_collector_reports_for_itself(listener: Listener, autojump_clock: MockClock) -> None:
    """A collector that waits for its minute doesn't silence another one."""
    async with collector(TINY, sinks=[]) as one, collector(TINY, sinks=[]) as other, collector(sinks=[]):
        lose(one, 2)
        lose(other, 3)
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(listener.messages) == ["metrics: dropped 2 (buffer_full)", "metrics: dropped 3 (buffer_full)"]
    assert len(listener.messages) == 4


# -- logging that is broken, or records


class Broken(logging.Handler):
    """A handler that raises for every message."""

    def __init__(self) -> None:
        """Create a handler that hasn't refused a message."""
        super().__init__()
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Raise an error."""
        self.count += 1
        raise OSError("no space left on device")


@pytest.fixture
def broken() -> Generator[Broken, None, None]:
    """Attach a raising handler to the library's logger."""
    yield from attached(Broken())


async def test_a_logging_handler_that_raises_harms_nothing(broken: Broken, autojump_clock: MockClock) -> None:
    """In the block, at its end and after it, the loss is counted all the same."""
    sink = RecordingSink()
    error = KeyError("mine")
    opened: list[BatchMetricsCollector] = []
    with pytest.raises(KeyError) as caught:
        async with collector(TINY, sinks=[sink]) as metrics:
            lose(metrics, 3)
            await trio.sleep(1)
            assert broken.count == 1
            metrics.observable_gauge("g", lambda: 1 // 0)
            await metrics.flush()
            assert broken.count == 2
            lose(metrics, 2)
            await trio.sleep(100)
            assert broken.count >= 3
            opened.append(metrics)
            raise error
    assert caught.value is error
    (metrics,) = opened
    metrics.record(numbered(1))
    assert balanced(metrics.stats()).dropped == {"buffer_full": 5, "closed": 1}
    assert metrics.stats().processed_events == len(sink.events) == 4


class RecordingHandler(logging.Handler):
    """A handler that records an event for each message, as a counter of log lines does."""

    def __init__(self) -> None:
        """Create a handler without a collector."""
        super().__init__()
        self.metrics: BatchMetricsCollector | None = None
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Record an event."""
        self.count += 1
        if self.metrics is not None:
            self.metrics.record_cache_metric("log", str(1000 + self.count))


@pytest.fixture
def recording() -> Generator[RecordingHandler, None, None]:
    """Record the messages of the library's logger."""
    yield from attached(RecordingHandler())


async def test_a_logging_handler_may_record(recording: RecordingHandler, autojump_clock: MockClock) -> None:
    """With a full buffer, too, its events count like any others, and no avalanche follows."""
    sink = RecordingSink()
    async with collector(TINY, sinks=[sink]) as metrics:
        recording.metrics = metrics
        recorded = 0
        for _ in range(20):
            recorded += lose(metrics, 2)
            await trio.sleep(30)
        assert recording.count == 10  # one per minute
    assert recording.count <= 13  # one more, the closing line, and one that results from the closing line's event
    stats = balanced(metrics.stats())
    assert stats.total_events == recorded + recording.count
    assert stats.processed_events == len(sink.events)
    assert stats.pending_events == 0


async def test_a_logging_handler_that_records_into_a_left_block_counts_as_closed(
    recording: RecordingHandler, autojump_clock: MockClock
) -> None:
    """The closing line's own event counts, and that of the line about it, and no more."""
    async with collector(BatchMetricsConfig(shutdown_timeout=1), sinks=[StuckSink()]) as metrics:
        recording.metrics = metrics
        metrics.record(numbered(1))
        metrics.record(numbered(2))
    stats = balanced(metrics.stats())
    assert recording.count == 2
    assert (stats.failed_events, stats.dropped) == (2, {"closed": 2})


async def test_a_logging_handler_that_records_from_the_default_sink_feeds_itself_no_faster_than_batches(
    recording: RecordingHandler, autojump_clock: MockClock
) -> None:
    """`LoggingSink` logs a line per batch, the handler records an event per line: one batch per interval, none lost."""
    logging.getLogger("trio_batchmetrics").setLevel(logging.INFO)
    try:
        async with collector(BatchMetricsConfig(flush_interval=10)) as metrics:
            recording.metrics = metrics
            metrics.record(numbered(1))
            await trio.sleep(45)
            assert metrics.stats().batch_count == 4
            recording.metrics = None
    finally:
        logging.getLogger("trio_batchmetrics").setLevel(logging.NOTSET)
    assert balanced(metrics.stats()).processed_events == 5
    assert metrics.stats().dropped_events == 0


async def test_a_disabled_logger_costs_nothing_and_loses_nothing(autojump_clock: MockClock) -> None:
    """Counting doesn't depend on logging."""
    logger = logging.getLogger("trio_batchmetrics")
    logger.disabled = True
    try:
        sink = RecordingSink()
        async with collector(TINY, sinks=[sink]) as metrics:
            lose(metrics, 3)
    finally:
        logger.disabled = False
    assert balanced(metrics.stats()).dropped == {"buffer_full": 3}
    assert numbers(sink.events) == [0, 1]
