"""The table ``events`` of :class:`SQLiteSink`: its columns, its statements, and the row for an event."""

from __future__ import annotations

from typing import Any, cast

from ..._events import MetricEvent, compact_json, fields_of, labels_of, text

__all__ = ["COLUMNS", "EXPIRE", "INDEX", "INSERT", "TABLE", "Row", "row"]

Row = tuple[int, str, str | None, str, str]

COLUMNS = ("id", "timestamp", "kind", "name", "labels", "fields")

TABLE = """
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY,      -- in recording order
    timestamp INTEGER NOT NULL,  -- ns since 1970 (UTC)
    kind TEXT NOT NULL,          -- the event's class
    name TEXT,                   -- of a Counter, Gauge, Histogram or HistogramPoint
    labels TEXT NOT NULL,        -- JSON object, every value a string
    fields TEXT NOT NULL         -- JSON object of what was measured
)
"""
INDEX = "CREATE INDEX IF NOT EXISTS events_timestamp ON events (timestamp)"
INSERT = "INSERT INTO events (timestamp, kind, name, labels, fields) VALUES (?, ?, ?, ?, ?)"
EXPIRE = "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE timestamp < ? ORDER BY timestamp LIMIT ?)"


def row(event: MetricEvent, static: Any) -> Row:
    """Return an event as a row.

    Raises:
        ValueError: its timestamp takes more than 64 bits.
    """
    if not -(2**63) <= event.timestamp < 2**63:
        raise ValueError(f"timestamp must fit into 64 bits (got {event.timestamp})")
    schema, named = event.__metric_schema__, cast("Any", event)
    name = text(named.name) if schema is not None and schema.named else None
    labels, fields = labels_of(event, static), fields_of(event)
    return event.timestamp, type(event).__name__, name, compact_json(labels), compact_json(fields)
