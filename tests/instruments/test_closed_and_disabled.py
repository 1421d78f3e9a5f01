"""After the block an update counts as closed, and a disabled collector's instruments do nothing."""

from typing import Any

import trio
from trio.testing import MockClock

from tests.helpers import balanced
from trio_batchmetrics import BatchMetricsCollector, BatchMetricsConfig, BoundCounter, BoundHistogram, collector
from trio_batchmetrics.testing import RecordingSink, StuckSink


async def test_after_the_block_an_update_counts_as_one_closed_event(autojump_clock: MockClock) -> None:
    """A bad value counts, too; nothing raises, and nothing arrives."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        counter, gauge, histogram = metrics.counter("c"), metrics.gauge("g"), metrics.histogram("h", unit="s")
        counter.add()
    bad: Any = None
    for update in (counter.add, gauge.set, gauge.inc, gauge.dec, histogram.observe):
        update(1)
        update(bad)
    assert metrics.stats().dropped == {"closed": 10}
    with gauge.track():
        pass
    with histogram.time():
        await trio.sleep(1)
    assert metrics.stats().dropped == {"closed": 13}
    metrics.counter("late").add()
    metrics.observable_gauge("late.too", lambda: 1)
    assert balanced(metrics.stats()).dropped == {"closed": 14}
    assert len(sink.events) == 1


# Deviation reported: `.time()` asks for Trio's clock, which no longer exists: RuntimeError.
def test_after_the_run_a_timer_counts_as_closed_and_raises_nothing() -> None:
    """A timer behaves like every other update after the block."""

    async def main() -> tuple[BatchMetricsCollector, BoundHistogram, BoundCounter]:
        async with collector(sinks=[]) as metrics:
            return metrics, metrics.histogram("h", unit="s"), metrics.counter("c")

    metrics, histogram, counter = trio.run(main)
    counter.add()
    assert metrics.stats().dropped == {"closed": 1}
    with histogram.time():
        pass
    assert metrics.stats().dropped == {"closed": 2}


async def test_an_update_after_the_body_counts_as_closed(autojump_clock: MockClock) -> None:
    """During the last flush, too, it is counted and not lost, since no collection comes after it."""
    async with trio.open_nursery() as nursery:
        async with collector(BatchMetricsConfig(shutdown_timeout=10), sinks=[StuckSink()]) as metrics:
            counter = metrics.counter("c")
            counter.add()

            async def update_later() -> None:
                await trio.sleep(5)
                counter.add()
                metrics.counter("late").add()

            nursery.start_soon(update_later)
    stats = balanced(metrics.stats())
    assert (stats.failed_events, stats.dropped) == (1, {"closed": 2})


async def test_an_update_that_is_overtaken_by_the_end_of_the_block_counts_as_closed(autojump_clock: MockClock) -> None:
    """Another thread may be in the middle of an update when the block is left, for example."""
    async with collector(sinks=[]) as metrics:
        instruments: list[Any] = [metrics.counter("c"), metrics.gauge("g"), metrics.histogram("h")]

        class Overtaken(float):
            """A value that takes as long to look at as the block takes to end."""

            def __float__(self) -> float:
                instruments[0].close()
                return 1.0

        for update in ("add", "set", "observe"):
            getattr(instruments[0], update)(Overtaken(1))
            instruments.pop(0)
        await metrics.flush()
        assert balanced(metrics.stats()).dropped == {"closed": 3}
    assert metrics.stats().processed_events == 0


async def test_a_disabled_collectors_instruments_do_nothing(autojump_clock: MockClock) -> None:
    """Nothing is counted, and no callback is read."""
    sink = RecordingSink()
    reads: list[int] = []
    bad: Any = None
    async with collector(BatchMetricsConfig(enabled=False), sinks=[sink]) as metrics:

        def read() -> float:
            reads.append(1)
            return 1

        metrics.observable_gauge("o", read)
        counter, gauge, histogram = metrics.counter("c"), metrics.gauge("g"), metrics.histogram("h", unit="s")
        for update in (counter.add, gauge.set, gauge.inc, gauge.dec, histogram.observe):
            update(1)
            update(bad)
        with gauge.track(), histogram.time():
            await trio.sleep(20)
        await metrics.flush()
    counter.add()
    assert metrics.stats().total_events == 0
    assert sink.events == []
    assert reads == []


# Deviation reported: a disabled collector's timer asks for Trio's clock all the same.
def test_a_disabled_collectors_timer_does_nothing_anywhere() -> None:
    """With `enabled=False`, every call is accepted and does nothing."""

    async def main() -> BoundHistogram:
        async with collector(BatchMetricsConfig(enabled=False), sinks=[]) as metrics:
            return metrics.histogram("h", unit="s")

    histogram = trio.run(main)
    with histogram.time():
        pass


async def test_a_collector_that_is_not_enabled_takes_instruments_from_any_thread() -> None:
    """Every call is accepted and does nothing."""
    async with collector(BatchMetricsConfig(enabled=False), sinks=[]) as metrics:
        await trio.to_thread.run_sync(lambda: metrics.counter("q").add())
        await trio.to_thread.run_sync(lambda: metrics.gauge("g").set(1))
    assert metrics.stats().total_events == 0
