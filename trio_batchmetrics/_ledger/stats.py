"""Frozen snapshots of the ledger, as returned by ``stats()`` and ``flush()``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import attrs

from .._reprs import tolerant_repr

__all__ = ["BatchMetricsStats", "FlushReport", "SinkStats"]


@tolerant_repr
@attrs.frozen(kw_only=True)
class SinkStats:
    """One sink's account of the events that reached it.

    ``total == delivered + rejected + failed + spooled + pending``, always.
    """

    total: int = 0
    """Events that reached the sink's queue."""
    delivered: int = 0
    """Events that the sink confirmed, in the sense its docstring defines."""
    rejected: int = 0
    """Events that were permanently refused one by one; the rest of their payload wasn't."""
    failed: int = 0
    """Events given up without confirmation; they may have arrived."""
    spooled: int = 0
    """Events kept on disk for later."""
    pending: int = 0
    """Events that are queued, in flight, or (series sinks) merged into series that no push has delivered yet."""
    retries: int = 0
    """Attempts after the first one of each payload."""
    failures: Mapping[str, int] = attrs.field(factory=dict[str, int])
    """Failed events by reason: ``queue_full``, ``retry_budget``, ``refused``, ``merge``, ``shutdown``, ``crash``."""
    last_error: str | None = None
    """The last error, in the sink's or server's words; kept after later successes."""
    last_success: datetime | None = None
    """When an attempt last succeeded (UTC)."""


@tolerant_repr
@attrs.frozen(kw_only=True)
class BatchMetricsStats:
    """The collector's account at one instant.

    ``total_events == processed_events + dropped_events + failed_events + spooled_events + pending_events``, always.
    """

    total_events: int = 0
    """Events recorded, including refused ones."""
    processed_events: int = 0
    """Events that every sink confirmed."""
    dropped_events: int = 0
    """Events that never reached a sink; ``dropped`` has the reasons."""
    failed_events: int = 0
    """Events that at least one sink gave up or refused, or that had reached no sink by the end."""
    spooled_events: int = 0
    """Events that at least one sink keeps on disk, and no sink failed."""
    pending_events: int = 0
    """Events that at least one sink has yet to settle."""
    batch_count: int = 0
    """Batches handed over to the sinks."""
    last_flush_time: datetime | None = None
    """When a batch was last handed over to the sinks (UTC)."""
    time_since_last_flush: float | None = None
    """Seconds since then, by Trio's clock."""
    dropped: Mapping[str, int] = attrs.field(factory=dict[str, int])
    """Dropped events by reason: ``buffer_full``, ``closed``, ``invalid``, ``too_many_instruments``."""
    overflowed: Mapping[str, int] = attrs.field(factory=dict[str, int])
    """Events or updates that lost their labels to ``max_series``, by instrument; they are processed nevertheless."""
    sinks: Mapping[str, SinkStats] = attrs.field(factory=dict[str, SinkStats])
    """Each sink's account, by name, in the order of ``sinks=``."""

    def __str__(self) -> str:
        """Return the account as one line for a log."""
        line = (
            f"total={self.total_events} processed={self.processed_events} dropped={self.dropped_events}"
            f"{_reasons(self.dropped)} failed={self.failed_events} spooled={self.spooled_events}"
            f" pending={self.pending_events} batches={self.batch_count}"
        )
        if self.overflowed:
            line += f" overflowed={sum(self.overflowed.values())}{_reasons(self.overflowed)}"
        for name, sink in self.sinks.items():
            line += (
                f" | {name}: total={sink.total} delivered={sink.delivered} rejected={sink.rejected}"
                f" failed={sink.failed}{_reasons(sink.failures)} spooled={sink.spooled} pending={sink.pending}"
                f" retries={sink.retries}"
            )
        return line


def _reasons(counts: Mapping[str, int]) -> str:
    return f" ({', '.join(f'{reason} {count}' for reason, count in counts.items())})" if counts else ""


@tolerant_repr
@attrs.frozen(kw_only=True)
class FlushReport:
    """The outcomes of all events that were pending when ``flush()`` was called.

    The five counts add up to the number of those events.
    """

    processed: int = 0
    """Events that every sink confirmed."""
    failed: int = 0
    """Events that at least one sink gave up or refused."""
    spooled: int = 0
    """Events kept on disk."""
    dropped: int = 0
    """Events that were invalid, or evicted to make room."""
    pending: int = 0
    """Events not settled yet; above 0 only in a forked child."""

    @property
    def ok(self) -> bool:
        """Whether nothing was lost: failed, dropped and pending are all 0."""
        return self.failed == self.dropped == self.pending == 0
