"""The account of every event: the only place where counts change.

::

    ledger     Ledger: moves events from state to state; the state table stands in its docstring
    accounts   one sink's counters, and events that were recorded together
    flushes    which flushes wait for which batches
    stats      BatchMetricsStats, SinkStats, FlushReport: what users read
    reporting  one line in the log where events are lost, one when that is over

Imports ``_concurrency`` and ``_events``. The buffer and the deliveries report to it; ``_runtime`` reads it for
``stats()``.
"""

from __future__ import annotations

from .accounts import Account, Cohort, Tally, Verdict
from .flushes import Watch
from .ledger import Ledger
from .reporting import LossReporter, inform, warn
from .stats import BatchMetricsStats, FlushReport, SinkStats

__all__ = [
    "Account",
    "BatchMetricsStats",
    "Cohort",
    "FlushReport",
    "Ledger",
    "LossReporter",
    "SinkStats",
    "Tally",
    "Verdict",
    "Watch",
    "inform",
    "warn",
]
