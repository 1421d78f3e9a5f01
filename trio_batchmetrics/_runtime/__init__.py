"""What runs behind ``collector()``: every part put together, every task, and how they end.

::

    lifetime      collector(): entering and leaving the block
    metrics       BatchMetricsCollector: what an application holds
    engine        the parts of one collector, and the nursery that their tasks run in
    flush_task    moves batches from the buffer to every sink
    collection    collects the bound instruments every flush interval
    fork          every engine of this process, and what a forked child does with them
    named_sinks   what a user may give as sinks=
    process_name  what this process is called where several report

Imports every other room. Only the package's own ``__init__`` imports it.
"""

from __future__ import annotations

from .lifetime import collector
from .metrics import BatchMetricsCollector

__all__ = ["BatchMetricsCollector", "collector"]
