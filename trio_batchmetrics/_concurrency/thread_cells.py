"""Cells that have one writing thread at a time: exact counts without a lock, even without a global interpreter lock.

With a global interpreter lock, ``count += 1`` on an attribute is a single step, as no thread switch occurs between the
read and the write. Without one, two threads may read the same number, and one of the increments is lost. Each thread
therefore adds to its own cell, and a reader sums the cells.

A cell belongs to its thread until the thread ends; the next new thread then reuses it. The number of cells is therefore
the maximum number of concurrent threads so far, however many come and go, and cells never need to be merged.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Cells", "Count", "SharedCount", "gil_enabled", "shared_count"]


def gil_enabled() -> bool:
    """Return whether a global interpreter lock is active now: even a free-threaded CPython may run with one."""
    return getattr(sys, "_is_gil_enabled", lambda: True)() is not False


_CellT = TypeVar("_CellT")


class _Lease(Generic[_CellT]):
    """Holds a cell for one thread; returns it when the thread's local storage is destroyed."""

    __slots__ = ("_free", "cell")

    def __init__(self, cell: _CellT, free: deque[_CellT]) -> None:
        self.cell = cell
        self._free = free

    def __del__(self) -> None:
        self._free.append(self.cell)


class Cells(Generic[_CellT]):
    """The per-thread cells of one instrument or count."""

    __slots__ = ("_all", "_free", "_local", "_make")

    def __init__(self, make: Callable[[], _CellT]) -> None:
        """Create an empty set of cells; ``make`` returns a new cell."""
        self._make = make
        self._local = threading.local()
        self._all: list[_CellT] = []
        self._free: deque[_CellT] = deque()

    def local_cell(self) -> _CellT:
        """Return the calling thread's cell."""
        try:
            lease: _Lease[_CellT] = self._local.lease
        except AttributeError:
            lease = self._local.lease = _Lease(self._acquire(), self._free)
        return lease.cell

    def _acquire(self) -> _CellT:
        try:
            return self._free.popleft()
        except IndexError:
            cell = self._make()
            self._all.append(cell)
            return cell

    def all(self) -> list[_CellT]:
        """Return every cell, in order of creation."""
        return self._all.copy()


class Count:
    """A count that any thread may change under a global interpreter lock; without one, a cell of such a count."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        """Start at 0."""
        self.count: int = 0

    def local_cell(self) -> Count:
        """Return the cell that the calling thread may change."""
        return self


class CountPerThread:
    """A count that any thread may change without a global interpreter lock."""

    __slots__ = ("_cells",)

    def __init__(self) -> None:
        """Start at 0."""
        self._cells: Cells[Count] = Cells(Count)

    @property
    def count(self) -> int:
        """The sum over all threads."""
        return sum([cell.count for cell in self._cells.all()])

    def local_cell(self) -> Count:
        """Return the cell that the calling thread may change."""
        return self._cells.local_cell()


SharedCount = Count | CountPerThread
"""A count that any thread may change: ``cell = shared.local_cell()``, then ``cell.count += 1``."""


def shared_count() -> SharedCount:
    """Return a new count that starts at 0, of the kind this interpreter needs."""
    return Count() if gil_enabled() else CountPerThread()
