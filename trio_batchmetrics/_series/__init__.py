"""Events aggregated into series, for back-ends that store totals instead of events.

::

    store         SeriesStore: merges batches into series, and gives them as points
    merging       adds the columns of a batch to series
    columns       the instruments of event classes and names, as columns are added to them
    label_sets    the series of label sets, which are remembered within bounds
    members       finds the series of labels: known, new, shared or refused
    families      the instruments that there are, up to a limit
    family        the series of one instrument
    groups        which events were merged into which series, for pushes that reject some
    aggregations  how values are added: sum, last value, explicit buckets
    series        one series, live
    points        Point, Metric: the snapshots that sinks read
    observer      SeriesObserver: keeps an object of a sink's own next to each series
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
