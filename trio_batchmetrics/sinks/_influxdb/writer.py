"""Events to lines of line protocol, fast: everything that the lines of a series share is escaped once and kept.

How this works
==============

Events are read by class and column (``abc.Columns``). The labels of an event look up the prefix of its line
(``measurement,key=value key=``); the prefix, the value and the timestamp make the line. Numbers become text many at
once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from ...abc import Batch, Columns, MetricEvent, Schema, SinkContext, number_texts
from .fields import bucket_fields
from .heads import HeadMaker, Losses
from .limits import TagLimits
from .line_protocol import Dialect
from .timestamps import Timestamps

__all__ = ["LineWriter"]

_Measured = tuple[list[str], list[str]]
"""Of one measure: the prefix of each event's line, and its fields after the first ``key=``."""


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
        batch = Batch.of(events)
        if not batch:
            return b""
        found = batch.columns()
        if self._timestamps.beyond(batch.timestamps) and all(_has_own_lines(columns.schema) for columns in found):
            written = self._newer_lines(batch, found)
        else:
            written = "".join(self._lines(batch, found))
        self.heads.forget()
        return written.encode()

    def _newer_lines(self, batch: Batch, found: Sequence[Columns]) -> str:
        """Return the lines of events whose own timestamps are free: in one step, without a string for each line."""
        made = self.heads.made
        stamps = number_texts(batch.timestamps)
        heads: list[str] = []
        values: list[str] = []
        if len(found) > 1:
            heads, values = [""] * len(batch), [""] * len(batch)
        for columns in found:
            (first, fields), *others = self._measured(columns)
            for number, (more, more_fields) in enumerate(others, 1):
                own_stamps = [stamps[at] for at in columns.positions]
                fields = [*map("%s %s\n%s%s".__mod__, zip(fields, own_stamps, more, more_fields, strict=True))]
                self._timestamps.given(
                    more, columns.timestamps, self._timestamps.numbers(columns.ids), number, beyond=True
                )
            if len(found) == 1:
                heads, values = first, fields
            else:
                for at, head, value in zip(columns.positions, first, fields, strict=True):
                    heads[at], values[at] = head, value
        text = self.heads.made - made
        self._timestamps.given(heads, batch.timestamps, self._timestamps.numbers(batch.ids), 0, beyond=True, text=text)
        cells = [" "] * (5 * len(batch))
        cells[0::5], cells[1::5], cells[3::5], cells[4::5] = heads, values, stamps, ["\n"] * len(batch)
        return "".join(cells)

    def _lines(self, batch: Batch, found: Sequence[Columns]) -> list[str]:
        """Return the lines of each event, some of whose timestamps may have to move."""
        lines = [""] * len(batch)
        for columns in found:
            made = self.heads.made
            for number, (heads, values) in enumerate(self._measured(columns)):
                text = 0 if number else self.heads.made - made
                numbers = self._timestamps.numbers(columns.ids)
                stamps = self._timestamps.given(heads, columns.timestamps, numbers, number, beyond=False, text=text)
                for at, head, value, stamp in zip(columns.positions, heads, values, stamps, strict=True):
                    lines[at] += f"{head}{value} {stamp}\n"
        return lines

    def _measured(self, columns: Columns) -> list[_Measured]:
        """Return the lines of some events up to the timestamp, for each measure of their class."""
        schema, keys = columns.schema, columns.label_sets
        measured: list[_Measured] = []
        if schema.buckets:
            _, totals, bounds, counts = columns.values
            heads = [self.heads.point(schema, each)[key] for key, each in zip(keys, bounds, strict=True)]
            measured.append((heads, [*map(bucket_fields, totals, bounds, counts)]))
        else:
            values = iter(columns.values)
            for known, measure in zip(self.heads.of_class(schema), schema.measures, strict=True):
                fields = ["1.0"] * len(keys) if measure.field is None else number_texts(next(values))
                measured.append(([*map(known.__getitem__, keys)], fields))
        doubts = self.heads.doubts
        if doubts and not all(doubts.isdisjoint(heads) for heads, _ in measured):
            self.doubtful = True
        return measured


@lru_cache(maxsize=1000)
def _has_own_lines(schema: Schema) -> bool:
    """Return whether each event of a class has a line, and no two lines of one series.

    Otherwise a line would move to where another event's may be.
    """
    return bool(schema.measures) and len({each.name for each in schema.measures}) == len(schema.measures)
