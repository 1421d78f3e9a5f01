"""Sinks for users' own tests: they work in memory and in virtual time, and fail on request.

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
    """Keeps all batches in memory. No checkpoint occurs between taking a batch and settling its events."""

    def __init__(self, **settings: Any) -> None:
        """Create a sink without batches.

        Args:
            settings: ``name`` and the delivery settings of :class:`~trio_batchmetrics.abc.EventSink`.
        """
        super().__init__(**settings)
        self.batches: list[Batch] = []
        """The batches taken, in order."""
        self.attempts: int = 0
        """The number of attempts so far."""

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
    """Fails at first: the first ``fail`` attempts raise a ``ConnectionError``, which causes a retry."""

    def __init__(self, fail: int = 1, **settings: Any) -> None:
        """Create a sink that fails at first.

        Args:
            fail: the number of attempts that fail.
            settings: ``name`` and the delivery settings of :class:`~trio_batchmetrics.abc.EventSink`.
        """
        super().__init__(**settings)
        self.fail = fail

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Fail if it is one of the first attempts; otherwise take the batch."""
        if self.attempts < self.fail:
            self._tried()
            raise ConnectionError(f"deliberate failure {self.attempts} of {self.fail}")
        return await super().send(payload)


class StuckSink(RecordingSink):
    """Never responds: its ``send`` waits until it is cancelled."""

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Wait until cancelled."""
        self._tried()
        await trio.sleep_forever()


class PartialSink(RecordingSink):
    """Permanently refuses some events and takes the others."""

    def __init__(self, reject: Callable[[Any], bool], **settings: Any) -> None:
        """Create a sink that refuses the events for which a predicate is true.

        Args:
            reject: the predicate, called with one event.
            settings: ``name`` and the delivery settings of :class:`~trio_batchmetrics.abc.EventSink`.
        """
        super().__init__(**settings)
        self.reject = reject
        self.rejected: list[MetricEvent] = []
        """Every event refused, in order."""

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Take the batch without the refused events."""
        self._tried()
        refused = {at: "refused" for at, event in enumerate(payload.events) if self.reject(event)}
        self.rejected += [payload.events[at] for at in refused]
        self.batches.append(Batch([event for at, event in enumerate(payload.events) if at not in refused]))
        return Receipt(rejected=refused)
