"""Updates from many threads all count, without a lock."""

import trio

from tests.threads import restless
from trio_batchmetrics import Counter, Gauge, HistogramPoint, collector
from trio_batchmetrics.testing import RecordingSink


async def test_updates_from_many_threads_all_count() -> None:
    """Threads switch as often as possible, without a lock, while the Trio thread updates and collects, too."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        counter, gauge, histogram = metrics.counter("c"), metrics.gauge("g"), metrics.histogram("h", bounds=[1, 2])

        def update(times: int) -> None:
            for _ in range(times):
                counter.add()
                counter.add(0.5)
                gauge.inc(2)
                gauge.dec()
                histogram.observe(1.5)
                histogram.observe(3)

        async def in_a_thread() -> None:
            await trio.to_thread.run_sync(update, 5000)

        with restless():
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(in_a_thread)
                for _ in range(50):
                    update(10)
                    await metrics.flush()
    times = 4 * 5000 + 50 * 10
    counters = [event.value for event in sink.events if isinstance(event, Counter)]
    gauges = [event.value for event in sink.events if isinstance(event, Gauge)]
    points = [event for event in sink.events if isinstance(event, HistogramPoint)]
    assert sum(counters) == 1.5 * times
    assert gauges[-1] == times
    assert [sum(column) for column in zip(*(point.counts for point in points), strict=True)] == [0, times, times]
    assert sum(point.sum for point in points) == 4.5 * times
