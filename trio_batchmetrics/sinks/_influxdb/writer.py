"""Events to lines of line protocol, fast: what a series has in common is escaped once and kept.

How this works
==============

The rows of a class are turned into columns, which takes C a few nanoseconds a value. The label columns, as they are,
look up a line's head (``measurement,key=value value=``); the head, the value and the timestamp make the line. Labels
that are equal have equal texts there (:func:`trio_batchmetrics._events.plain_rows`), and numbers become text many
at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from ..._events import Batch, Measure, MetricEvent, Schema, number_texts, plain_rows
from ...abc import SinkContext
from .fields import bucket_fields
from .heads import HeadMaker, Losses
from .limits import TagLimits
from .line_protocol import Dialect
from .timestamps import Timestamps

__all__ = ["LineWriter"]

_Row = tuple[Any, ...]
_Pieces = Sequence[Sequence[str]]
"""A piece of each event, then the next piece of each, and so on."""

_Columns = Sequence[Sequence[Any]]

_items = dict[str, object].items


class LineWriter:
    """Writes events as lines, in one dialect."""

    def __init__(
        self,
        dialect: Dialect | None,
        context: SinkContext,
        timestamps: Timestamps,
        losses: Losses | None = None,
        limits: TagLimits | None = None,
    ) -> None:
        """Have met no series yet.

        Args:
            dialect: the server's; None while it is not known.
            context: what the collector told.
            timestamps: that tell lines apart.
            losses: where to count what line protocol cannot carry.
            limits: the largest names and labels that the server takes.
        """
        self.heads: HeadMaker = HeadMaker(dialect, context, losses or Losses(), limits)
        self.doubtful: bool = False
        """Whether the lines written last depend on the dialect, and that is not known."""
        self._timestamps = timestamps

    def write(self, events: Sequence[MetricEvent]) -> bytes:
        """Return events as lines, in recording order; an event's own in the order in which it declares its measures.

        Raises:
            ValueError: the server takes no name and labels that are as large, or a timestamp is beyond 64 bits.
            Exception: of any kind, for events that are not valid; a collector hands over none.
        """
        self.doubtful = False
        batch = events if isinstance(events, Batch) else Batch([*events])
        rows = plain_rows(batch)
        if not rows:
            return b""
        columns = _columns(rows)
        beyond = self._timestamps.beyond(columns[1])
        classes = {*columns[0]}
        beyond = beyond and not any(map(_meets_itself, classes))
        if len(classes) == 1:
            return _joined(self._pieces(rows, columns, batch.serials, beyond)).encode()
        places: dict[type[MetricEvent], list[int]] = {}
        for place, event_class in enumerate(columns[0]):
            places.setdefault(event_class, []).append(place)
        lines, serials = [""] * len(rows), batch.serials
        for at in places.values():
            some = [rows[place] for place in at]
            found = self._pieces(some, _columns(some), [serials[place] for place in at], beyond)
            for place, *pieces in zip(at if found else (), *found, strict=True):
                lines[place] = "".join(pieces)
        return "".join(lines).encode()

    def _pieces(self, rows: list[_Row], columns: _Columns, serials: Sequence[int], beyond: bool) -> _Pieces:
        """Return what each event of one class has: its lines, in pieces; nothing, if the class measures nothing."""
        event_class = columns[0][0]
        schema: Any = event_class.__metric_schema__
        if schema.buckets:
            return [self._points(rows, serials, beyond)]
        if schema.named:
            keys: list[Any] = [*zip(columns[2], map(tuple, map(_items, columns[3])), strict=True)]
            heads = [self.heads.named]
        else:
            labels = [columns[2 + schema.fields.index(label.field)] for label in schema.labels]
            keys = [*zip(*labels, strict=True)] if labels else [()] * len(rows)
            heads = self.heads.of_class(event_class, schema)
        pieces: list[Sequence[str]] = []
        for number, (known, measure) in enumerate(zip(heads, schema.measures, strict=True)):
            made = self.heads.made
            begun = [*map(known.__getitem__, keys)]
            stamps = number_texts(self._given(begun, columns[1], serials, number, beyond, made))
            values = _values(schema, measure, columns)
            pieces += begun, values, [" "] * len(rows), stamps, ["\n"] * len(rows)
        self.heads.forget()
        return pieces

    def _given(
        self, begun: list[str], stamps: Sequence[int], serials: Sequence[int], number: int, beyond: bool, made: int
    ) -> Sequence[int]:
        """Return the timestamps of lines that begin so; so many characters had been made before these were."""
        if self.heads.doubts and not self.heads.doubts.isdisjoint(begun):
            self.doubtful = True
        text = self.heads.made - made
        return self._timestamps.given(begun, stamps, serials, number, beyond=beyond, text=text)

    def _points(self, rows: Sequence[_Row], serials: Sequence[int], beyond: bool) -> list[str]:
        """Return the line of each ``HistogramPoint``."""
        made = self.heads.made
        begun = [self.heads.point(name, bounds)[tuple(labels.items())] for _, _, name, labels, _, _, bounds, _ in rows]
        stamps = self._given(begun, [row[1] for row in rows], serials, 0, beyond, made)
        self.heads.forget()
        return [
            f"{head}{bucket_fields(total, bounds, counts)} {at}\n"
            for head, at, (*_, total, bounds, counts) in zip(begun, stamps, rows, strict=True)
        ]


@lru_cache(maxsize=1000)
def _meets_itself(event_class: type[MetricEvent]) -> bool:
    """Tell whether lines of one event may be of one series, so that one moves to where another event's may be."""
    schema: Any = event_class.__metric_schema__
    return len({each.name for each in schema.measures}) < len(schema.measures)


def _columns(rows: Sequence[_Row]) -> _Columns:
    """Return rows by column; of rows of several lengths, the columns that all have."""
    return [*zip(*rows, strict=False)]


def _joined(pieces: _Pieces) -> str:
    """Join the pieces of each event, one event after the other: in one step of C, without a string for each."""
    cells = [""] * sum(map(len, pieces))
    for place, column in enumerate(pieces):
        cells[place :: len(pieces)] = column
    return "".join(cells)


def _values(schema: Schema, measure: Measure, columns: _Columns) -> list[str]:
    """Return what is measured, as text; every number a float, so that no field has two types."""
    if measure.field is None:
        return ["1.0"] * len(columns[0])
    values = columns[2 + schema.fields.index(measure.field)]
    return number_texts(values if {*map(type, values)} == {float} else [*map(float, values)])
