"""The bounded buffer in which recorded events wait for the flush task. Any thread may fill it.

::

    buffer           Buffer: recorders put rows in and the flush task takes batches out; decides on a full buffer
    batching         groups rows into batches, and refuses or evicts events when there is no room
    waiting_batches  the queue of waiting batches; chooses the event to evict
    flush_signal     the memory channel that wakes the flush task
    waiters          the tasks in arecord() that wait for room
    handed_in        rows from other threads, until Trio's thread moves them into a batch

This room imports ``_config``, ``_exceptions``, ``_concurrency``, ``_events`` and ``_ledger``. Recorders put rows into
the buffer; the flush task takes batches out.
"""

from __future__ import annotations

from .buffer import Buffer

__all__ = ["Buffer"]
