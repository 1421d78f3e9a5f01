"""Events aggregated into series, for back-ends that store totals instead of events.

::

    store         SeriesStore: merges batches into series, and returns them as points
    merging       adds the columns of a batch to series
    columns       the instruments of event classes and names, to which columns are added
    label_sets    remembers the series of label sets, within bounds
    members       finds the series for labels: known, new, shared or refused
    families      the instruments, up to a limit
    family        the series of one instrument
    groups        records which events were merged into which series, for pushes that reject series
    aggregations  adds values to series: sum, last value, explicit buckets
    series        one series, live
    points        Point, Metric: the snapshots that sinks read
    observer      SeriesObserver: keeps a sink's object next to each series
    identity      Identity: which instruments and series a back-end can distinguish
    context       SinkContext: the information that a collector gives its sinks

Imports ``_events`` and ``_reprs``. Series sinks merge batches into a store; bound instruments do not use it.
"""

from __future__ import annotations

from .context import SinkContext
from .families import TOO_MANY_INSTRUMENTS
from .family import SeriesFamily
from .groups import Groups, Listing
from .identity import Identity
from .observer import SeriesObserver
from .points import Metric, Point
from .series import Series
from .store import SeriesStore

__all__ = [
    "TOO_MANY_INSTRUMENTS",
    "Groups",
    "Identity",
    "Listing",
    "Metric",
    "Point",
    "Series",
    "SeriesFamily",
    "SeriesObserver",
    "SeriesStore",
    "SinkContext",
]
