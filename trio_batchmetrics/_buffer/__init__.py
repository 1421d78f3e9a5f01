"""Where recorded events wait for the flush task: a buffer of bounded size, filled from any thread.

::

    buffer           Buffer: recorders put rows in, the flush task takes batches out; full buffers are decided here
    batching         how rows gather into batches, and which are refused or evicted where there is no room
    waiting_batches  the batches that wait, and which event is evicted
    flush_signal     the memory channel that wakes the flush task
    waiters          tasks in arecord() that wait for room
    handed_in        rows of other threads, until Trio's thread moves them into a batch

Imports ``_config``, ``_concurrency``, ``_events`` and ``_ledger``. Recorders put rows into it; the flush task takes
batches out.
"""

from __future__ import annotations

from .buffer import Buffer

__all__ = ["Buffer"]
