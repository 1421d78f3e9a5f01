"""Frozen snapshots of the ledger: what ``stats()`` and ``flush()`` return."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import attrs

from .._reprs import tolerant_repr

__all__ = ["BatchMetricsStats", "FlushReport", "SinkStats"]


@tolerant_repr
@attrs.frozen(kw_only=True)
class SinkStats:
    """One sink's account: ``total == delivered + rejected + failed + spooled + pending`` over what reached it."""

    total: int = 0
    """Events that reached the sink's queue."""
    delivered: int = 0
    """Events that the sink confirmed, in the sense its docstring gives."""
    rejected: int = 0
    """Events refused for good by name; the rest of their payload was not."""
    failed: int = 0
    """Events given up without confirmation; they may have arrived."""
    spooled: int = 0
    """Events kept on disk for later."""
    pending: int = 0
    """Events that wait, are under way, or (series) are merged into series that no push has carried yet."""
    retries: int = 0
    """Attempts after the first, of any payload."""
    failures: Mapping[str, int] = attrs.field(factory=dict[str, int])
    """Why events failed: ``queue_full``, ``retry_budget``, ``refused``, ``merge``, ``shutdown``, ``crash``; counts."""
    last_error: str | None = None
    """The last error, in the sink's or server's words; kept after later successes."""
    last_success: datetime | None = None
    """When an attempt last succeeded (UTC)."""


@tolerant_repr
@attrs.frozen(kw_only=True)
class BatchMetricsStats:
    """The whole account at one instant.

    ``total_events == processed_events + dropped_events + failed_events + spooled_events + pending_events``, always.
    """

    total_events: int = 0
    """Events recorded, refused ones included."""
    processed_events: int = 0
    """Events that every sink confirmed."""
    dropped_events: int = 0
    """Events that never reached a sink; ``dropped`` says why."""
    failed_events: int = 0
    """Events that at least one sink gave up or refused, or that no sink was reached with by the end."""
    spooled_events: int = 0
    """Events that at least one sink keeps on disk, and none failed."""
    pending_events: int = 0
    """Events that at least one sink has yet to settle."""
    batch_count: int = 0
    """Batches handed to the sinks."""
    last_flush_time: datetime | None = None
    """When a batch was last handed to the sinks (UTC)."""
    time_since_last_flush: float | None = None
    """Seconds since then, by Trio's clock."""
    dropped: Mapping[str, int] = attrs.field(factory=dict[str, int])
    """Why events were dropped: ``buffer_full``, ``closed``, ``invalid``; a count each."""
    overflowed: Mapping[str, int] = attrs.field(factory=dict[str, int])
    """By instrument: events or updates that lost their labels to ``max_series``; they are processed all the same."""
    sinks: Mapping[str, SinkStats] = attrs.field(factory=dict[str, SinkStats])
    """Each sink's account, by name, in the order they were given."""

    def __str__(self) -> str:
        """Return one line for a log."""
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
    """What became of everything that was pending at a call of ``flush()``; the five add up to that."""

    processed: int = 0
    """Events that every sink confirmed."""
    failed: int = 0
    """Events that at least one sink gave up or refused."""
    spooled: int = 0
    """Events kept on disk."""
    dropped: int = 0
    """Events found invalid, or pushed out to make room."""
    pending: int = 0
    """Events not settled: above 0 only in a forked child."""

    @property
    def ok(self) -> bool:
        """Whether nothing was lost: failed, dropped and pending are all 0."""
        return self.failed == self.dropped == self.pending == 0
