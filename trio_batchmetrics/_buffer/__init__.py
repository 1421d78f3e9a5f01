"""The bounded buffer in which recorded events wait for the flush task. Any thread may fill it.

::

    buffer           Buffer, the interface: recorders put rows in, and the flush task takes batches out
    batching         groups rows into batches; decides when the buffer is full, and refuses or evicts events then
    waiting_batches  the queue of waiting batches; chooses the event to evict
    flush_signal     the memory channel that wakes the parked flush task when a batch opens; it then waits in
                     ``_ledger.pending_batch`` until that batch is full or due
    waiters          the tasks in arecord() that wait for room
    handed_in        rows from other threads, until Trio's thread moves them into a batch

This room imports ``_config``, ``_exceptions``, ``_concurrency``, ``_events`` and ``_ledger``. Recorders put rows into
the buffer; the flush task takes batches out.
"""

from __future__ import annotations

from .buffer import Buffer

__all__ = ["Buffer"]
