"""From the flush task to the back-ends: one task per sink, its queue, its attempts and retries.

::

    base             what the tasks of all sinks share: how they start, wait for work, and end
    event_delivery   the task of an event sink: take, attempt, settle; retries, 413 and rejections are decided here
    series_delivery  the task of a series sink: merge, then push snapshots
    packing          taking events from the queue and encoding them, within the sink's limits
    room             the signal that a queue has become shorter
    slices           a queue of slices of batches
    in_flight        the events taken at one time, their halves, and those that are set aside
    attempts         one attempt with its timeout, and the backoff between two
    receipts         what a sink returned, normalized

Imports ``abc``, ``_concurrency``, ``_events`` and ``_ledger``. ``_runtime`` creates one per sink; the flush task hands
batches to it.
"""

from __future__ import annotations

from .event_delivery import EventDelivery
from .packing import CHUNK
from .room import RoomSignal
from .series_delivery import SeriesDelivery

__all__ = ["CHUNK", "EventDelivery", "RoomSignal", "SeriesDelivery"]
