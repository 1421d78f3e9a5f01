"""The definition of an event: its class, its values, and the batch it travels in.

::

    schema      MetricEvent, Schema, Measure: the declaration of an event class
    declaring   label(), measure(), @metric_event: declare an event class
    builtin     the event classes that come with the library
    compiled    the recorder of an event class, compiled from its declaration
    rows        the output of recorders for the flush task
    validation  finds the valid events among some rows, and their columns
    sorting     the same, if a row is unusual or invalid
    reading     checks the rows of one class by column
    examining   checks one row by itself, and finds its fault
    invalid     the fault of an invalid event, and its log line
    columns     Columns: the events of one class in a batch, by column
    batch       Batch: a read-only sequence of events, with ids and columns; events are built on access
    measured    decides which values count as numbers
    points      checks histogram points
    values      label values: captured by value, read-only, plain in columns, as text
    numbers     checks the user's numbers, and converts numbers to text
    bounds      the user's bucket bounds for histograms
    limits      the largest labels that a back-end accepts
    as_json     labels and measured fields of one event, and its JSON form
    documents   the JSON form of whole batches, by column

Imports ``_exceptions`` and ``_reprs``. Recorders, series and sinks use it to read events; it does not know where an
event waits or goes.
"""

from __future__ import annotations

from .as_json import compact_json, fields_of, json_form, json_line, labels_of, rfc3339
from .batch import Batch, Origin, join
from .bounds import checked_bounds
from .builtin import (
    BUILTIN,
    BackendRequest,
    CacheMetric,
    Counter,
    Gauge,
    HealthCheck,
    Histogram,
    HistogramPoint,
    HttpRequest,
)
from .columns import Columns, EventIds, pick
from .compiled import compiled_recorder, row_of_event
from .declaring import label, measure, metric_event
from .documents import JSONWriter, by_second, json_lines, json_writer, nanosecond_texts
from .invalid import InvalidError, InvalidEvents, not_an_event
from .limits import LIMITS, Limits
from .measured import fault_of, number
from .numbers import as_float, float_texts, number_texts, padded_texts
from .rows import ClassNumbers, RecordedRow, Row, UnusualRow
from .schema import COUNTER, GAUGE, HISTOGRAM, OVERFLOW, Kind, LabelField, Measure, MetricEvent, Schema, is_event
from .validation import valid, valid_columns
from .values import LabelValue, ReadOnlyDict, Unreadable, by_value, captured, plain_label, text

__all__ = [
    "BUILTIN",
    "COUNTER",
    "GAUGE",
    "HISTOGRAM",
    "LIMITS",
    "OVERFLOW",
    "BackendRequest",
    "Batch",
    "CacheMetric",
    "ClassNumbers",
    "Columns",
    "Counter",
    "EventIds",
    "Gauge",
    "HealthCheck",
    "Histogram",
    "HistogramPoint",
    "HttpRequest",
    "InvalidError",
    "InvalidEvents",
    "JSONWriter",
    "Kind",
    "LabelField",
    "LabelValue",
    "Limits",
    "Measure",
    "MetricEvent",
    "Origin",
    "ReadOnlyDict",
    "RecordedRow",
    "Row",
    "Schema",
    "Unreadable",
    "UnusualRow",
    "as_float",
    "by_second",
    "by_value",
    "captured",
    "checked_bounds",
    "compact_json",
    "compiled_recorder",
    "fault_of",
    "fields_of",
    "float_texts",
    "is_event",
    "join",
    "json_form",
    "json_line",
    "json_lines",
    "json_writer",
    "label",
    "labels_of",
    "measure",
    "metric_event",
    "nanosecond_texts",
    "not_an_event",
    "number",
    "number_texts",
    "padded_texts",
    "pick",
    "plain_label",
    "rfc3339",
    "row_of_event",
    "text",
    "valid",
    "valid_columns",
]
