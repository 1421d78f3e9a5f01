"""Finds the valid events among some rows, and their columns.

Validation runs in the flush task, off the application's path. Plain rows are transposed class by class, and
:mod:`.reading` checks whole columns. If a row is unusual, or a column isn't valid as it is, :mod:`.sorting` starts over
and checks the rows more closely.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .builtin import BUILTIN
from .columns import Columns, EventIds, pick
from .invalid import InvalidError
from .reading import ClassReader, reader_of
from .rows import Row
from .schema import MetricEvent
from .sorting import Sorting

__all__ = ["columns_of", "valid", "valid_columns"]

_CLASSES: Mapping[Any, type[MetricEvent]] = dict(enumerate(BUILTIN))

Valid = tuple[list[Row], EventIds, Sequence[Columns], Sequence[int] | None]
"""The rows of valid events, their ids, their columns, and their timestamps (None if not known yet)."""


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
    """Return the valid rows in order, with their ids, columns and timestamps.

    Args:
        rows: at most a few hundred; the list itself is returned if all of them are plain and valid.
        note: called with the fault of each invalid event. It must not keep the fault, and must not raise.
        classes: the event classes, by their numbers in rows.
        run_id: the prefix of the events' ids.
        first: the serial number of the first valid event.
        recorded: whether the rows come from recorders; if so, each label in a plain tuple has its declared type.
    """
    transposed: list[Any] = []
    if recorded or {*map(type, rows)} == {tuple}:
        try:
            transposed = [*zip(*rows, strict=False)]
        except TypeError:  # a row that can't be iterated is unusual
            pass
    if transposed:
        ids = EventIds(run_id, range(first, first + len(rows)))
        found = _plain_columns(rows, transposed, ids, classes, recorded)
        if found is not None:
            return rows, ids, found, transposed[1]
    sorting = Sorting(rows, note, classes, recorded)
    sorting.sort()
    return *sorting.result(run_id, first), None


def _plain_columns(
    rows: list[Any],
    transposed: Sequence[Sequence[Any]],
    ids: EventIds,
    classes: Mapping[Any, type[MetricEvent]],
    recorded: bool,
) -> list[Columns] | None:
    """Return the columns of rows if all of them are plain and valid; otherwise None.

    Args:
        rows: the rows.
        transposed: the items that all rows have, by column.
        ids: the events' ids.
        classes: the event classes, by their numbers in rows.
        recorded: whether the rows come from recorders.
    """
    numbers = transposed[0]
    if numbers.count(numbers[0]) == len(rows):
        reader = reader_of(classes.get(numbers[0], numbers[0]))
        plain = None if reader is None else reader.read(transposed, trusted=recorded)
        return None if reader is None or plain is None else [Columns(reader.schema, range(len(rows)), ids, *plain)]
    positions = _Positions()
    for at, number in enumerate(numbers):
        positions[number](at)
    found: dict[ClassReader, Columns] = {}
    for number, positions_of_class in positions.found.items():
        reader = reader_of(classes.get(number, number))
        if reader is None or reader in found:  # some rows have the class, and others its number
            return None
        plain = reader.read([*zip(*pick(rows, positions_of_class), strict=False)], trusted=recorded)
        if plain is None:
            return None
        found[reader] = Columns(reader.schema, positions_of_class, ids.at(positions_of_class), *plain)
    return [*found.values()]


def columns_of(rows: list[Row], ids: EventIds, classes: Mapping[Any, type[MetricEvent]]) -> Sequence[Columns]:
    """Return the columns of events that may not have been validated yet.

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
    """Return the columns of the valid events; ``positions`` refer to all events."""
    sorting = Sorting([*events], _ignore, _CLASSES, recorded=False)
    sorting.sort()
    rows, _, found = sorting.result("", 0)
    if len(rows) < len(events):
        invalid = {*sorting.invalid}
        valid_positions = [at for at in range(len(events)) if at not in invalid]
        for columns in found:
            columns.positions = pick(valid_positions, columns.positions)
    return found


class _Positions(dict[Any, Callable[[int], None]]):
    """The method that adds a position to a class's list, by the first item of the class's rows."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[Any, list[int]] = {}

    def __missing__(self, number: Any) -> Callable[[int], None]:
        positions = self.found[number] = []
        add = self[number] = positions.append
        return add
