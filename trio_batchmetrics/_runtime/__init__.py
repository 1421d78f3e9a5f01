"""The implementation of ``collector()``: assembles all parts, runs every task, and ends them.

::

    lifetime      collector(): enters and leaves the block
    metrics       BatchMetricsCollector: the object that an application uses
    engine        the parts of one collector and the nursery that runs their tasks; flush(), the block's deadline, the
                  failure of everything that is pending after it, and what stops in a forked child
    flush_task    moves batches from the buffer to every sink, and reports invalid events
    collection    collects the bound instruments every flush interval
    fork          the hook that calls ``Engine.forked`` in a child, and the numbers of open collectors
    named_sinks   checks and names the sinks given as sinks=
    process_name  names this process where several report to one back-end

This room may import every other room. Only the package's own ``__init__`` imports it.
"""

from __future__ import annotations

from .lifetime import collector
from .metrics import BatchMetricsCollector

__all__ = ["BatchMetricsCollector", "collector"]
