"""Sorts rows of any kind by class, and reads each class. Used for batches with unusual rows or invalid events.

If a class can't be read by column as it is, its rows are halved until the halves can be read. In the end, single rows
are examined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, cast

from .columns import Columns, EventIds, Extra, concatenated
from .examining import examined, plain_row, unreadable
from .invalid import InvalidError
from .reading import ClassReader, Plain, plain_labels, reader_of
from .rows import Row, Tail, UnusualRow, class_of
from .schema import MetricEvent
from .values import Unreadable

__all__ = ["Sorting"]

_MAX_EXAMINED = 8
"""The maximum number of rows to examine one by one without halving: reading them by column costs as much."""


class _Group:
    """The rows of one class, and their positions."""

    __slots__ = ("positions", "rows", "tails", "trusted")

    def __init__(self, trusted: bool) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self.positions: list[int] = []
        self.trusted = trusted
        self.tails: dict[int, Tail] = {}


class Sorting:
    """Sorts rows by class, and reads each class."""

    def __init__(
        self,
        rows: list[Row],
        note: Callable[[InvalidError], object],
        classes: Mapping[Any, type[MetricEvent]],
        recorded: bool,
    ) -> None:
        """Create a sorter of some rows.

        Args:
            rows: at most a few hundred; the list isn't changed.
            note: called with the fault of each invalid event.
            classes: the event classes by their numbers in rows.
            recorded: whether recorders made the rows.
        """
        self._classes = classes
        self._trusted = recorded
        self._original_rows: list[Row] = rows
        self._rows: list[Row] = rows
        self._note = note
        self._groups: dict[type[MetricEvent], _Group] = {}
        self.invalid: list[int] = []
        """The positions of invalid events."""

    def sort(self) -> None:
        """Sort the rows. Call this first."""
        rows = self._rows
        known: dict[Any, Any] = {}
        for at, row in enumerate(rows):
            if type(row) is tuple:
                entry = known.get(row[0])
                if entry is None:
                    event_class = self._classes.get(row[0], row[0])
                    group = self._groups[event_class] = self._groups.get(event_class) or _Group(self._trusted)
                    entry = known[row[0]] = group.rows.append, group.positions.append
                entry[0](row)
                entry[1](at)
            else:
                if rows is self._rows:
                    self._rows = [*rows]  # rows are replaced in a copy
                self._add_unusual(at, cast("UnusualRow | MetricEvent", row))

    def _add_unusual(self, at: int, unusual: UnusualRow | MetricEvent) -> None:
        tail, row = (unusual.tail, unusual.row) if isinstance(unusual, UnusualRow) else (None, unusual)
        event_class = class_of(row, self._classes)
        group = self._groups.setdefault(event_class, _Group(False))
        group.trusted = False
        self._rows[at] = row
        try:
            if tail is not None:
                group.tails[at] = _plain_tail(tail)
        except Exception as exc:  # noqa: BLE001 - labels may be any objects, and run any code: counted as invalid
            self._reject(at, InvalidError(event_class.__name__, "labels", "must have text", Unreadable(tail, exc)))
            return
        try:
            plain = row if isinstance(row, tuple) else self._plain(event_class, row)
        except Exception as exc:  # noqa: BLE001 - a field may be a property that raises, or the object may not be an event
            found = examined(row)
            self._reject(at, found if isinstance(found, InvalidError) else unreadable(row, exc))
            return
        group.rows.append(plain)
        group.positions.append(at)

    def _plain(self, event_class: type[MetricEvent], event: MetricEvent) -> tuple[Any, ...]:
        reader = reader_of(event_class)
        return (event_class, event.timestamp) if reader is None else reader.row(event)

    def _reject(self, at: int, fault: InvalidError) -> None:
        self.invalid.append(at)
        self._note(fault)

    def result(self, run_id: str, first: int) -> tuple[list[Row], EventIds, Sequence[Columns]]:
        """Return the valid rows, their ids, and their columns. Call this once, after :meth:`sort`.

        Args:
            run_id: the prefix of the events' ids.
            first: the serial number of the first valid event.
        """
        classes_read = [(group, *self._read_class(event_class, group)) for event_class, group in self._groups.items()]
        rows = self._rows
        if self.invalid:
            invalid = {*self.invalid}
            rows = [row for at, row in enumerate(rows) if at not in invalid]
            positions_after = [*accumulate(at not in invalid for at in range(len(self._rows)))]
            for group, _, _ in classes_read:
                group.tails = {positions_after[at] - 1: tail for at, tail in group.tails.items() if at not in invalid}
                group.positions = [positions_after[at] - 1 for at in group.positions]
        given_ids = {
            first + at: tail[2]
            for group, _, _ in classes_read
            for at, tail in group.tails.items()
            if tail[2] is not None
        }
        ids = EventIds(run_id, range(first, first + len(rows)), given_ids)
        return (
            rows,
            ids,
            [
                Columns(reader.schema, group.positions, ids.at(group.positions), *plain, _extra(group))
                for group, reader, plain in classes_read
                if plain is not None and reader is not None
            ],
        )

    def _read_class(self, event_class: type[MetricEvent], group: _Group) -> tuple[ClassReader | None, Plain | None]:
        """Return a class's reader and plain columns; None instead of columns if no event of the class is valid."""
        reader = reader_of(event_class)
        if reader is not None and group.rows:
            plain = reader.read([*zip(*group.rows, strict=False)], trusted=group.trusted)
            if plain is not None:
                return reader, plain
        parts = self._read_in_parts(reader, group, slice(0, len(group.rows))) if group.rows else []
        group.positions = [at for positions, _ in parts for at in positions]
        if not parts:
            return reader, None
        timestamps, labels, values = zip(*[plain for _, plain in parts], strict=True)
        found = tuple(map(concatenated, zip(*labels, strict=True))), tuple(map(concatenated, zip(*values, strict=True)))
        return reader, (concatenated(timestamps), *found)

    def _read_in_parts(
        self, reader: ClassReader | None, group: _Group, part: slice
    ) -> list[tuple[Sequence[int], Plain]]:
        """Return the positions and plain columns of the valid rows in part of a class.

        If these rows can't be read as they are, their halves are tried; in the end, single rows are examined.
        """
        rows, positions = group.rows[part], group.positions[part]
        plain = None if reader is None else reader.read([*zip(*rows, strict=False)], trusted=group.trusted)
        if plain is not None:
            return [(positions, plain)]
        if reader is not None and len(rows) > _MAX_EXAMINED:
            middle = (part.start + part.stop) // 2
            first_half = self._read_in_parts(reader, group, slice(part.start, middle))
            return first_half + self._read_in_parts(reader, group, slice(middle, part.stop))
        if self._rows is self._original_rows:
            self._rows = [*self._rows]  # rows are replaced in a copy
        examined_rows = [(at, row) for at in positions if (row := self._examine(at)) is not None]
        if reader is None or not examined_rows:
            return []
        positions_of_valid, plain_rows = zip(*examined_rows, strict=True)
        _, timestamps, *columns = zip(*plain_rows, strict=True)
        return [(positions_of_valid, reader.plain_columns(timestamps, columns))]

    def _examine(self, at: int) -> tuple[Any, ...] | None:
        """Return an event's plain row; note the fault and return None if it is invalid."""
        row = self._rows[at]
        if type(row) is tuple:
            row = (self._classes.get(row[0], row[0]), *row[1:])
        found = examined(row)
        if not isinstance(found, InvalidError):
            try:
                plain = plain_row(found)
            except Exception as exc:  # noqa: BLE001 - values may run any code: the event is counted as invalid
                found = unreadable(row, exc)
            else:
                self._rows[at] = found
                return plain
        self._reject(at, found)
        return None


def _plain_tail(tail: Tail) -> Tail:
    """Return a tail with plain labels.

    Raises:
        Exception: of any kind, if a label has no text.
    """
    labels, exemplar, event_id = tail
    return (None if labels is None else dict(plain_labels({**labels})), exemplar, event_id)


def _extra(group: _Group) -> Sequence[Extra | None] | None:
    """Return the extra labels and exemplars from the events' tails; None if there are none."""
    if not any(labels or exemplar is not None for labels, exemplar, _ in group.tails.values()):
        return None
    tails = [group.tails.get(at) for at in group.positions]
    return [None if tail is None else (tail[0] or {}, tail[1]) for tail in tails]
