"""The recording interface: recorders, bound and observable instruments, and spans.

::

    recorder     Recorder, ThreadRecorder: record() and the recorders of built-in events
    host         the interface from recorders and instruments back to their collector
    instruments  the registry of counters, gauges and histograms, and their collection
    bound        BoundCounter, BoundGauge, BoundHistogram: updated in place, collected every flush interval
    bound_cells  how threads update one instrument without a lock
    observable   ObservableGauge: read at each collection
    families     the meaning of an instrument's name, and its label sets
    spans        with histogram.time(), with gauge.track(), and both as decorators

Imports ``_buffer``, ``_config``, ``_concurrency``, ``_events``, ``_ledger`` and ``_reprs``. ``_runtime`` creates
recorders and instruments, and collects the latter.
"""

from __future__ import annotations

from .bound import BoundCounter, BoundGauge, BoundHistogram
from .host import Host
from .instruments import Instruments
from .observable import ObservableGauge, Observation
from .recorder import Recorder, ThreadRecorder

__all__ = [
    "BoundCounter",
    "BoundGauge",
    "BoundHistogram",
    "Host",
    "Instruments",
    "ObservableGauge",
    "Observation",
    "Recorder",
    "ThreadRecorder",
]
