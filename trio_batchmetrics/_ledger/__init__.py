"""Accounts for every event. This is the only place where counts change.

::

    ledger         Ledger: moves events from state to state; the module's docstring has the state table
    recorded       counts the recorded events, and those that are waiting
    pending_batch  PendingBatch: a batch from its first row until its last event is settled
    settling       settles events that were handed over, each with the worst outcome of all sinks
    watermarks     determines which flush waits for a batch, and which push delivers it
    flush_waiter   a flush that waits for batches to settle
    counters       one sink's counters, and the verdicts that change them
    stats          BatchMetricsStats, SinkStats, FlushReport: the objects that users read
    reporting      logs losses: one line at once, then at most one per minute, and one at the end

This room imports ``_concurrency``, ``_events`` and ``_reprs``. The buffer and the deliveries report to it; ``_runtime``
reads it for ``stats()``.
"""

from __future__ import annotations

from .counters import SinkCounters, Verdict
from .flush_waiter import FlushWaiter
from .ledger import Ledger
from .pending_batch import PendingBatch
from .recorded import Recorded
from .reporting import LossReporter, inform, warn
from .stats import BatchMetricsStats, FlushReport, SinkStats

__all__ = [
    "BatchMetricsStats",
    "FlushReport",
    "FlushWaiter",
    "Ledger",
    "LossReporter",
    "PendingBatch",
    "Recorded",
    "SinkCounters",
    "SinkStats",
    "Verdict",
    "inform",
    "warn",
]
