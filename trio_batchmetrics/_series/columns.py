"""How a store of series reads the rows of events: where labels and values stand in them, and the series they go to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import attrs

from .._events import Batch, Measure, MetricEvent, checked, rows_and_groups
from .cells import Cell, Family

__all__ = ["Column", "Known", "Reader", "Row", "key_of", "places_of"]

Row = tuple[Any, ...]


class Known(dict[Any, Cell]):
    """Series by labels as the application gave them; one that is not there is looked for by text, and then it is."""

    def __init__(self, find: Callable[[Any], Cell]) -> None:
        super().__init__()
        self._find = find
        self.refuses = False
        """Whether one of the cells is of labels that are refused."""

    def __missing__(self, labels: Any) -> Cell:
        cell = self[labels] = self._find(labels)
        self.refuses = self.refuses or cell.refusal is not None
        return cell

    def forget(self) -> None:
        """Look for all of them anew."""
        self.clear()
        self.refuses = False


@attrs.frozen
class Column:
    """One measure of an event class: where its values stand in a row, and its series."""

    name: str
    family: Family
    at: int | None
    known: Known
    declared: Measure | None = None
    """What was declared of that name when this was made, of whatever kind."""


@attrs.frozen
class Reader:
    """How the rows of an event class with declared labels are read."""

    key: Callable[[Row], Any]
    columns: tuple[Column, ...]


def key_of(places: Sequence[int]) -> Callable[[Row], Any]:
    """Return a function that takes a row's labels, as a tuple."""
    if not places:
        return lambda _: ()
    getter: Callable[[Row], Any]
    getter = itemgetter(*places) if len(places) > 1 else itemgetter(slice(places[0], places[0] + 1))
    return getter


def places_of(events: Sequence[MetricEvent], event_class: type[MetricEvent]) -> list[int]:
    """Return the positions of the events of a class, without those that are invalid."""
    if isinstance(events, Batch):
        rows, _ = rows_and_groups(events)
        return [at for at, row in enumerate(rows) if (row[0] if type(row) is tuple else type(row)) is event_class]
    return [at for at, event in enumerate(events) if type(event) is event_class and checked(event) is not None]
