"""Rows: the output of recorders for the flush task, which is cheaper than an event.

A row is a tuple ``(class, timestamp, *fields)``. Instead of the class, recorders put its number: CPython's garbage
collector soon stops tracking a tuple that contains only text and numbers, so waiting rows slow no collection down.
:class:`ClassNumbers` has the classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any, cast

from .schema import MetricEvent

__all__ = ["ClassNumbers", "RecordedRow", "Row", "Tail", "UnusualRow", "class_of", "event_of"]

Tail = tuple[Mapping[str, Any] | None, Any, str | None]
"""``(labels, exemplar, id)``: the data of a row beyond the event. A given id replaces the event's own."""


class UnusualRow:
    """A row with an explicit timestamp, a label of another type than declared, or a tail; or an event.

    It can't be iterated, so that rows which need a closer look can't be transposed with the others by mistake, whatever
    an event's class can do. Validation unwraps it.
    """

    __slots__ = ("row", "tail")

    def __init__(self, row: tuple[Any, ...] | MetricEvent, tail: Tail | None = None) -> None:
        """Wrap a row.

        Args:
            row: ``(class, timestamp, *fields)``, or an event that the application built.
            tail: labels beyond the event's fields, an exemplar and an id; each may be None.
        """
        self.row: tuple[Any, ...] | MetricEvent = row
        self.tail: Tail | None = tail


RecordedRow = tuple[Any, ...] | UnusualRow
"""A recorder's output: ``(class, timestamp, *fields)``, plain or unusual; an event is wrapped as unusual."""

Row = RecordedRow | MetricEvent
"""A row in a batch: as it was recorded, or the event that was built from it."""


class ClassNumbers(dict[Any, type[MetricEvent]]):
    """The event classes of one collector by number. Any thread may add one."""

    def __init__(self, known: Mapping[int, type[MetricEvent]]) -> None:
        """Start with some classes, numbered from 0 on."""
        super().__init__(known)
        self._next = count(len(known))
        self._numbers = {event_class: number for number, event_class in known.items()}

    def number_of(self, event_class: type[MetricEvent]) -> int:
        """Return the number of a class; a class without one gets the next."""
        number = self._numbers.get(event_class)
        if number is None:
            number = next(self._next)
            self[number] = event_class  # first: a row with the number may be read as soon as it is known
            self._numbers[event_class] = number
        return number


def class_of(row: Row, classes: Mapping[Any, type[MetricEvent]]) -> type[MetricEvent]:
    """Return the class of the event that a row represents; of any other object, its own class.

    Args:
        row: the row.
        classes: the classes by number.
    """
    if type(row) is UnusualRow:
        row = row.row
    return classes.get(row[0], row[0]) if type(row) is tuple else cast("type[MetricEvent]", type(row))


def event_of(row: Row, classes: Mapping[Any, type[MetricEvent]]) -> MetricEvent:
    """Return the event that a row represents.

    Args:
        row: the row.
        classes: the classes by number.
    """
    if type(row) is UnusualRow:
        row = row.row
    if type(row) is tuple:
        return class_of(row, classes)(*row[2:], timestamp=row[1])
    assert isinstance(row, MetricEvent)  # noqa: S101 - a row is either a tuple or an event
    return row
