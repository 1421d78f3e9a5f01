"""Delivers batches from the flush task to the back-ends: one task per sink, with its queue, attempts and retries.

::

    base             the life cycle that all delivery tasks share: start, wait for work, end
    event_delivery   the task of an event sink: take, attempt, settle; decides on retries, rejections and
                     payloads that are too large (413; ``_http.responses`` maps a status to a receipt)
    series_delivery  the task of a series sink: merge, then push snapshots
    packing          takes events from the queue and encodes them, within the sink's limits
    room             the signal that a queue has become shorter
    slices           a queue of slices of batches
    in_flight        the events of one payload, its halves, and those that are set aside
    attempts         one attempt with its timeout, and the backoff between attempts
    receipts         checks and normalizes a sink's return value

This room imports ``abc``, ``_concurrency``, ``_events``, ``_ledger`` and ``_reprs``. ``_runtime`` creates one delivery
per sink; the flush task hands over batches to it.
"""

from __future__ import annotations

from .event_delivery import EventDelivery
from .room import RoomSignal
from .series_delivery import SeriesDelivery

__all__ = ["EventDelivery", "RoomSignal", "SeriesDelivery"]
