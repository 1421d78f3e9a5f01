"""Events to lines of line protocol, fast: what a series has in common is escaped once and kept.

How this works
==============

The rows of a class are turned into columns, which takes C a few nanoseconds a value. The label columns, as they are,
look up a line's head (``measurement,key=value value=``); the head, the value and the timestamp make the line. Labels
that are equal must have equal texts for that: a column holds strings, None, and either ints or bools, and each such mix
of types has its heads to itself. Rows with anything else are made plain first
(:func:`trio_batchmetrics._validation.plain_rows`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from math import isfinite
from typing import Any

from .._batch import Batch, rows_and_groups
from .._schema import MetricEvent, Schema
from .._validation import plain_rows
from ..abc import SinkContext
from ._heads import HeadMaker, Losses
from ._line_fields import bucket_fields
from ._line_protocol import Dialect
from ._timestamps import Timestamps

__all__ = ["LineWriter"]

_Row = tuple[Any, ...]
_Columns = Sequence[Sequence[Any]]

_ALIKE = frozenset({str, type(None), int, bool})
"""Types of labels that are equal only where their texts are, as long as a column has no ints beside bools."""

_NUMBERS = frozenset({float, int, bool})

_items = dict[str, object].items
_values_of = dict[str, object].values


class LineWriter:
    """Writes events as lines, in one dialect."""

    def __init__(
        self, dialect: Dialect | None, context: SinkContext, timestamps: Timestamps, losses: Losses | None = None
    ) -> None:
        """Have met no series yet.

        Args:
            dialect: the server's; None while it is not known.
            context: what the collector told.
            timestamps: that tell lines apart.
            losses: where to count what line protocol cannot carry.
        """
        self.heads: HeadMaker = HeadMaker(dialect, context, losses or Losses())
        self.doubtful: bool = False
        """Whether the lines written last depend on the dialect, and that is not known."""
        self._timestamps = timestamps

    def write(self, events: Sequence[MetricEvent]) -> bytes:
        """Return events as lines, in recording order; an event's own in the order in which it declares its measures.

        Raises:
            ValueError: a series' name and labels are too long together, or a timestamp is beyond 64 bits.
            Exception: of any kind, for events that are not valid; a collector hands over none.
        """
        self.doubtful = False
        batch = events if isinstance(events, Batch) else Batch([*events])
        rows: list[Any] = rows_and_groups(batch)[0]
        if not rows:
            return b""
        if {*map(type, rows)} != {tuple}:
            rows = plain_rows(batch)
        columns = _columns(rows)
        beyond = self._timestamps.beyond(columns[1])
        if len({*columns[0]}) == 1:
            return "".join(self._lines(rows, columns, batch.serials, beyond)).encode()
        places: dict[type[MetricEvent], list[int]] = {}
        for place, event_class in enumerate(columns[0]):
            places.setdefault(event_class, []).append(place)
        lines, serials = [""] * len(rows), batch.serials
        for at in places.values():
            some = [rows[place] for place in at]
            found = self._lines(some, _columns(some), [serials[place] for place in at], beyond)
            for place, line in zip(at, found, strict=True):
                lines[place] = line
        return "".join(lines).encode()

    def _lines(self, rows: list[Any], columns: _Columns, serials: Sequence[int], beyond: bool) -> Sequence[str]:
        """Return the lines of each event of one class."""
        event_class = columns[0][0]
        schema: Any = event_class.__metric_schema__
        if schema.buckets:
            return self._points(plain_rows(Batch(rows)), serials, beyond)
        kinds, numbers = _kinds_of_labels(schema, columns), _numbers(schema, columns)
        if kinds is None or numbers is None:
            columns = _columns(plain_rows(Batch(rows)))
            kinds, numbers = _kinds_of_labels(schema, columns) or (), _numbers(schema, columns)
        if schema.named:
            keys: list[Any] = [*zip(columns[2], map(tuple, map(_items, columns[3])), strict=True)]
            heads = [self.heads.named]
        else:
            labels = [columns[at] for at in _places(schema)]
            keys = [*zip(*labels, strict=True)] if labels else [()] * len(rows)
            heads = self.heads.of_class(event_class, schema, kinds)
            beyond = beyond and len({each.name for each in schema.measures}) == len(heads)  # else one's lines may meet
        lines: list[list[str]] = []
        for number, (known, values) in enumerate(zip(heads, numbers or (), strict=True)):
            begun = [*map(known.__getitem__, keys)]
            stamps = self._given(begun, columns[1], serials, number, beyond)
            lines.append([f"{head}{value!r} {at}\n" for head, value, at in zip(begun, values, stamps, strict=False)])
        self.heads.forget()
        return lines[0] if len(lines) == 1 else [*map("".join, zip(*lines, strict=True))]

    def _given(
        self, begun: list[str], stamps: Sequence[int], serials: Sequence[int], number: int, beyond: bool
    ) -> Sequence[int]:
        """Return the timestamps of lines that begin so."""
        if self.heads.doubts and not self.heads.doubts.isdisjoint(begun):
            self.doubtful = True
        return self._timestamps.given(begun, stamps, serials, number, beyond=beyond)

    def _points(self, rows: Sequence[_Row], serials: Sequence[int], beyond: bool) -> list[str]:
        """Return the line of each ``HistogramPoint``."""
        begun = [self.heads.point(name, bounds)[tuple(labels.items())] for _, _, name, labels, _, _, bounds, _ in rows]
        stamps = self._given(begun, [row[1] for row in rows], serials, 0, beyond)
        self.heads.forget()
        return [
            f"{head}{bucket_fields(total, bounds, counts)} {at}\n"
            for head, at, (*_, total, bounds, counts) in zip(begun, stamps, rows, strict=True)
        ]


def _columns(rows: Sequence[_Row]) -> _Columns:
    """Return rows by column; of rows of several lengths, the columns that all have."""
    return [*zip(*rows, strict=False)]


def _numbers(schema: Schema, columns: _Columns) -> list[Iterable[float]] | None:
    """Return the values of each measure, bools as 1 and 0; None if they are not all plain numbers that are finite."""
    found: list[Iterable[float]] = []
    for measure in schema.measures:
        if measure.field is None:
            found.append(repeat(1.0))
            continue
        values = columns[2 + schema.fields.index(measure.field)]
        kinds = {*map(type, values)}
        if not kinds <= _NUMBERS or not all(map(isfinite, values)):
            return None
        found.append([+value for value in values] if bool in kinds else values)
    return found


def _places(schema: Schema) -> list[int]:
    """Return where a class's labels stand in a row."""
    return [2 + schema.fields.index(label.field) for label in schema.labels]


def _kinds_of_labels(schema: Schema, columns: _Columns) -> tuple[bool, ...] | None:
    """Tell which label columns have bools; None if equal labels may have unequal texts."""
    if not schema.named:
        kinds = [{*map(type, columns[at])} for at in _places(schema)]
        unlike = any(kind - _ALIKE or {int, bool} <= kind for kind in kinds)
        return None if unlike else tuple(bool in kind for kind in kinds)
    if {*map(type, columns[2])} != {str} or {*map(type, columns[3])} != {dict}:
        return None
    names = {*map(type, chain.from_iterable(columns[3]))}
    values = {*map(type, chain.from_iterable(map(_values_of, columns[3])))}
    return () if names <= {str} and values <= _ALIKE - {bool} else None
