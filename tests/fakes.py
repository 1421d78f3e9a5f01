"""Sinks that the tests of recording and of instruments need in addition to the public ones."""

from collections.abc import Sequence

import trio

from trio_batchmetrics import CacheMetric, MetricEvent
from trio_batchmetrics.abc import Metric, Payload, Receipt, SeriesSink, SeriesStore, SinkContext
from trio_batchmetrics.testing import RecordingSink

__all__ = ["GatedSink", "StoreSink", "TimedSink", "numbered", "numbers"]


class StoreSink(SeriesSink[None]):
    """A sink that merges into a store, and whose pushes all succeed."""

    store: SeriesStore

    def bind(self, context: SinkContext) -> None:
        """Create the store."""
        super().bind(context)
        self.store = SeriesStore(context)

    def merge(self, events: Sequence[MetricEvent]) -> None:
        """Merge the events into the store."""
        self.store.merge(events)

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Report success."""
        return None

    def metric(self, name: str) -> Metric:
        """Return the only metric of that name."""
        (found,) = (metric for metric in self.store.snapshot() if metric.name == name)
        return found


class TimedSink(RecordingSink):
    """A sink that keeps the time of each batch by Trio's clock."""

    def __init__(self) -> None:
        """Create a sink without arrivals."""
        super().__init__(name="timed")
        self.times: list[float] = []

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Take the batch and keep the time."""
        self.times.append(trio.current_time())
        return await super().send(payload)

    @property
    def arrivals(self) -> list[tuple[float, int]]:
        """When batches came, and how many events they had."""
        return [(time, len(batch)) for time, batch in zip(self.times, self.batches, strict=True)]


class GatedSink(RecordingSink):
    """A sink whose attempts wait until it is opened."""

    def __init__(self) -> None:
        """Create a shut sink with an unlimited timeout."""
        super().__init__(name="gated", timeout=1e9)
        self.gate = trio.Event()

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Wait, then take the batch."""
        await self.gate.wait()
        return await super().send(payload)


def numbered(number: int) -> CacheMetric:
    """Create an event with a number that identifies it."""
    return CacheMetric("redis", str(number), timestamp=number)


def numbers(events: list[MetricEvent]) -> list[int]:
    """Return the numbers of these events."""
    return [int(event.operation) for event in events if isinstance(event, CacheMetric)]
