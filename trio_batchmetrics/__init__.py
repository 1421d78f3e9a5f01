"""trio_batchmetrics: batched metrics for Trio services, with an account that always balances.

Where things live. Each room is a folder whose own docstring says what is in it::

    abc, testing    what the author of a sink implements; sinks for users' tests
    sinks/          the sinks, one back-end per module or folder
    _runtime/       collector(), and every task behind it
    _recording/     recorders and instruments
    _buffer/        where events wait for the flush task
    _ledger/        the account of every event, and what stats() returns
    _delivery/      one task per sink: its queue, its attempts and retries
    _series/        events added up to series
    _events/        event classes, batches, validation, the JSON form
    _http/          what sinks over HTTP share
    _concurrency/   waking tasks from anywhere, yielding by time, counting in any thread
    _config, _environment, _exceptions, _ownership, _reprs

A room imports only from rooms below it; pyproject.toml has the order.
"""

from __future__ import annotations

from ._config import BatchMetricsConfig
from ._events import (
    BackendRequest,
    Batch,
    CacheMetric,
    Counter,
    Gauge,
    HealthCheck,
    Histogram,
    HistogramPoint,
    HttpRequest,
    MetricEvent,
    label,
    measure,
    metric_event,
)
from ._exceptions import BatchMetricsError, ConfigError, DeclarationError, WrongThreadError
from ._ledger import BatchMetricsStats, FlushReport, SinkStats
from ._recording import BoundCounter, BoundGauge, BoundHistogram, ObservableGauge, Recorder, ThreadRecorder
from ._runtime import BatchMetricsCollector, collector

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
