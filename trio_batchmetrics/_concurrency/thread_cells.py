"""Cells that one thread at a time writes: exact counts without a lock, and without a global interpreter lock.

With a global interpreter lock, ``count += 1`` on an attribute is one step, as no thread is switched between reading and
writing. Without one, two threads may read the same number, and one of the two steps is lost. So each thread adds to a
cell of its own, and a reader adds the cells up.

A cell belongs to its thread until that ends; then the next new thread goes on with it. So there are as many cells as
there were ever threads at once, however many come and go, and none has to be folded into another.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Cells", "Count", "SharedCount", "gil_enabled", "shared_count"]


def gil_enabled() -> bool:
    """Tell whether there is a global interpreter lock, now: a free-threaded CPython may have one."""
    return getattr(sys, "_is_gil_enabled", lambda: True)() is not False


_CellT = TypeVar("_CellT")


class _Lease(Generic[_CellT]):
    """Keeps a cell for one thread; gives it back when the thread's local storage goes."""

    __slots__ = ("_free", "cell")

    def __init__(self, cell: _CellT, free: deque[_CellT]) -> None:
        self.cell = cell
        self._free = free

    def __del__(self) -> None:
        self._free.append(self.cell)


class Cells(Generic[_CellT]):
    """The cells of one instrument, or of one count."""

    __slots__ = ("_all", "_free", "_local", "_make")

    def __init__(self, make: Callable[[], _CellT]) -> None:
        """Have none yet; ``make`` returns a new one."""
        self._make = make
        self._local = threading.local()
        self._all: list[_CellT] = []
        self._free: deque[_CellT] = deque()

    def mine(self) -> _CellT:
        """Return the calling thread's cell."""
        try:
            lease: _Lease[_CellT] = self._local.lease
        except AttributeError:
            lease = self._local.lease = _Lease(self._unused(), self._free)
        return lease.cell

    def _unused(self) -> _CellT:
        try:
            return self._free.popleft()
        except IndexError:
            cell = self._make()
            self._all.append(cell)
            return cell

    def all(self) -> list[_CellT]:
        """Return every cell, in the order in which they were made."""
        return self._all.copy()


class Count:
    """A count that any thread changes, where there is a global interpreter lock; a cell of a count elsewhere."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        """Start at 0."""
        self.count: int = 0

    def mine(self) -> Count:
        """Return the cell that the calling thread may change."""
        return self


class CountByThread:
    """The same without a global interpreter lock."""

    __slots__ = ("_cells",)

    def __init__(self) -> None:
        """Start at 0."""
        self._cells: Cells[Count] = Cells(Count)

    @property
    def count(self) -> int:
        """The count of all threads."""
        return sum([cell.count for cell in self._cells.all()])

    def mine(self) -> Count:
        """Return the cell that the calling thread may change."""
        return self._cells.mine()


SharedCount = Count | CountByThread
"""A count that any thread changes: ``cell = shared.mine()``, then ``cell.count += 1``."""


def shared_count() -> SharedCount:
    """Return a count that starts at 0."""
    return Count() if gil_enabled() else CountByThread()
