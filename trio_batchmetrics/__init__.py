"""trio_batchmetrics: batched metrics for Trio services, with an account that always balances.

The package consists of rooms. Each room is a folder whose own docstring describes its contents. A room imports only
from rooms further down this list; pyproject.toml defines the exact order::

    _runtime/       collector(), and every task that it runs: the flush task, the block's end, forks
    sinks/          the sinks, one back-end per module or folder
    _recording/     recorders and instruments
    _delivery/      one task per sink, with its queue, attempts and retries
    _http/          the parts that sinks over HTTP share
    testing         sinks for users' tests
    _buffer/        the buffer in which events wait for the flush task
    abc             the interfaces for authors of sinks
    _ledger/        the account of every event, and the objects that stats() and flush() return
    _series/        events aggregated into series
    _config         the settings of a collector
    _events/        event classes, batches, validation, the JSON form
    _concurrency/   waking tasks from anywhere, yielding by time, counting in any thread

Small modules stand between them: _environment, _exceptions, _ownership, _receipt, _reprs, _sink_settings. Some features
cross rooms. A kind of instrument starts at ``Kind`` in _events/schema.py, continues in _recording (updates) and _series
(aggregation), and ends in the sinks. CONTRIBUTING.md has a table of such changes.
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
