"""Outages: a log line when one is over, and an error for the attempt that the end of the block cut off."""

import logging
from collections.abc import Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.helpers import balanced
from trio_batchmetrics import BatchMetricsConfig, MetricEvent, collector
from trio_batchmetrics.abc import EventSink, Payload, Receipt, SeriesSink
from trio_batchmetrics.testing import FlakySink, StuckSink


class Scheduled:
    """A back-end that is down in the given spans of time, and up otherwise."""

    def __init__(self, *spans: tuple[float, float]) -> None:
        self.spans = spans
        self.successes: list[float] = []

    def answer(self) -> Receipt | None:
        """Respond by the clock."""
        now = trio.current_time()
        if any(start <= now < end for start, end in self.spans):
            return Receipt.retried(error="503")
        self.successes.append(now)
        return None


class Events(EventSink[None]):
    """An event sink on a schedule."""

    def __init__(self, schedule: Scheduled, **settings: Any) -> None:
        super().__init__(name="back-end", **settings)
        self.schedule = schedule

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Respond by the clock."""
        return self.schedule.answer()


class Series(SeriesSink[None]):
    """A series sink on a schedule."""

    def __init__(self, schedule: Scheduled, **settings: Any) -> None:
        super().__init__(name="back-end", **settings)
        self.schedule = schedule

    def merge(self, events: Sequence[MetricEvent]) -> None:
        """Keep nothing."""

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Respond by the clock."""
        return self.schedule.answer()


def info_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the INFO lines."""
    return [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]


@pytest.mark.parametrize("kind", [Events, Series])
async def test_the_end_of_an_outage_is_logged_once_with_how_long_it_lasted(
    kind: Any, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It lasts from the first failed attempt to the one that succeeded; a back-end that is up causes no line."""
    caplog.set_level(logging.INFO, logger="trio_batchmetrics")
    schedule = Scheduled((100, 300))
    async with collector(BatchMetricsConfig(batch_size=1), sinks=[kind(schedule)]) as metrics:
        for _ in range(60):
            metrics.record_cache_metric("redis", "hit")
            await trio.sleep(10)
    assert balanced(metrics.stats()).processed_events == 60
    over = min(time for time in schedule.successes if time >= 300)
    assert info_lines(caplog) == [f"metrics: back-end responds again after an outage of {over - 100:.0f} s"]


async def test_a_back_end_that_comes_and_goes_is_logged_once_a_minute(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """These outages last less than a minute; a longer one is always logged."""
    caplog.set_level(logging.INFO, logger="trio_batchmetrics")
    blips = [(float(start), start + 0.1) for start in range(0, 600, 5)]
    sink = Events(Scheduled(*blips, (600, 700), (705, 800)), backoff=0.2, max_backoff=0.2)
    async with collector(BatchMetricsConfig(batch_size=1), sinks=[sink]) as metrics:
        for _ in range(162):
            metrics.record_cache_metric("redis", "hit")
            await trio.sleep(5)
    lines = info_lines(caplog)
    assert 9 <= len([line for line in lines if "0." in line]) <= 11
    assert [line for line in lines if " 100 s" in line or " 95 s" in line] == lines[-2:]


async def test_a_payload_that_was_given_up_does_not_end_the_outage(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Its events have failed, and the back-end still doesn't respond."""
    caplog.set_level(logging.INFO, logger="trio_batchmetrics")
    sink = Events(Scheduled((0, 100)), retry_budget=5)
    async with collector(BatchMetricsConfig(batch_size=1), sinks=[sink]) as metrics:
        for _ in range(12):
            metrics.record_cache_metric("redis", "hit")
            await trio.sleep(10)
    assert balanced(metrics.stats()).failed_events > 5
    [line] = info_lines(caplog)
    assert line.startswith("metrics: back-end responds again after an outage of 1")


async def test_a_request_to_retry_some_of_the_events_is_not_an_outage(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The back-end has taken the others, however long that took."""
    caplog.set_level(logging.INFO, logger="trio_batchmetrics")

    class Slow(Events):
        async def send(self, payload: Payload[None]) -> Receipt | None:
            await trio.sleep(100)
            return Receipt.retried(retry=[0], error="429") if len(payload.events) > 1 else None

    async with collector(BatchMetricsConfig(batch_size=2), sinks=[Slow(Scheduled(), timeout=200)]) as metrics:
        for _ in range(2):
            metrics.record_cache_metric("redis", "hit")
        assert (await metrics.flush()).processed == 2
    assert info_lines(caplog) == []


class Rude(logging.Handler):
    """A handler that raises."""

    def emit(self, record: logging.LogRecord) -> None:
        """Raise at INFO."""
        if record.levelno == logging.INFO:
            raise RuntimeError("no disk")


async def test_a_handler_that_raises_on_that_line_harms_nothing(autojump_clock: MockClock) -> None:
    """The events are delivered, and the sink goes on."""
    logger, handler = logging.getLogger("trio_batchmetrics"), Rude()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    sink = FlakySink(fail=1)
    try:
        async with collector(BatchMetricsConfig(batch_size=1), sinks=[sink]) as metrics:
            for _ in range(3):
                metrics.record_cache_metric("redis", "hit")
                await metrics.flush()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    assert balanced(metrics.stats()).processed_events == 3


# ------------------------------------------------------------------------------------------------------------- cut off


class StuckSeries(Series):
    """A series sink whose push never returns."""

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Wait until it is cancelled."""
        await trio.sleep_forever()


class StuckNursery(Events):
    """An event sink with its own tasks, which never end."""

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Wait in two tasks until it is cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(trio.sleep_forever)
        return None


STUCK: list[Any] = [StuckSink(name="back-end"), StuckSeries(Scheduled()), StuckNursery(Scheduled())]


@pytest.mark.parametrize("sink", STUCK, ids=["events", "series", "nursery"])
async def test_an_attempt_that_the_end_of_the_block_cuts_off_leaves_a_last_error(
    sink: Any, autojump_clock: MockClock
) -> None:
    """The error has the attempt's duration; nothing else is known than that it was cut off."""
    async with collector(BatchMetricsConfig(batch_size=1, shutdown_timeout=3), sinks=[sink]) as metrics:
        metrics.record_cache_metric("redis", "hit")
        await trio.sleep(4)
        assert metrics.stats().sinks["back-end"].last_error is None
    assert balanced(metrics.stats()).sinks["back-end"].last_error == "cut off at the end of the block, after 7 s"


async def test_the_error_that_a_sink_raises_as_it_is_cut_off_is_kept(autojump_clock: MockClock) -> None:
    """The sink's own message is more useful."""

    class Nested(EventSink[None]):
        async def send(self, payload: Payload[None]) -> None:
            """Fail while it is cancelled."""
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._fail)
                await trio.sleep_forever()

        async def _fail(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise ConnectionError("reset by peer")

    async with collector(BatchMetricsConfig(batch_size=1, shutdown_timeout=3), sinks=[Nested()]) as metrics:
        metrics.record_cache_metric("redis", "hit")
    assert balanced(metrics.stats()).sinks["nested"].last_error == "ConnectionError: reset by peer"


async def test_an_earlier_error_is_kept_where_the_last_attempt_is_cut_off(autojump_clock: MockClock) -> None:
    """The earlier error is the cause of the outage; that an attempt was cut off says little."""

    class Worse(Events):
        async def send(self, payload: Payload[None]) -> Receipt | None:
            """Fail at first, then never respond."""
            if trio.current_time() >= 1:
                await trio.sleep_forever()
            return self.schedule.answer()

    sink = Worse(Scheduled((0, 1)), backoff=0.1, max_backoff=0.1)
    async with collector(BatchMetricsConfig(batch_size=1, shutdown_timeout=3), sinks=[sink]) as metrics:
        metrics.record_cache_metric("redis", "hit")
        await trio.sleep(2)
    last_error = str(balanced(metrics.stats()).sinks["back-end"].last_error)
    assert last_error.startswith("503; then cut off at the end of the block, after ")


async def test_an_attempt_that_succeeds_at_the_end_leaves_no_error(autojump_clock: MockClock) -> None:
    """Only an attempt that is cut off leaves one."""

    async def sink(_: object) -> None:
        await trio.sleep(2)

    async with collector(BatchMetricsConfig(batch_size=1, shutdown_timeout=3), sinks=[sink]) as metrics:
        metrics.record_cache_metric("redis", "hit")
    assert balanced(metrics.stats()).sinks["sink"].last_error is None
