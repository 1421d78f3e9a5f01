"""Which events are valid, and their columns.

The flush task validates, off the application's path. Rows of one class are transposed at once; others are sorted by
class first. :mod:`.reading` then checks whole columns. Only if one of a class's columns isn't valid as it stands does
:mod:`.examining` look at each row of that class by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, cast

from .builtin import BUILTIN
from .columns import Columns, EventIds, Extra, concatenated, pick
from .examining import examined, plain_row, unreadable
from .invalid import InvalidError
from .reading import ClassReader, Plain, plain_labels, reader_of
from .rows import Row, Tail, UnusualRow, class_of
from .schema import MetricEvent
from .values import Unreadable

__all__ = ["columns_of", "valid", "valid_columns"]

_CLASSES: Mapping[Any, type[MetricEvent]] = dict(enumerate(BUILTIN))

Valid = tuple[list[Row], EventIds, Sequence[Columns], Sequence[int] | None]
"""The rows of valid events, their ids, their columns, and their timestamps, if these are known by now."""

_FEW = 8
"""So few rows are examined one by one: reading them by column costs as much as that."""


def _ignore(_: InvalidError) -> None:
    pass


def valid(
    rows: list[Row],
    note: Callable[[InvalidError], object] = _ignore,
    *,
    classes: Mapping[Any, type[MetricEvent]] = _CLASSES,
    run_id: str = "",
    first: int = 0,
    recorded: bool = True,
) -> Valid:
    """Return the valid rows in order, with their ids, their columns and their timestamps.

    Args:
        rows: at most a few hundred; the list is returned itself if all of them are plain and valid.
        note: called with the fault of each invalid event. It must not keep the fault, and must not raise.
        classes: the event classes by their numbers in rows.
        run_id: the prefix of the events' ids.
        first: the serial number of the first valid event.
        recorded: whether recorders made the rows; then a plain tuple shows that each label has its declared type.
    """
    transposed = [*zip(*rows, strict=False)] if {*map(type, rows)} == {tuple} else []
    if transposed:
        numbers = transposed[0]
        if numbers.count(numbers[0]) == len(rows):
            reader = reader_of(classes.get(numbers[0], numbers[0]))
            plain = None if reader is None else reader.read(transposed, trusted=recorded)
            if reader is not None and plain is not None:
                ids = EventIds(run_id, range(first, first + len(rows)))
                return rows, ids, [Columns(reader.schema, range(len(rows)), ids, *plain)], transposed[1]
    sorting = _Sorting(rows, note, classes, recorded)
    if transposed:
        sorting.sort_tuples(transposed[0])
    else:
        sorting.sort()
    found = sorting.result(run_id, first)
    return *found, transposed[1] if transposed and not sorting.replaced and not sorting.bad else None


def columns_of(rows: list[Row], ids: EventIds, classes: Mapping[Any, type[MetricEvent]]) -> Sequence[Columns]:
    """Return the columns of events that need not have been validated.

    Raises:
        ValueError: an event is invalid.
    """
    faults: list[str] = []
    _, _, found, _ = valid([*rows], lambda fault: faults.append(str(fault)), classes=classes, recorded=False)
    if faults:
        raise ValueError(f"invalid event: {faults[0]}")
    for columns in found:
        columns.ids = ids if len(found) == 1 else ids.at(columns.positions)
    return found


def valid_columns(events: Sequence[MetricEvent]) -> Sequence[Columns]:
    """Return the columns of the valid events among some; ``positions`` are those among all of them."""
    sorting = _Sorting([*events], _ignore, _CLASSES, recorded=False)
    sorting.sort()
    rows, _, found = sorting.result("", 0)
    if len(rows) < len(events):
        bad = {*sorting.bad}
        places = [at for at in range(len(events)) if at not in bad]
        for columns in found:
            columns.positions = pick(places, columns.positions)
    return found


class _Group:
    """The rows of one class, and their positions."""

    __slots__ = ("positions", "rows", "tails", "trusted")

    def __init__(self, trusted: bool) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self.positions: list[int] = []
        self.trusted = trusted
        self.tails: dict[int, Tail] = {}


class _Positions(dict[Any, Callable[[int], None]]):
    """By class or number, the method that adds a position to its list."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[Any, list[int]] = {}

    def __missing__(self, number: Any) -> Callable[[int], None]:
        positions = self.found[number] = []
        add = self[number] = positions.append
        return add


class _Sorting:
    """Sorts rows by class, and reads each class."""

    def __init__(
        self,
        rows: list[Row],
        note: Callable[[InvalidError], object],
        classes: Mapping[Any, type[MetricEvent]],
        recorded: bool,
    ) -> None:
        self._classes = classes
        self._recorded = recorded
        self._given: list[Row] = rows
        self._rows: list[Row] = rows
        self._note = note
        self._groups: dict[type[MetricEvent], _Group] = {}
        self.bad: list[int] = []
        """The positions of invalid events."""

    @property
    def replaced(self) -> bool:
        """Whether any row was replaced."""
        return self._rows is not self._given

    def sort_tuples(self, numbers: Sequence[Any]) -> None:
        """Sort rows that are all plain.

        Args:
            numbers: the first item of each.
        """
        positions = _Positions()
        for at, number in enumerate(numbers):
            positions[number](at)
        for number, found in positions.found.items():
            event_class = self._classes.get(number, number)
            if event_class in self._groups:  # some rows have the class, others its number
                self._groups.clear()
                self.sort()
                return
            group = self._groups[event_class] = _Group(self._recorded)
            group.rows, group.positions = [*pick(self._rows, found)], found

    def sort(self) -> None:
        """Sort any rows."""
        rows = self._rows
        known: dict[Any, Any] = {}
        for at, row in enumerate(rows):
            if type(row) is tuple:
                entry = known.get(row[0])
                if entry is None:
                    event_class = self._classes.get(row[0], row[0])
                    group = self._groups[event_class] = self._groups.get(event_class) or _Group(self._recorded)
                    entry = known[row[0]] = group.rows.append, group.positions.append
                entry[0](row)
                entry[1](at)
            else:
                if rows is self._rows:
                    self._rows = [*rows]  # rows are replaced in a copy
                self._add_unusual(at, cast("UnusualRow | MetricEvent", row))

    def _add_unusual(self, at: int, row: UnusualRow | MetricEvent) -> None:
        event_class = class_of(row, self._classes)
        group = self._groups.setdefault(event_class, _Group(False))
        group.trusted = False
        try:
            if isinstance(row, UnusualRow):
                plain = self._rows[at] = row.row
                if row.tail is not None:
                    group.tails[at] = _plain_tail(row.tail)
            else:
                reader = reader_of(event_class)
                plain = (event_class, row.timestamp) if reader is None else reader.row(row)
        except Exception as exc:  # noqa: BLE001 - a field may be a property that raises, the object no event
            self.bad.append(at)
            if isinstance(row, UnusualRow):
                self._note(InvalidError(event_class.__name__, "labels", "must have text", Unreadable(row.tail, exc)))
            else:
                found = examined(row)
                self._note(found if isinstance(found, InvalidError) else unreadable(row, exc))
        else:
            group.rows.append(plain)
            group.positions.append(at)

    def result(self, run_id: str, first: int) -> tuple[list[Row], EventIds, Sequence[Columns]]:
        """Return the valid rows, their ids, and their columns."""
        read = [(group, *self._read(event_class, group)) for event_class, group in self._groups.items()]
        rows = self._rows
        if self.bad:
            bad = {*self.bad}
            rows = [row for at, row in enumerate(rows) if at not in bad]
            moved = [*accumulate(at not in bad for at in range(len(self._rows)))]
            for group, _, _ in read:
                group.tails = {moved[at] - 1: tail for at, tail in group.tails.items() if at not in bad}
                group.positions = [moved[at] - 1 for at in group.positions]
        given = {first + at: tail[2] for group, _, _ in read for at, tail in group.tails.items() if tail[2] is not None}
        ids = EventIds(run_id, range(first, first + len(rows)), given)
        return (
            rows,
            ids,
            [
                Columns(reader.schema, group.positions, ids.at(group.positions), *plain, _extra(group))
                for group, reader, plain in read
                if plain is not None and reader is not None
            ],
        )

    def _read(self, event_class: type[MetricEvent], group: _Group) -> tuple[ClassReader | None, Plain | None]:
        """Return the reader of a class, and its plain columns; None if no event of the class is valid."""
        reader = reader_of(event_class)
        if reader is not None and group.rows:
            plain = reader.read([*zip(*group.rows, strict=False)], trusted=group.trusted)
            if plain is not None:
                return reader, plain
        pieces = self._pieces(reader, group, slice(0, len(group.rows))) if group.rows else []
        group.positions = [at for positions, _ in pieces for at in positions]
        if not pieces:
            return reader, None
        timestamps, labels, values = zip(*[plain for _, plain in pieces], strict=True)
        found = tuple(map(concatenated, zip(*labels, strict=True))), tuple(map(concatenated, zip(*values, strict=True)))
        return reader, (concatenated(timestamps), *found)

    def _pieces(self, reader: ClassReader | None, group: _Group, part: slice) -> list[tuple[Sequence[int], Plain]]:
        """Return the positions and the plain columns of the valid rows among some rows of a class.

        If these rows can't be read as they are, smaller parts of them may be; in the end, single rows are examined.
        """
        rows, positions = group.rows[part], group.positions[part]
        plain = None if reader is None else reader.read([*zip(*rows, strict=False)], trusted=group.trusted)
        if plain is not None:
            return [(positions, plain)]
        if reader is not None and len(rows) > _FEW:
            middle = (part.start + part.stop) // 2
            first = self._pieces(reader, group, slice(part.start, middle))
            return first + self._pieces(reader, group, slice(middle, part.stop))
        if not self.replaced:
            self._rows = [*self._rows]  # rows are replaced in a copy
        examined_rows = [(at, made) for at in positions if (made := self._examine(at)) is not None]
        if reader is None or not examined_rows:
            return []
        good, made = zip(*examined_rows, strict=True)
        _, timestamps, *columns = zip(*made, strict=True)
        return [(good, reader.split(timestamps, columns))]

    def _examine(self, at: int) -> tuple[Any, ...] | None:
        """Return the plain row of an event; None if it is invalid, which is noted."""
        row = self._rows[at]
        if type(row) is tuple:
            row = (self._classes.get(row[0], row[0]), *row[1:])
        found = examined(row)
        if not isinstance(found, InvalidError):
            try:
                made = plain_row(found)
            except Exception as exc:  # noqa: BLE001 - values may run any code: the event is counted as invalid
                found = unreadable(row, exc)
            else:
                self._rows[at] = found
                return made
        self.bad.append(at)
        self._note(found)
        return None


def _plain_tail(tail: Tail) -> Tail:
    """Return a tail with plain labels.

    Raises:
        Exception: of any kind, if a label has no text.
    """
    labels, exemplar, event_id = tail
    return (None if labels is None else dict(plain_labels({**labels})), exemplar, event_id)


def _extra(group: _Group) -> Sequence[Extra | None] | None:
    """Return the events' labels and exemplars from their tails; None if there are none."""
    if not any(labels or exemplar is not None for labels, exemplar, _ in group.tails.values()):
        return None
    tails = [group.tails.get(at) for at in group.positions]
    return [None if tail is None else (tail[0] or {}, tail[1]) for tail in tails]
