"""Events to lines of line protocol, fast: the common part of a series' lines is escaped once and cached.

How this works
==============

Events are read by class and column (``abc.Columns``). The label set of an event is the key to its line's prefix
(``measurement,key=value key=``). The prefix, the value and the timestamp make the line. Numbers are converted to text
many at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from ...abc import Batch, Columns, MetricEvent, Schema, SinkContext, number_texts
from .fields import bucket_fields
from .limits import TagLimits
from .line_protocol import Dialect
from .prefixes import PrefixBuilder, ReplacementCounter
from .timestamps import Timestamps

__all__ = ["LineWriter"]

_MeasureLines = tuple[list[str], list[str]]
"""For one measure: the prefix of each event's line, and the fields after the first ``key=``."""


class LineWriter:
    """Writes events as lines, in one dialect."""

    def __init__(
        self,
        dialect: Dialect | None,
        context: SinkContext,
        timestamps: Timestamps,
        replacements: ReplacementCounter | None = None,
        limits: TagLimits | None = None,
    ) -> None:
        """Create a writer that knows no series yet.

        Args:
            dialect: the server's; None while it is unknown.
            context: the collector's context.
            timestamps: assigns the timestamps that distinguish lines.
            replacements: counts the characters that line protocol does not support.
            limits: the largest names and labels that the server accepts.
        """
        self.prefixes: PrefixBuilder = PrefixBuilder(dialect, context, replacements or ReplacementCounter(), limits)
        self.dialect_dependent: bool = False
        """Whether the last lines written depend on the dialect, and it is unknown."""
        self._timestamps = timestamps

    def write(self, events: Sequence[MetricEvent]) -> bytes:
        """Return events as lines, in recording order; the lines of one event follow the order of its measures.

        Raises:
            ValueError: the server does not accept such large names and labels, or a timestamp is beyond 64 bits.
        """
        self.dialect_dependent = False
        batch = Batch.of(events)
        if not batch:
            return b""
        columns_by_class = batch.columns()
        if self._timestamps.are_later(batch.timestamps) and all(
            _has_distinct_lines(columns.schema) for columns in columns_by_class
        ):
            written = self._later_lines(batch, columns_by_class)
        else:
            written = "".join(self._lines(batch, columns_by_class))
        self.prefixes.forget()
        return written.encode()

    def _later_lines(self, batch: Batch, columns_by_class: Sequence[Columns]) -> str:
        """Return the lines of events whose own timestamps are free: in one step, without a string per line."""
        chars_before = self.prefixes.chars_built
        stamps = number_texts(batch.timestamps)
        prefixes: list[str] = []
        values: list[str] = []
        if len(columns_by_class) > 1:
            prefixes, values = [""] * len(batch), [""] * len(batch)
        for columns in columns_by_class:
            (first, fields), *others = self._lines_by_measure(columns)
            for number, (more_prefixes, more_fields) in enumerate(others, 1):
                own_stamps = [stamps[at] for at in columns.positions]
                fields = [*map("%s %s\n%s%s".__mod__, zip(fields, own_stamps, more_prefixes, more_fields, strict=True))]
                self._timestamps.assign(
                    more_prefixes, columns.timestamps, self._timestamps.numbers(columns.ids), number, later=True
                )
            if len(columns_by_class) == 1:
                prefixes, values = first, fields
            else:
                for at, prefix, value in zip(columns.positions, first, fields, strict=True):
                    prefixes[at], values[at] = prefix, value
        prefix_chars = self.prefixes.chars_built - chars_before
        self._timestamps.assign(
            prefixes,
            batch.timestamps,
            self._timestamps.numbers(batch.ids),
            0,
            later=True,
            prefix_chars=prefix_chars,
        )
        cells = [" "] * (5 * len(batch))
        cells[0::5], cells[1::5], cells[3::5], cells[4::5] = prefixes, values, stamps, ["\n"] * len(batch)
        return "".join(cells)

    def _lines(self, batch: Batch, columns_by_class: Sequence[Columns]) -> list[str]:
        """Return the lines of each event, some of whose timestamps may have to move."""
        lines = [""] * len(batch)
        for columns in columns_by_class:
            chars_before = self.prefixes.chars_built
            for number, (prefixes, values) in enumerate(self._lines_by_measure(columns)):
                prefix_chars = 0 if number else self.prefixes.chars_built - chars_before
                numbers = self._timestamps.numbers(columns.ids)
                stamps = self._timestamps.assign(
                    prefixes, columns.timestamps, numbers, number, later=False, prefix_chars=prefix_chars
                )
                for at, prefix, value, stamp in zip(columns.positions, prefixes, values, stamps, strict=True):
                    lines[at] += f"{prefix}{value} {stamp}\n"
        return lines

    def _lines_by_measure(self, columns: Columns) -> list[_MeasureLines]:
        """Return the lines of events up to the timestamp, per measure of their class."""
        schema, keys = columns.schema, columns.label_sets
        measured: list[_MeasureLines] = []
        if schema.buckets:
            _, totals, bounds, counts = columns.values
            prefixes = [self.prefixes.for_points(schema, each)[key] for key, each in zip(keys, bounds, strict=True)]
            measured.append((prefixes, [*map(bucket_fields, totals, bounds, counts)]))
        else:
            values = iter(columns.values)
            for prefixes_by_key, measure in zip(self.prefixes.for_class(schema), schema.measures, strict=True):
                fields = ["1.0"] * len(keys) if measure.field is None else number_texts(next(values))
                measured.append(([*map(prefixes_by_key.__getitem__, keys)], fields))
        dialect_dependent = self.prefixes.dialect_dependent
        if dialect_dependent and not all(dialect_dependent.isdisjoint(prefixes) for prefixes, _ in measured):
            self.dialect_dependent = True
        return measured


@lru_cache(maxsize=1000)
def _has_distinct_lines(schema: Schema) -> bool:
    """Return whether each event of a class has at least one line, and no two lines in the same series.

    Otherwise, a line would move to a timestamp that another event's line may need.
    """
    return bool(schema.measures) and len({each.name for each in schema.measures}) == len(schema.measures)
