"""Events aggregated into series, for back-ends that store totals instead of events.

::

    store     SeriesStore: series by instrument and labels, up to a limit
    cells     one series' value, and the snapshot of it that sinks read
    columns   where a row has its labels and values
    identity  which instruments and series a back-end can distinguish
    context   SinkContext: the information that a collector gives its sinks

Imports ``_events`` and ``_reprs``. Series sinks merge batches into a store; bound instruments do not use it.
"""

from __future__ import annotations

from .cells import Cell, Family, Metric, Point
from .context import SinkContext
from .identity import Identity
from .store import SeriesStore

__all__ = ["Cell", "Family", "Identity", "Metric", "Point", "SeriesStore", "SinkContext"]
