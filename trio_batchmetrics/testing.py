"""Sinks for users' own tests: in memory, in virtual time, failing on request.

Example:
    >>> import trio
    >>> from trio_batchmetrics import collector
    >>> from trio_batchmetrics.testing import RecordingSink
    >>> async def main():
    ...     sink = RecordingSink()
    ...     async with collector(sinks=[sink]) as metrics:
    ...         metrics.record_cache_metric("redis", "hit")
    ...     return [(event.cache_type, event.operation) for event in sink.events]
    >>> trio.run(main)
    [('redis', 'hit')]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from ._events import Batch, MetricEvent
from .abc import EventSink, Payload, Receipt

__all__ = ["FlakySink", "PartialSink", "RecordingSink", "StuckSink"]


class RecordingSink(EventSink[None]):
    """Keeps everything in memory. Taking a batch is its last act: no checkpoint comes before it is settled."""

    def __init__(self, **settings: Any) -> None:
        """Start empty.

        Args:
            settings: ``name`` and the delivery settings of :class:`~trio_batchmetrics.abc.EventSink`.
        """
        super().__init__(**settings)
        self.batches: list[Batch] = []
        """The payloads taken, in order."""
        self.attempts: int = 0
        """How often something was tried."""

    def _tried(self) -> None:
        self.attempts += 1

    @property
    def events(self) -> list[MetricEvent]:
        """Every event taken, in order."""
        return [event for batch in self.batches for event in batch]

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Take the batch."""
        self._tried()
        self.batches.append(payload.events)
        return None


class FlakySink(RecordingSink):
    """Fails at first: the first ``fail`` attempts raise a ``ConnectionError``, which is retried."""

    def __init__(self, fail: int = 1, **settings: Any) -> None:
        """Fail so many attempts.

        Args:
            fail: how many.
            settings: ``name`` and the delivery settings of :class:`~trio_batchmetrics.abc.EventSink`.
        """
        super().__init__(**settings)
        self.fail = fail

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Fail, or take the batch."""
        if self.attempts < self.fail:
            self._tried()
            raise ConnectionError(f"attempt {self.attempts} of {self.fail} that fail")
        return await super().send(payload)


class StuckSink(RecordingSink):
    """Never answers: its ``send`` waits until it is cancelled."""

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Wait for ever."""
        self._tried()
        await trio.sleep_forever()


class PartialSink(RecordingSink):
    """Refuses some events for good and takes the others."""

    def __init__(self, reject: Callable[[Any], bool], **settings: Any) -> None:
        """Refuse what a predicate is true for.

        Args:
            reject: gets an event.
            settings: ``name`` and the delivery settings of :class:`~trio_batchmetrics.abc.EventSink`.
        """
        super().__init__(**settings)
        self.reject = reject
        self.rejected: list[MetricEvent] = []
        """Every event refused, in order."""

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Take the batch, without what is refused."""
        self._tried()
        refused = {at: "refused" for at, event in enumerate(payload.events) if self.reject(event)}
        self.rejected += [payload.events[at] for at in refused]
        self.batches.append(Batch([event for at, event in enumerate(payload.events) if at not in refused]))
        return Receipt(rejected=refused)
