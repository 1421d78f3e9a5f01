"""Events added up to series, for back-ends that want totals instead of events.

::

    store     SeriesStore: series by instrument and labels, up to a limit
    cells     one series' value, and what sinks read of it
    columns   where a row has its labels and values
    identity  which instruments and series a back-end can tell apart
    context   SinkContext: what a collector tells its sinks

Imports ``_events``. Series sinks merge batches into a store; bound instruments do not use it.
"""

from __future__ import annotations

from .cells import Cell, Family, Metric, Point
from .context import SinkContext
from .identity import Identity
from .store import SeriesStore

__all__ = ["Cell", "Family", "Identity", "Metric", "Point", "SeriesStore", "SinkContext"]
