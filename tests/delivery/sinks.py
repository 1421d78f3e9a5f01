"""Sinks that respond by a script, and the traffic and assertions that the delivery tests share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from tests.helpers import balanced, ids
from trio_batchmetrics import BatchMetricsCollector, MetricEvent, SinkStats
from trio_batchmetrics.abc import EventSink, Payload

__all__ = [
    "Attempt",
    "EncodingSink",
    "GatedEncodingSink",
    "GatedSink",
    "ScriptedSink",
    "account",
    "assert_let_in",
    "record",
    "record_batches",
    "upto",
]


@attrs.frozen
class Attempt:
    """One attempt as the sink saw it."""

    at: float
    events: list[int]
    key: str
    parts: tuple[Any, ...]


class ScriptedSink(EventSink[Any]):
    """A sink that responds by a script, then delivers, and keeps every attempt."""

    def __init__(self, *script: Any, takes: float = 0.0, **settings: Any) -> None:
        """Create a sink that responds by a script.

        Args:
            script: one response per attempt: exceptions are raised, ``...`` never responds, all else is returned.
            takes: seconds before a response.
            settings: those of :class:`EventSink`.
        """
        super().__init__(**settings)
        self.script = list(script)
        self.takes = takes
        self.attempts: list[Attempt] = []
        self.ended: list[float] = []
        """When each attempt ended, in whatever way."""

    @property
    def times(self) -> list[float]:
        """When attempts began."""
        return [attempt.at for attempt in self.attempts]

    @property
    def payloads(self) -> list[list[int]]:
        """The events in each attempt."""
        return [attempt.events for attempt in self.attempts]

    @property
    def keys(self) -> list[str]:
        """The payloads' keys."""
        return [attempt.key for attempt in self.attempts]

    async def send(self, payload: Payload[Any]) -> Any:
        """Respond as the script says."""
        answer = self.script.pop(0) if self.script else None
        self.attempts.append(Attempt(trio.current_time(), ids(list(payload.events)), payload.key, payload.parts))
        try:
            if self.takes:
                await trio.sleep(self.takes)
            if answer is ...:
                await trio.sleep_forever()
            if isinstance(answer, BaseException):
                raise answer
            return answer
        finally:
            self.ended.append(trio.current_time())


class EncodingSink(ScriptedSink):
    """A sink that encodes each event as a number of characters, and can't encode some events."""

    def __init__(self, *script: Any, width: int = 1, bad: Iterable[int] = (), **settings: Any) -> None:
        """Create a sink that encodes.

        Args:
            script: as in :class:`ScriptedSink`.
            width: characters per event.
            bad: ids of events whose encoding raises.
            settings: as in :class:`ScriptedSink`.
        """
        super().__init__(*script, **settings)
        self.width = width
        self.bad = set(bad)
        self.encoded: list[list[int]] = []
        """The ids of each call."""
        self.widths: dict[int, int] = {}
        """The number of characters of events with another width, by id."""

    def encode(self, events: Sequence[MetricEvent]) -> str:
        """Encode the events, or raise."""
        found = ids(list(events))
        self.encoded.append(found)
        if self.bad.intersection(found):
            raise ValueError("no way to say this")
        return "".join(chr(event_id) * self.widths.get(event_id, self.width) for event_id in found)


class GatedSink(ScriptedSink):
    """A sink that responds once it is opened."""

    def __init__(self, **settings: Any) -> None:
        """Create a shut sink with an unlimited timeout."""
        super().__init__(timeout=1e9, **settings)
        self.gate = trio.Event()

    async def send(self, payload: Payload[Any]) -> Any:
        """Wait, then deliver."""
        answer = await super().send(payload)
        await self.gate.wait()
        return answer


class GatedEncodingSink(GatedSink, EncodingSink):
    """A sink that encodes, and responds once it is opened."""


def record(metrics: BatchMetricsCollector, first: int, last: int) -> None:
    """Record events with these numbers."""
    for number in range(first, last + 1):
        metrics.record_counter("c", {"id": number}, 1)


async def record_batches(metrics: BatchMetricsCollector, first: int, last: int, size: int) -> None:
    """Record the given number of events at a time, and let them go as far as they can."""
    for start in range(first, last + 1, size):
        record(metrics, start, min(start + size - 1, last))
        await wait_all_tasks_blocked()


def assert_let_in(seen: list[int]) -> None:
    """Assert that another task ran between any two steps (Trio's order within a round is random, so: any three)."""
    assert max(after - before for before, after in pairwise(seen)) <= 2


def account(metrics: BatchMetricsCollector, name: str = "scripted") -> SinkStats:
    """Assert that the ledger balances, and return a sink's account."""
    return balanced(metrics.stats()).sinks[name]


def upto(last: int, first: int = 1) -> list[int]:
    """Return the numbers from the first to the last."""
    return list(range(first, last + 1))
