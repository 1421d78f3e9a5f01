"""LoggingSink: one readable line per batch, and the default sink of a collector."""

import logging

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.helpers import balanced
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.sinks import LoggingSink


def messages(caplog: pytest.LogCaptureFixture, name: str = "trio_batchmetrics") -> list[tuple[int, str]]:
    """Return the level and text of the logged messages."""
    return [(record.levelno, record.getMessage()) for record in caplog.records if record.name == name]


async def test_logging_is_the_default_sink_of_a_collector(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """It logs one line per batch at INFO, with the number of each kind, in the order of their names."""
    caplog.set_level(logging.INFO)
    async with collector(BatchMetricsConfig(batch_size=4, flush_interval=10)) as metrics:
        metrics.record_http_request("GET", "/api/data", 200, 0.150)
        metrics.record_cache_metric("redis", "hit")
        metrics.record_cache_metric("redis", "miss")
        metrics.record_backend_request("openai", "gpt-4", True, 0.850, None)
        await trio.testing.wait_all_tasks_blocked()
        metrics.record_health_check("backend-1", True, 0.050)
        await trio.sleep(10.001)
        assert len(messages(caplog)) == 2
    assert messages(caplog) == [
        (logging.INFO, "4 events: 1 BackendRequest, 2 CacheMetric, 1 HttpRequest"),
        (logging.INFO, "1 events: 1 HealthCheck"),
    ]
    assert balanced(metrics.stats()).sinks["logging"].delivered == 5


@pytest.mark.parametrize("by_name", [True, False])
async def test_the_sink_uses_the_given_logger_and_level(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock, by_name: bool
) -> None:
    """The logger is given by name or as an object."""
    caplog.set_level(logging.DEBUG)
    logger = "myapp.metrics" if by_name else logging.getLogger("myapp.metrics")
    async with collector(sinks=[LoggingSink(logger, logging.DEBUG)]) as metrics:
        metrics.record_cache_metric("redis", "hit")
    assert messages(caplog, "myapp.metrics") == [(logging.DEBUG, "1 events: 1 CacheMetric")]
    assert messages(caplog) == []


async def test_events_at_a_disabled_level_still_count_as_delivered(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """Delivery means that the logger has received the line."""
    caplog.set_level(logging.WARNING)
    async with collector(sinks=[LoggingSink()]) as metrics:
        metrics.record_cache_metric("redis", "hit")
    assert messages(caplog) == []
    assert balanced(metrics.stats()).processed_events == 1


class Broken(logging.Handler):
    """Raises, which a handler should not do."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.lines = list[str]()

    def emit(self, record: logging.LogRecord) -> None:
        """Raise, or keep the line."""
        if self.times:
            self.times -= 1
            raise OSError("log disk full")
        self.lines.append(record.getMessage())


async def test_a_handler_that_raises_is_retried(autojump_clock: MockClock) -> None:
    """As with any sink, no event is lost."""
    logger, handler = logging.Logger("broken"), Broken(2)  # noqa: LOG001 - a logger without anyone else's handlers
    logger.addHandler(handler)
    async with collector(sinks=[LoggingSink(logger)]) as metrics:
        metrics.record_cache_metric("redis", "hit")
        assert (await metrics.flush()).ok
    account = balanced(metrics.stats()).sinks["logging"]
    assert (account.delivered, account.retries, account.last_error) == (1, 2, "OSError: log disk full")
    assert handler.lines == ["1 events: 1 CacheMetric"]


async def test_a_handler_that_records_events_does_not_loop_endlessly(autojump_clock: MockClock) -> None:
    """Events that it records while a batch is logged belong to a later batch."""

    class Recorder(logging.Handler):
        """Records an event for each of the first two lines."""

        lines = 0

        def emit(self, record: logging.LogRecord) -> None:
            """Record an event."""
            self.lines += 1
            if self.lines <= 2:
                metrics.record_cache_metric("log", "line")

    logger, handler = logging.Logger("recording"), Recorder()  # noqa: LOG001 - a logger without anyone else's handlers
    logger.addHandler(handler)
    async with collector(sinks=[LoggingSink(logger)]) as metrics:
        metrics.record_cache_metric("redis", "hit")
        await metrics.flush()
        await metrics.flush()
        await metrics.flush()
    assert balanced(metrics.stats()).processed_events == 3
    assert handler.lines == 3


async def test_a_handler_that_records_each_line_does_not_make_the_sink_spin(autojump_clock: MockClock) -> None:
    """Each event is a batch and each line causes the next one, but not at the speed of the event loop."""
    logger = logging.getLogger("tests.circle")
    logger.propagate = False

    class Records(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if trio.current_time() < 10:
                metrics.record_counter("lines", {}, 1)

    handler = Records()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        async with collector(BatchMetricsConfig(batch_size=1), sinks=[LoggingSink(logger)]) as metrics:
            metrics.record_cache_metric("redis", "hit")
            await trio.sleep(20)
    finally:
        logger.removeHandler(handler)
    stats = balanced(metrics.stats())
    assert stats.processed_events == stats.total_events
    assert 900 <= stats.total_events <= 1_110  # 100 at once, then 100 a second


async def test_many_events_are_logged_without_a_pause(autojump_clock: MockClock) -> None:
    """This holds for any number of earlier lines."""
    logger = logging.getLogger("tests.much")
    logger.propagate = False
    start = trio.current_time()
    async with collector(sinks=[LoggingSink(logger)]) as metrics:
        for _ in range(300):
            for _ in range(100):
                metrics.record_cache_metric("redis", "hit")
            await trio.testing.wait_all_tasks_blocked()
    assert trio.current_time() == start
    assert balanced(metrics.stats()).processed_events == 30_000
