"""Records which events were merged into which series, for pushes that reject some series.

Events merged into the same series form a *group*. The ledger counts pending events by group, so if the back-end
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
        """Create an empty mapping."""
        super().__init__()
        self._next = count(1)
        self.of_last_merge: list[int] = []
        """The group of each event of the last merge, by position."""

    def __missing__(self, series: tuple[Series, ...]) -> int:
        number = self[series] = next(self._next)
        return number

    def begin(self, size: int) -> None:
        """Begin a merge of this number of events."""
        self.of_last_merge = [0] * size

    def note(self, positions: Sequence[int], columns: Sequence[Sequence[Series]]) -> None:
        """Note the series that events were added to.

        Args:
            positions: the events' positions in the batch.
            columns: the series of each event, per instrument.
        """
        groups = self.of_last_merge
        for at, group in zip(positions, map(self.__getitem__, zip(*columns, strict=True)), strict=True):
            groups[at] = group

    def containing_any(self, refused: Collection[Series]) -> frozenset[int]:
        """Return the groups that contain any of these series."""
        return frozenset([number for series, number in self.items() if not refused.isdisjoint(series)])

    def forget(self) -> None:
        """Forget groups that contain a forgotten series."""
        for series in [series for series in self if any(each.forgotten for each in series)]:
            del self[series]


class Listing:
    """The series that one call of :meth:`~.store.SeriesStore.points` has returned, and those that it left out."""

    def __init__(self) -> None:
        """Create an empty listing."""
        self._series: list[Series] = []
        self._updated: list[int] = []  # in a list of its own: thousands of pairs would keep the garbage collector busy
        self._left_out: set[Series] = set()

    def __len__(self) -> int:
        """Return how many series it contains so far."""
        return len(self._series)

    def add(self, series: Series) -> bool:
        """Add a series and return True; return False if it is left out, because it was refused and hasn't changed."""
        updated = series.updated
        if series.left_out_at == updated:
            self._left_out.add(series)
            return False
        self._series.append(series)
        self._updated.append(updated)
        return True

    def leave_out(self, positions: Iterable[int]) -> None:
        """Leave series out of later listings until they change.

        Args:
            positions: their positions in this listing.
        """
        for at in positions:
            self._series[at].left_out_at = self._updated[at]

    def refused(self, positions: Iterable[int]) -> set[Series]:
        """Return the series that a push of this listing didn't deliver: those left out, and those at the positions."""
        return self._left_out | {self._series[at] for at in positions}
