"""An event's labels as text, and the JSON form in which sinks store events."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from .schema import MetricEvent, Schema
from .values import text

__all__ = ["compact_json", "fields_of", "json_form", "json_line", "labels_of", "rfc3339", "text"]

_NS = 1_000_000_000


def labels_of(event: MetricEvent, static: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an event's labels as text, over the static ones.

    Args:
        event: the event.
        static: labels on every event; the event's own take precedence. A label whose value is None counts as absent.
    """
    schema = _schema(event)
    labels = dict(static) if static else {}
    if schema.named:
        named: Any = event
        own: Mapping[object, object] = named.labels
        pairs: list[tuple[object, object]] = [*own.items()]
    else:
        pairs = [(item.name, getattr(event, item.field)) for item in schema.labels]
    for name, value in pairs:
        string = text(value)
        if string is not None:
            labels[text(name) or ""] = string
    return labels


def fields_of(event: MetricEvent) -> dict[str, Any]:
    """Return an event's measured fields by field name, with every number as a float."""
    schema = _schema(event)
    if schema.buckets:
        point: Any = event
        return {
            "count": float(point.count),
            "sum": float(point.sum),
            "bounds": [float(bound) for bound in point.bounds],
            "counts": [float(count) for count in point.counts],
        }
    return {item.field: float(getattr(event, item.field)) for item in schema.measures if item.field is not None}


def rfc3339(timestamp: int) -> str:
    """Return nanoseconds since 1970 as ``2026-11-24T03:05:00.123456789Z`` (RFC 3339, all nine digits).

    Raises:
        OverflowError: the time is beyond the calendar; some such raise an ``OSError``.
    """
    seconds, nanoseconds = divmod(timestamp, _NS)
    moment = time.gmtime(seconds)
    date = f"{moment.tm_year:04d}-{moment.tm_mon:02d}-{moment.tm_mday:02d}"
    return f"{date}T{moment.tm_hour:02d}:{moment.tm_min:02d}:{moment.tm_sec:02d}.{nanoseconds:09d}Z"


def json_form(event: MetricEvent, static: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return an event's JSON form: ``@timestamp``, ``kind``, ``name`` (of named events), ``labels``, ``fields``."""
    form: dict[str, Any] = {"@timestamp": rfc3339(event.timestamp), "kind": type(event).__name__}
    if _schema(event).named:
        named: Any = event
        form["name"] = text(named.name)
    form["labels"] = labels_of(event, static)
    form["fields"] = fields_of(event)
    return form


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def compact_json(value: object) -> str:
    """Return a value as JSON without spaces."""
    return _ENCODER.encode(value)


def json_line(event: MetricEvent, static: Mapping[str, str] | None = None) -> str:
    """Return the JSON form of an event as one line, without a line end."""
    return _ENCODER.encode(json_form(event, static))


def _schema(event: MetricEvent) -> Schema:
    schema = type(event).__metric_schema__
    if schema is None:
        raise TypeError(f"{type(event).__name__} isn't an event class: it was not made by @metric_event")
    return schema
