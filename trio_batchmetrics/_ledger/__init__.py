"""The account of every event: the only place where counts change.

::

    ledger         Ledger: moves events from state to state; the state table stands in its docstring
    recorded       how many events were recorded, and how many wait
    pending_batch  PendingBatch: from its first row until its last event is settled
    watermarks     which flush waits for a batch, and which push delivers it
    counters       one sink's counters, and the verdicts that change them
    stats          BatchMetricsStats, SinkStats, FlushReport: what users read
    reporting      losses in the log: one line at once, then one per minute at most, one at the end

Imports ``_concurrency`` and ``_events``. The buffer and the deliveries report to it; ``_runtime`` reads it for
``stats()``.
"""

from __future__ import annotations

from .counters import SinkCounters, Verdict
from .ledger import Ledger
from .pending_batch import PendingBatch
from .recorded import Recorded
from .reporting import LossReporter, inform, warn
from .stats import BatchMetricsStats, FlushReport, SinkStats
from .watermarks import FlushWaiter

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
