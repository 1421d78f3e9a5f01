"""Where recorded events wait for the flush task: a buffer of bounded size, filled from any thread.

::

    intake     Intake: how recorders put a row into the open batch; how a full buffer refuses it
    buffer     how a batch is opened, sealed and taken
    gathering  a batch that gathers, and the signal that wakes the flush task
    waiting    the batches that wait, and which event is evicted
    waiters    tasks in arecord() that wait for room
    handed_in  rows of other threads, until Trio's thread moves them into a batch

Imports ``_config``, ``_concurrency``, ``_events`` and ``_ledger``. Recorders put rows into it; the flush task takes
batches out.
"""

from __future__ import annotations

from .gathering import Gathering
from .intake import Intake

__all__ = ["Gathering", "Intake"]
