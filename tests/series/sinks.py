"""Series sinks with a back-end in memory, and the traffic and assertions that the tests of series share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import trio

from tests.helpers import balanced, ids
from trio_batchmetrics import BatchMetricsCollector, MetricEvent, SinkStats
from trio_batchmetrics.abc import Kind, Metric, Payload, Receipt, SeriesSink, SeriesStore, SinkContext

__all__ = ["MemorySink", "Snapshot", "account", "record", "upto"]


@attrs.frozen
class Snapshot:
    """The state of the series at one moment: how many events, and the sum of their ids."""

    count: int
    """The sum of the counters according to the series."""
    total: int
    metrics: tuple[Metric, ...] = attrs.field(default=(), eq=False)


class MemorySink(SeriesSink[Snapshot]):
    """Series in memory that are pushed to a back-end in memory, which keeps the last snapshot that arrived.

    The series are few, however many events there are: beyond 20 they share one.
    """

    store: SeriesStore

    def __init__(self, *script: Any, takes: float = 0.0, **settings: Any) -> None:
        """Create a sink that responds to pushes by a script.

        Args:
            script: one response per attempt: exceptions are raised, ``...`` never responds, all else is returned.
            takes: seconds before a response.
            settings: those of :class:`SeriesSink`.
        """
        super().__init__(**settings)
        self.script = list(script)
        self.takes = takes
        self.down = False
        self.merged: list[int] = []
        self.calls: list[int] = []
        """How many events each call of merge had."""
        self.count = self.total = 0
        self.times: list[float] = []
        self.keys: list[str] = []
        self.snapshots: list[Snapshot] = []
        """The snapshot that each attempt sent."""
        self.backend = Snapshot(0, 0)

    def bind(self, context: SinkContext) -> None:
        """Create an empty store."""
        super().bind(context)
        self.store = SeriesStore(attrs.evolve(context, max_series=20))

    def merge(self, events: Sequence[MetricEvent]) -> dict[int, str] | None:
        """Add the events to the series."""
        self.store.merge(events)
        found = ids(list(events))
        self.calls.append(len(found))
        self.merged += found
        self.count += len(found)
        self.total += sum(found)
        return None

    def snapshot(self) -> Snapshot:
        """Return the present state of the series."""
        metrics = self.store.snapshot()
        count = sum(point.value for metric in metrics if metric.kind is Kind.COUNTER for point in metric.points)
        return Snapshot(int(count), self.total, metrics)

    async def send(self, payload: Payload[Snapshot]) -> Any:
        """Respond to a push as the script says."""
        assert len(payload.events) == 0
        (snapshot,) = payload.parts
        self.times.append(trio.current_time())
        self.keys.append(payload.key)
        self.snapshots.append(snapshot)
        answer = self.script.pop(0) if self.script else None
        if self.takes:
            await trio.sleep(self.takes)
        if answer is ...:
            await trio.sleep_forever()
        if self.down:
            raise ConnectionError("down")
        if isinstance(answer, Exception):
            raise answer
        if answer is None or answer == Receipt():
            self.backend = snapshot
        return answer


def record(metrics: BatchMetricsCollector, first: int, last: int) -> None:
    """Record events with these numbers."""
    for number in range(first, last + 1):
        metrics.record_counter("c", {"id": number}, 1)


def account(metrics: BatchMetricsCollector, name: str = "memory") -> SinkStats:
    """Assert that the ledger balances, and return a sink's account."""
    return balanced(metrics.stats()).sinks[name]


def upto(last: int, first: int = 1) -> list[int]:
    """Return the numbers from the first to the last."""
    return list(range(first, last + 1))
