"""The table ``events`` of :class:`SQLiteSink`: its columns, its statements, and the row for an event."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any

from ...abc import Batch, Columns, JSONWriter, label_text

__all__ = ["COLUMNS", "EXPIRE", "INDEX", "INSERT", "INSERT_MANY", "MANY", "TABLE", "Row", "rows"]

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
MANY = 40
"""How many rows one statement inserts. A row costs 1.05 µs then, and 1.67 one by one; 20 to 100 rows cost the same."""

INSERT_MANY = INSERT + ", (?, ?, ?, ?, ?)" * (MANY - 1)
EXPIRE = "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE timestamp < ? ORDER BY timestamp LIMIT ?)"


def rows(batch: Batch, writer: JSONWriter) -> list[Row]:
    """Return the rows of a batch's events.

    Args:
        batch: the events.
        writer: writes labels and fields as JSON.

    Raises:
        ValueError: a timestamp takes more than 64 bits, or labels exceed a limit.
    """
    timestamps = batch.timestamps
    if timestamps and not (min(timestamps) >= -(2**63) and max(timestamps) < 2**63):
        raise ValueError(f"timestamp must fit into 64 bits (got {next(_too_large(timestamps))})")
    columns_by_class = batch.columns()
    if len(columns_by_class) == 1:
        return [*_rows(columns_by_class[0], writer)]
    found_rows: list[Any] = [None] * len(batch)
    for columns in columns_by_class:
        for at, row in zip(columns.positions, _rows(columns, writer), strict=True):
            found_rows[at] = row
    return found_rows


def _rows(columns: Columns, writer: JSONWriter) -> Iterable[Row]:
    schema = columns.schema
    names = map(label_text, columns.labels[0]) if schema.named else repeat(None)
    fields = map("{%s}".__mod__, writer.fields(columns))
    return zip(columns.timestamps, repeat(schema.event_class.__name__), names, writer.labels(columns), fields)


def _too_large(timestamps: Sequence[int]) -> Iterator[int]:
    return (timestamp for timestamp in timestamps if not -(2**63) <= timestamp < 2**63)
