"""How a store of series reads the rows of events: where labels and values stand in them, and the series they go to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from .._events import Measure
from .cells import Cell, Family

__all__ = ["Column", "Known"]


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
    """One measure of an event class, and the series that its values are added to."""

    name: str
    family: Family
    measured: bool
    """Whether there is a value column; otherwise, each event counts as 1."""
    known: Known
    declared: Measure | None = None
    """What was declared of that name when this was created, of whatever kind."""
