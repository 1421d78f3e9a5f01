"""The definition of an event: its class, its values, and the batch it travels in.

::

    schema      MetricEvent, label(), measure(), @metric_event: how an event class is declared
    builtin     the event classes that come with the library
    batch       Batch: a read-only sequence of events, built from rows on access
    compiled    recorder and checks, compiled from an event class's declaration
    validation  which events are valid; their values normalized
    measured    which values count as numbers
    points      the check of histogram points
    invalid     why an event is invalid, and its log line
    values      label values: captured by value, read-only, as text
    numbers     the user's numbers, checked, and numbers as text
    bounds      the user's bucket bounds for histograms
    limits      the largest labels that a back-end accepts
    as_json     labels and measured fields as text, and the JSON form of an event

Imports ``_exceptions`` and ``_reprs``. Recorders, series and sinks use it to read events; it does not know where an
event waits or goes.
"""

from __future__ import annotations

from .as_json import compact_json, fields_of, json_form, json_line, labels_of, rfc3339
from .batch import Batch, Row, UnusualRow, is_plain, rows_and_groups
from .bounds import checked_bounds
from .builtin import BackendRequest, CacheMetric, Counter, Gauge, HealthCheck, Histogram, HistogramPoint, HttpRequest
from .compiled import compiled_recorder, event_by_value
from .invalid import InvalidError, InvalidEvents, not_an_event
from .limits import LIMITS, Limits, checked_limits
from .measured import fault_of, number
from .numbers import as_float, number_texts
from .schema import (
    COUNTER,
    GAUGE,
    HISTOGRAM,
    OVERFLOW,
    Kind,
    Measure,
    MetricEvent,
    Schema,
    is_event,
    label,
    measure,
    metric_event,
)
from .validation import checked, groups_of, plain_rows, valid
from .values import ReadOnlyDict, Unreadable, by_value, captured, text

__all__ = [
    "COUNTER",
    "GAUGE",
    "HISTOGRAM",
    "LIMITS",
    "OVERFLOW",
    "BackendRequest",
    "Batch",
    "CacheMetric",
    "Counter",
    "Gauge",
    "HealthCheck",
    "Histogram",
    "HistogramPoint",
    "HttpRequest",
    "InvalidError",
    "InvalidEvents",
    "Kind",
    "Limits",
    "Measure",
    "MetricEvent",
    "ReadOnlyDict",
    "Row",
    "Schema",
    "Unreadable",
    "UnusualRow",
    "as_float",
    "by_value",
    "captured",
    "checked",
    "checked_bounds",
    "checked_limits",
    "compact_json",
    "compiled_recorder",
    "event_by_value",
    "fault_of",
    "fields_of",
    "groups_of",
    "is_event",
    "is_plain",
    "json_form",
    "json_line",
    "label",
    "labels_of",
    "measure",
    "metric_event",
    "not_an_event",
    "number",
    "number_texts",
    "plain_rows",
    "rfc3339",
    "rows_and_groups",
    "text",
    "valid",
]
