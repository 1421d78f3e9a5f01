"""Which events are valid, and their columns.

The flush task validates, off the application's path. Plain rows are transposed, class by class, and :mod:`.reading`
checks whole columns. Only if a row is unusual, or a column isn't valid as it stands, does :mod:`.sorting` begin anew,
with a closer look.
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
"""The rows of valid events, their ids, their columns, and their timestamps, if these are known by now."""


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
    transposed: list[Any] = []
    if recorded or {*map(type, rows)} == {tuple}:
        try:
            transposed = [*zip(*rows, strict=False)]
        except TypeError:  # a recorder's row that can't be iterated needs a closer look
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
    """Return the columns of rows that are all plain; None if that takes a closer look at some of them.

    Args:
        rows: the rows.
        transposed: the items that all of them have, by column.
        ids: their ids.
        classes: the event classes by their numbers in rows.
        recorded: whether recorders made the rows.
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
    for number, places in positions.found.items():
        reader = reader_of(classes.get(number, number))
        if reader is None or reader in found:  # some rows have the class, others its number
            return None
        plain = reader.read([*zip(*pick(rows, places), strict=False)], trusted=recorded)
        if plain is None:
            return None
        found[reader] = Columns(reader.schema, places, ids.at(places), *plain)
    return [*found.values()]


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
    sorting = Sorting([*events], _ignore, _CLASSES, recorded=False)
    sorting.sort()
    rows, _, found = sorting.result("", 0)
    if len(rows) < len(events):
        bad = {*sorting.bad}
        places = [at for at in range(len(events)) if at not in bad]
        for columns in found:
            columns.positions = pick(places, columns.positions)
    return found


class _Positions(dict[Any, Callable[[int], None]]):
    """By what stands for the class in rows, the method that adds a position to its list."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[Any, list[int]] = {}

    def __missing__(self, number: Any) -> Callable[[int], None]:
        positions = self.found[number] = []
        add = self[number] = positions.append
        return add
