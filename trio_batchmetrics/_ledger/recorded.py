"""How many events were recorded, and how many of them wait: counted by the lists that they stand in.

A recorder appends a row to a list and is done: the event counts from that step on, whatever interrupts the recorder
afterwards. So the number of recorded events is the length of the lists, and everything else is a count that only grows.

Events that other threads record may wait in a queue of their own until Trio's thread moves them into the open batch.
They are counted by two numbers, handed in and moved, so that a move changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._concurrency import SharedCount, shared_count

__all__ = ["Recorded"]

_READINGS = 100
"""How often the numbers are read at most, while Trio's thread goes on changing them."""


class Recorded:
    """The counts of one collector's recorded and refused events."""

    def __init__(self) -> None:
        """Start at zero."""
        self.capacity: int | None = None
        """Where the oldest waiting events are evicted: how many may wait. Events beyond that count as evicted."""
        self.handed_in: SharedCount = shared_count()
        """Events that other threads have recorded."""
        self.evicted_in_queue: SharedCount = shared_count()
        """How many of them were evicted before they stood in a batch."""
        self.moved: int = 0
        """How many of them stand in a batch, or were evicted before."""
        self.released: int = 0
        """Events that wait no more: taken, or evicted."""
        self.points: int = 0
        """Points of bound instruments, which never wait for room."""
        self._carried = 0
        """How often events were carried from one list over into the next."""
        self._lists: tuple[int, list[Any], list[Any]] = (0, [], [])
        """The length of all earlier lists, and the two lists that may still grow."""
        self._end: tuple[int, int] | None = None
        """How many events were recorded in lists, and handed in, when everything pending was given up."""
        self._refused: dict[str, SharedCount] = {}

    # -- lists

    def watch_rows(self, rows: list[Any]) -> None:
        """Count what is appended to this list from now on, and what may still be appended to the one before it."""
        earlier, older, newer = self._lists
        self._lists = (earlier + len(older), newer, rows)

    def list_after(self, rows: list[Any]) -> list[Any]:
        """Return the list that is watched after this one: a new one from now on, unless there is one already."""
        earlier, older, newest = self._lists
        if newest is rows:
            fresh: list[Any] = []
            self._lists = (earlier + len(older), newest, fresh)
            return fresh
        return newest

    def carry_over(self, older: list[Any], size: int, newer: list[Any]) -> None:
        """Move the rows beyond this size from one watched list to the front of the other."""
        more = older[size:]
        del older[size:]  # with no call from here on: each event stands in one list
        newer[0:0] = more
        self._carried += 1

    @property
    def in_lists(self) -> int:
        """How many events were appended to a list."""
        earlier, older, newer = self._lists
        return earlier + len(older) + len(newer)

    # -- waiting

    @property
    def waiting(self) -> int:
        """How many events take room in the buffer."""
        evicted = self.evicted_in_queue.count  # first: an event is never seen leaving before it is seen coming
        earlier, older, newer = self._lists
        return earlier + len(older) + len(newer) + self.handed_in.count - self.moved - self.released - evicted

    @property
    def excess(self) -> int:
        """How many of them count as evicted, because other threads have recorded newer ones."""
        return 0 if self.capacity is None else max(0, self.waiting - self.capacity)

    def evict_in_queue(self) -> None:
        """Drop an event that another thread has handed in, and that no batch has yet."""
        cell = self.evicted_in_queue.mine()
        cell.count += 1

    # -- refused

    def refusals(self, reason: str) -> SharedCount:
        """Return the count of events that were refused for a reason, from any thread."""
        return self._refused.get(reason) or self._refused.setdefault(reason, shared_count())

    def refuse(self, reason: str, count: int = 1) -> None:
        """Count events that were refused: recorded and dropped at once. From any thread."""
        cell = self.refusals(reason).mine()
        cell.count += count

    @property
    def refused(self) -> dict[str, int]:
        """How many events were refused, by reason."""
        refused = self._refused.copy()  # in one step, whatever runs in between
        return {reason: count for reason, shared in refused.items() if (count := shared.count)}

    # -- the end, and reading from any thread

    @property
    def ended(self) -> bool:
        """Whether everything pending has been given up."""
        return self._end is not None

    def end(self) -> None:
        """Count events that threads record from now on as closed."""
        if self._end is None:
            self._end = (self.in_lists, self.handed_in.count)

    def release_all(self) -> None:
        """Let nothing wait any more, after the end."""
        self.released = sum(self._end or ()) - self.moved - self.evicted_in_queue.count

    def snapshot(self, dropped_waiting: Mapping[str, int]) -> tuple[int, dict[str, int]]:
        """Return how many events were recorded, and how many of them were dropped, by reason, sorted by reason.

        Args:
            dropped_waiting: how many events of batches were dropped, by reason.
        """
        dropped, refused = dict(dropped_waiting), self.refused
        evicted = self.evicted_in_queue.count
        recorded, late = self._read()
        released = self.released + evicted  # as `excess`, of what was read: it may be another number by now
        excess = 0 if self.capacity is None else max(0, recorded - released - self.capacity)
        counts = {"buffer_full": evicted + excess, "closed": late}
        dropped_all = {
            reason: dropped.get(reason, 0) + refused.get(reason, 0) + counts.get(reason, 0)
            for reason in sorted(dropped.keys() | refused.keys() | counts.keys())
        }
        total = recorded + self.points + sum(refused.values()) + late
        return total, {reason: count for reason, count in dropped_all.items() if count}

    def _read(self) -> tuple[int, int]:
        """Return how many events, points excepted, were recorded, and how many after the end, by other threads.

        In another thread than Trio's, events may be moved meanwhile; then it reads again. Should that happen each time,
        those that were moved last are counted twice.
        """
        recorded = late = 0
        for _ in range(_READINGS):
            moved, carried = self.moved, self._carried  # first: the count of what is moved never runs ahead
            recorded, end = self.in_lists + self.handed_in.count, self._end
            late = 0 if end is None else max(0, recorded - sum(end))  # by threads that had looked before the end
            recorded -= late + moved
            if self.moved == moved and self._carried == carried:
                break
        return recorded, late
