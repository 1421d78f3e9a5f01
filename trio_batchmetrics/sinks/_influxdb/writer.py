"""Events to lines of line protocol, fast: everything that the lines of a series share is escaped once and kept.

How this works
==============

Events are read by class and column (``abc.Columns``). The labels of an event look up the prefix of its line
(``measurement,key=value key=``); the prefix, the value and the timestamp make the line. Numbers become text many at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from ..._events import Columns, MetricEvent, Schema, batch_of, number_texts
from ...abc import SinkContext
from .fields import bucket_fields
from .heads import HeadMaker, Losses
from .limits import TagLimits
from .line_protocol import Dialect
from .timestamps import Timestamps

__all__ = ["LineWriter"]

_Pieces = Sequence[Sequence[str]]
"""A piece of each event, then the next piece of each, and so on."""


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
        """Create a writer that knows no series yet.

        Args:
            dialect: the server's; None while it is unknown.
            context: the collector's context.
            timestamps: assigns the timestamps that distinguish lines.
            losses: counts the characters that line protocol cannot carry.
            limits: the largest names and labels that the server accepts.
        """
        self.heads: HeadMaker = HeadMaker(dialect, context, losses or Losses(), limits)
        self.doubtful: bool = False
        """Whether the lines written last depend on the dialect, and the dialect is unknown."""
        self._timestamps = timestamps

    def write(self, events: Sequence[MetricEvent]) -> bytes:
        """Return events as lines, in recording order; an event's own lines are in the order of its measures.

        Raises:
            ValueError: the server does not accept such large names and labels, or a timestamp is beyond 64 bits.
        """
        self.doubtful = False
        batch = batch_of(events)
        if not batch:
            return b""
        found = batch.columns()
        newer = self._timestamps.beyond(batch.timestamps) and not any(_meets_itself(each.schema) for each in found)
        if len(found) == 1:
            return _joined(self._pieces(found[0], newer)).encode()
        lines = [""] * len(batch)
        for columns in found:
            pieces = self._pieces(columns, newer)
            if pieces:
                for at, line in zip(columns.positions, map("".join, zip(*pieces, strict=True)), strict=True):
                    lines[at] = line
        return "".join(lines).encode()

    def _pieces(self, columns: Columns, newer: bool) -> _Pieces:
        """Return the lines of the events of one class, in pieces; none if the class measures nothing."""
        schema = columns.schema
        if schema.buckets:
            return [self._points(columns, newer)]
        keys = columns.label_sets
        pieces: list[Sequence[str]] = []
        values = iter(columns.values)
        blanks, ends = [" "] * len(keys), ["\n"] * len(keys)
        for number, (known, measure) in enumerate(zip(self.heads.of_class(schema), schema.measures, strict=True)):
            made = self.heads.made
            begun = [*map(known.__getitem__, keys)]
            stamps = number_texts(self._given(begun, columns, number, newer, made))
            pieces += begun, _values(None if measure.field is None else next(values), len(keys)), blanks, stamps, ends
        self.heads.forget()
        return pieces

    def _given(self, begun: list[str], columns: Columns, number: int, newer: bool, made: int) -> Sequence[int]:
        """Return the timestamps of lines with these prefixes; ``made`` characters had been built before them."""
        if self.heads.doubts and not self.heads.doubts.isdisjoint(begun):
            self.doubtful = True
        text = self.heads.made - made
        serials = self._timestamps.numbers(columns.ids)
        return self._timestamps.given(begun, columns.timestamps, serials, number, beyond=newer, text=text)

    def _points(self, columns: Columns, newer: bool) -> list[str]:
        """Return the line of each ``HistogramPoint``."""
        made = self.heads.made
        _, totals, all_bounds, all_counts = columns.values
        keys = columns.label_sets
        begun = [self.heads.point(columns.schema, bounds)[key] for key, bounds in zip(keys, all_bounds, strict=True)]
        stamps = self._given(begun, columns, 0, newer, made)
        self.heads.forget()
        return [
            f"{head}{bucket_fields(total, bounds, counts)} {at}\n"
            for head, at, total, bounds, counts in zip(begun, stamps, totals, all_bounds, all_counts, strict=True)
        ]


@lru_cache(maxsize=1000)
def _meets_itself(schema: Schema) -> bool:
    """Return whether two lines of one event may be of one series, so that one moves to where another event's may be."""
    return len({each.name for each in schema.measures}) < len(schema.measures)


def _joined(pieces: _Pieces) -> str:
    """Join the pieces of each event, one event after the other: in one step of C, without a string for each event."""
    cells = [""] * sum(map(len, pieces))
    for place, column in enumerate(pieces):
        cells[place :: len(pieces)] = column
    return "".join(cells)


def _values(column: Sequence[float] | None, size: int) -> list[str]:
    """Return the measured values as text; every number is a float, so that no field has two types."""
    return ["1.0"] * size if column is None else number_texts(column)
