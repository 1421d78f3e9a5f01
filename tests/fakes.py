"""Sinks that the tests of recording and of instruments need beside the public ones."""

import trio

from trio_batchmetrics import CacheMetric, MetricEvent
from trio_batchmetrics.abc import Payload, Receipt
from trio_batchmetrics.testing import RecordingSink

__all__ = ["GatedSink", "TimedSink", "numbered", "numbers"]


class TimedSink(RecordingSink):
    """Notes when each batch came, by Trio's clock."""

    def __init__(self) -> None:
        """Start empty."""
        super().__init__(name="timed")
        self.times: list[float] = []

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Take the batch and note the time."""
        self.times.append(trio.current_time())
        return await super().send(payload)

    @property
    def arrivals(self) -> list[tuple[float, int]]:
        """When something came, and how many events."""
        return [(time, len(batch)) for time, batch in zip(self.times, self.batches, strict=True)]


class GatedSink(RecordingSink):
    """Waits, in each attempt, until it is opened."""

    def __init__(self) -> None:
        """Start shut, and willing to wait for ever."""
        super().__init__(name="gated", timeout=1e9)
        self.gate = trio.Event()

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Wait, then take the batch."""
        await self.gate.wait()
        return await super().send(payload)


def numbered(number: int) -> CacheMetric:
    """Make an event that can be told from others."""
    return CacheMetric("redis", str(number), timestamp=number)


def numbers(events: list[MetricEvent]) -> list[int]:
    """Return the numbers of such events."""
    return [int(event.operation) for event in events if isinstance(event, CacheMetric)]
