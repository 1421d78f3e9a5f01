"""Rows: what recorders leave for the flush task, which is cheaper than an event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from .schema import MetricEvent

__all__ = ["Row", "Tail", "UnusualRow", "class_of", "event_of"]

Tail = tuple[Mapping[str, Any] | None, Any, str | None]
"""``(labels, exemplar, id)``: what a row carries beyond the event. A given id takes the place of the event's own."""


class UnusualRow:
    """A row with an explicit timestamp, a label of another type than declared, or a tail. Validation unwraps it.

    It isn't a tuple, so that rows which need a closer look can't be transposed with the others by mistake.
    """

    __slots__ = ("row", "tail")

    def __init__(self, row: tuple[Any, ...], tail: Tail | None = None) -> None:
        """Wrap a row.

        Args:
            row: ``(class, timestamp, *fields)``.
            tail: labels beyond the event's fields, an exemplar and an id; each may be None.
        """
        self.row: tuple[Any, ...] = row
        self.tail: Tail | None = tail


Row = tuple[Any, ...] | UnusualRow | MetricEvent
"""A recorder's output: ``(class, timestamp, *fields)``, plain or unusual, or an event that the application built."""


def class_of(row: Row) -> type[MetricEvent]:
    """Return the class of the event that a row represents; of any other object, its own class."""
    if type(row) is UnusualRow:
        row = row.row
    return cast("type[MetricEvent]", row[0] if type(row) is tuple else type(row))


def event_of(row: Row) -> MetricEvent:
    """Return the event that a row represents."""
    if type(row) is UnusualRow:
        row = row.row
    if type(row) is tuple:
        event: MetricEvent = row[0](*row[2:], timestamp=row[1])
        return event
    assert isinstance(row, MetricEvent)  # noqa: S101 - a row is either a tuple or an event
    return row
