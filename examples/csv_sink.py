"""A sink of one's own, with ``trio_batchmetrics.abc`` alone: each event becomes a line of CSV in a file.

It reads events by column and keeps the text of each label set, so it is as fast as the library's own sinks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio

from trio_batchmetrics import Batch
from trio_batchmetrics.abc import EventSink, Payload, Schema, SinkContext, label_text, number_texts

__all__ = ["CSVSink"]


class Heads(dict[tuple[Any, ...], str]):
    """The start of a line by label set: the kind of event and its labels."""

    def __init__(self, schema: Schema) -> None:
        super().__init__()
        self.schema = schema

    def __missing__(self, key: tuple[Any, ...]) -> str:
        pairs = [f"{name}={label_text(value)}" for name, value in self.schema.label_pairs(key) if value is not None]
        cells = [self.schema.event_class.__name__, ";".join(pairs)]
        head = self[key] = ",".join('"' + cell.replace('"', '""') + '"' for cell in cells)
        return head


class CSVSink(EventSink[bytes]):
    """Appends events to a file, which the user names, as ``timestamp,kind,labels,value,…``."""

    def __init__(self, path: str | Path, **settings: Any) -> None:
        """Create a sink for a file. No I/O here."""
        super().__init__(**settings)
        self.path = Path(path)
        self.heads: dict[Schema, Heads] = {}

    def bind(self, context: SinkContext) -> None:
        """Start with no texts: each collector may have other labels."""
        super().bind(context)
        self.heads = {}

    def encode(self, events: Batch) -> bytes:
        """Return the events as lines, in recording order."""
        lines = [""] * len(events)
        for columns in events.columns():
            heads = self.heads.setdefault(columns.schema, Heads(columns.schema))
            values = columns.values[:2] if columns.schema.buckets else columns.values  # of points: count and sum
            cells = [number_texts(columns.timestamps), map(heads.__getitem__, columns.label_sets)]
            cells += map(number_texts, values)
            for at, line in zip(columns.positions, map(",".join, zip(*cells, strict=True)), strict=True):
                lines[at] = line
        return ("\n".join(lines) + "\n").encode()

    async def send(self, payload: Payload[bytes]) -> None:
        """Append the lines in a worker thread. An ``OSError`` means that the library tries again."""
        await trio.to_thread.run_sync(self._append, b"".join(payload.parts))

    def _append(self, lines: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(lines)
