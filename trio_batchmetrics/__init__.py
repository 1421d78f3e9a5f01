"""trio_batchmetrics: batched metrics for Trio services, with an account that always balances.

Where things live::

    _lifetime.py         collector(): opening and leaving the block
    _collector.py        BatchMetricsCollector: what an application records with, and asks
    _engine.py           what runs behind it: every part put together, every task
    _recording.py        the recorders
    _config.py           BatchMetricsConfig
    _schema.py           MetricEvent, label, measure, metric_event: how an event class is declared
    _events.py           the built-in events
    _instruments.py      counters, gauges, histograms that aggregate in place; observable gauges
    _spans.py            with histogram.time(), with gauge.track(), and both as decorators
    _values.py           label values: captured by value, read-only, as text
    _validation.py       what makes an event invalid
    _measured.py         what may be measured
    _points.py           the same for points of bound histograms, quickly
    _invalid.py          why an event is invalid, in the log
    _batch.py            Batch: a sequence of events
    _text.py             an event's labels as text, its JSON form
    _ledger.py           the only place where counts change; the state table
    _accounts.py         what the ledger counts with
    _stats.py            what stats() and flush() return
    _waking.py           how plain data wakes a Trio task, from anywhere
    _intake.py           the buffer, as recorders see it
    _buffer.py           its structure: rows gather into batches
    _handed_in.py        events of other threads, until Trio's thread moves them
    _waiting.py          the batches that wait, and which event goes when there are too many
    _flushes.py          who waits for what to settle
    _turns.py            how long a task works before it lets others run
    _flushing.py         the flush task: from the buffer to every sink
    _load.py             events on their way to one sink
    _attempts.py         one attempt, and the pause between two
    _delivery.py         an event sink's task
    _series_delivery.py  a series sink's task
    _reporting.py        loss in the log
    _sinks.py            what may be given as sinks=
    abc.py               what the author of a sink implements
    testing.py           sinks for users' tests
    sinks/               the sinks, one back-end a module
"""

from __future__ import annotations

from ._batch import Batch
from ._collector import BatchMetricsCollector
from ._config import BatchMetricsConfig
from ._events import (
    BackendRequest,
    CacheMetric,
    Counter,
    Gauge,
    HealthCheck,
    Histogram,
    HistogramPoint,
    HttpRequest,
)
from ._exceptions import BatchMetricsError, ConfigError, DeclarationError, WrongThreadError
from ._instruments import BoundCounter, BoundGauge, BoundHistogram, ObservableGauge
from ._lifetime import collector
from ._recording import Recorder, ThreadRecorder
from ._schema import MetricEvent, label, measure, metric_event
from ._stats import BatchMetricsStats, FlushReport, SinkStats

__all__ = [
    "BackendRequest",
    "Batch",
    "BatchMetricsCollector",
    "BatchMetricsConfig",
    "BatchMetricsError",
    "BatchMetricsStats",
    "BoundCounter",
    "BoundGauge",
    "BoundHistogram",
    "CacheMetric",
    "ConfigError",
    "Counter",
    "DeclarationError",
    "FlushReport",
    "Gauge",
    "HealthCheck",
    "Histogram",
    "HistogramPoint",
    "HttpRequest",
    "MetricEvent",
    "ObservableGauge",
    "Recorder",
    "SinkStats",
    "ThreadRecorder",
    "WrongThreadError",
    "collector",
    "label",
    "measure",
    "metric_event",
]
