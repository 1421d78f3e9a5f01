"""`max_series` is exceeded: counted by instrument, logged once each, and never in the middle of a call."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.helpers import balanced
from tests.threads import in_a_thread
from trio_batchmetrics import BatchMetricsCollector, BatchMetricsConfig, MetricEvent, collector
from trio_batchmetrics.abc import Payload, Receipt, SeriesSink
from trio_batchmetrics.testing import RecordingSink

TWO = BatchMetricsConfig(max_series=2)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the library's warnings about overflow."""
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    return [line for line in lines if "max_series" in line]


class OverflowingSink(SeriesSink[None]):
    """A sink that reports given numbers of events that lost their labels, by instrument, from the first merge on."""

    scraped = True

    def __init__(self, counts: Mapping[str, int], **settings: Any) -> None:
        """Create a sink that reports these counts."""
        super().__init__(**settings)
        self.counts = counts
        self._overflowed: dict[str, int] = {}

    @property
    def overflowed(self) -> Mapping[str, int]:
        """The given counts, once the sink has merged something."""
        return self._overflowed

    def merge(self, events: Sequence[MetricEvent]) -> None:
        """Remember that something was merged."""
        self._overflowed.update(self.counts)

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Do nothing; this is never called."""
        return None


def updates(metrics: BatchMetricsCollector, number: int) -> None:
    """Update an instrument of each kind with labels of their own: 1, 3 and 2 valid updates, and a bad one each."""
    bad: Any = "1"
    counter = metrics.counter("c", labels={"n": number})
    counter.add()
    counter.add(bad)
    gauge = metrics.gauge("g", labels={"n": number})
    with gauge.track():
        gauge.set(3)
    gauge.inc(bad)
    histogram = metrics.histogram("h", labels={"n": number})
    histogram.observe(1)
    histogram.observe(0.5)
    histogram.observe(bad)


async def test_updates_that_lose_their_labels_are_counted_by_instrument(autojump_clock: MockClock) -> None:
    """Accepted updates count, and all of them are processed: a bad one is invalid, and a late one is closed."""
    sink = RecordingSink()
    async with collector(TWO, sinks=[sink]) as metrics:
        for number in range(2):
            updates(metrics, number)
        assert metrics.stats().overflowed == {}
        for number in range(2, 7):
            updates(metrics, number)
        updates(metrics, 0)
        expected = {"c": 5, "g": 15, "h": 10}
        assert metrics.stats().overflowed == expected
        await metrics.flush()
        assert metrics.stats().overflowed == expected
    updates(metrics, 3)
    stats = balanced(metrics.stats())
    assert stats.overflowed == expected
    assert stats.processed_events == len(sink.events) == 9
    assert stats.dropped["invalid"] == 3 * 8
    assert "overflowed=30 (c 5, g 15, h 10)" in str(stats)


async def test_the_largest_of_the_counts_is_reported(autojump_clock: MockClock) -> None:
    """Bound instruments and series sinks count the same events, so the report has the largest count per instrument."""
    sinks = [OverflowingSink({"c": 3, "x": 4}, name="one"), OverflowingSink({"c": 1, "y": 5}, name="two")]
    async with collector(TWO, sinks=sinks) as metrics:
        for number in range(4):
            metrics.counter("c", labels={"n": number}).add()
        assert metrics.stats().overflowed == {"c": 2}
        await metrics.flush()
        assert metrics.stats().overflowed == {"c": 3, "x": 4, "y": 5}
    assert metrics.stats().overflowed == {"c": 3, "x": 4, "y": 5}


async def test_a_sink_that_cannot_report_its_overflow_harms_nothing(autojump_clock: MockClock) -> None:
    """Its events are merged, and its exception is its last error; `stats()` never asks it."""

    class Broken(OverflowingSink):
        """A sink that raises when it is asked."""

        @property
        def overflowed(self) -> Mapping[str, int]:
            """Raise an error."""
            raise RuntimeError("no idea")

    async with collector(sinks=[Broken({}, name="broken")]) as metrics:
        metrics.record_cache_metric("redis", "hit")
        assert metrics.stats().overflowed == {}
        assert (await metrics.flush()).ok
    stats = balanced(metrics.stats())
    assert (stats.processed_events, stats.overflowed) == (1, {})
    assert "no idea" in (stats.sinks["broken"].last_error or "")


async def test_each_instrument_is_logged_once(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """The line comes within a minute, whether the bound instruments or a series sink noticed it."""
    async with collector(TWO, sinks=[OverflowingSink({"c": 3, "x": 4})]) as metrics:
        for _ in range(3):
            for number in range(6):
                metrics.counter("c", labels={"n": number}).add()
            await metrics.flush()
            await trio.sleep(61)
        assert len(warnings(caplog)) == 2
        for number in range(6):
            metrics.gauge("g", labels={"n": number}).inc()
        await trio.sleep(61)
        lines = warnings(caplog)
        assert [sum(name in line for line in lines) for name in ("'c'", "'x'", "'g'")] == [1, 1, 1]
        assert len(lines) == 3
    assert len(warnings(caplog)) == 3


async def test_an_overflow_just_before_the_end_is_logged_at_the_end(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The line comes although the last one came less than a minute before."""
    async with collector(TWO, sinks=[]) as metrics:
        metrics.record("no event")
        await trio.sleep(1)
        for number in range(6):
            metrics.counter("c", labels={"n": number}).add()
    assert len(warnings(caplog)) == 1


async def test_nothing_is_logged_in_the_call_that_overflows(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Logging takes a lock that the application may hold, so a task of the library's own logs the line."""

    def overflow() -> None:
        for number in range(6):
            metrics.histogram("h", labels={"n": number}).observe(1)
        said.append(len(warnings(caplog)))

    said: list[int] = []
    calls: list[Callable[[], object]] = [overflow, lambda: in_a_thread(overflow)]
    for call in calls:
        async with collector(TWO, sinks=[]) as metrics:
            call()
            await trio.testing.wait_all_tasks_blocked()
            assert (said, len(warnings(caplog))) == ([0], 1)
        said.clear()
        caplog.clear()


async def test_a_disabled_collector_counts_and_logs_no_overflow(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is counted."""
    async with collector(BatchMetricsConfig(max_series=2, enabled=False), sinks=[]) as metrics:
        for number in range(6):
            updates(metrics, number)
        await trio.sleep(70)
    assert metrics.stats().overflowed == {}
    assert caplog.records == []
