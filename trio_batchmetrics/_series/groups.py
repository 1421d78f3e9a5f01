"""Which events were merged into which series: what a push needs that rejects some series.

Events merged into the same series are one *group*. The ledger counts pending events by group, so if the back-end
refuses a series, exactly the events of its groups are rejected.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as Collection
from itertools import count

from .series import Series

__all__ = ["Groups", "Listing"]


class Groups(dict[tuple[Series, ...], int]):
    """The number of each group, by its series. A new group gets the next number."""

    def __init__(self) -> None:
        """Begin without groups."""
        super().__init__()
        self._next = count(1)
        self.of_last_merge: list[int] = []
        """The group of each event of the last merge, by position."""

    def __missing__(self, series: tuple[Series, ...]) -> int:
        number = self[series] = next(self._next)
        return number

    def begin(self, size: int) -> None:
        """Begin a merge of so many events."""
        self.of_last_merge = [0] * size

    def note(self, positions: Sequence[int], columns: Sequence[Sequence[Series]]) -> None:
        """Note where events were added.

        Args:
            positions: their positions in the batch.
            columns: for each of their instruments, the series of each event.
        """
        groups = self.of_last_merge
        for at, group in zip(positions, map(self.__getitem__, zip(*columns, strict=True)), strict=True):
            groups[at] = group

    def having(self, refused: Collection[Series]) -> frozenset[int]:
        """Return the groups with any of some series."""
        return frozenset([number for series, number in self.items() if not refused.isdisjoint(series)])

    def forget(self) -> None:
        """Forget groups with a series that is forgotten itself."""
        for series in [series for series in self if any(each.forgotten for each in series)]:
            del self[series]


class Listing:
    """The series that one call of :meth:`~.store.SeriesStore.points` has given, and those that it left out."""

    def __init__(self) -> None:
        """Begin without series."""
        self._series: list[tuple[Series, int]] = []
        self._left_out: set[Series] = set()

    def __len__(self) -> int:
        """Return how many series it has given so far."""
        return len(self._series)

    def takes(self, series: Series) -> bool:
        """Return whether to give a series; note it. One that was refused is left out until it changes."""
        updated = series.updated
        if series.left_out_at == updated:
            self._left_out.add(series)
            return False
        self._series.append((series, updated))
        return True

    def leave_out(self, positions: Iterable[int]) -> None:
        """Leave series out of later listings until they change.

        Args:
            positions: their positions in this one.
        """
        for at in positions:
            series, updated = self._series[at]
            series.left_out_at = updated

    def refused(self, positions: Iterable[int]) -> set[Series]:
        """Return the series that a push of this listing did not deliver: those left out, and those at positions."""
        return self._left_out | {self._series[at][0] for at in positions}
