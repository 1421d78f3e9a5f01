"""From the flush task to the back-ends: one task per sink, its queue, its attempts and retries.

::

    event_delivery   the task of an event sink: take, encode, attempt, settle
    series_delivery  the task of a series sink: merge, then push snapshots
    attempts         one attempt with its timeout, and the backoff between two
    load             a queue of slices of batches
    shipments        payloads that were too large: their halves, and what is set aside

Imports ``abc``, ``_concurrency``, ``_events`` and ``_ledger``. ``_runtime`` creates one per sink; the flush task hands
batches to it.
"""

from __future__ import annotations

from .event_delivery import CHUNK, EventDelivery
from .load import Span
from .series_delivery import SeriesDelivery

__all__ = ["CHUNK", "EventDelivery", "SeriesDelivery", "Span"]
