"""Counts the recorded events, and those still waiting, by the length of the lists that contain them.

A recorder appends a row to a list and is done: the event counts from that step on, whatever interrupts the recorder
afterwards. The number of recorded events is therefore the length of the lists, and everything else is a count that only
grows.

Events that other threads record may wait in a separate queue until Trio's thread moves them into the open batch. Two
numbers count them, handed in and moved, so that a move doesn't change the total.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._concurrency import SharedCount, shared_count

__all__ = ["Recorded"]

_MAX_READS = 100
"""The maximum number of times to read the counts while Trio's thread keeps changing them."""


class Recorded:
    """The counts of one collector's recorded and refused events."""

    def __init__(self) -> None:
        """Create counts that all start at zero."""
        self.capacity: int | None = None
        """Under ``drop_oldest``, how many events may wait; events beyond that count as evicted. Otherwise None."""
        self.handed_in: SharedCount = shared_count()
        """Events that other threads have handed in through the queue."""
        self.evicted_in_queue: SharedCount = shared_count()
        """How many of the handed-in events were evicted before they reached a batch."""
        self.moved: int = 0
        """How many of the handed-in events were moved into a batch."""
        self.released: int = 0
        """Events of batches that no longer wait: taken or evicted."""
        self.points: int = 0
        """Points of bound instruments, which never wait for room."""
        self._carried = 0
        """How often events were carried over from one list into the next."""
        self._lists: tuple[int, list[Any], list[Any]] = (0, [], [])
        """The total length of all earlier lists, and the two lists that may still grow."""
        self._end: tuple[int, int] | None = None
        """The events recorded in lists, and those handed in, when everything pending was given up. None until then."""
        self._refused: dict[str, SharedCount] = {}

    # -- lists

    def watch_rows(self, rows: list[Any]) -> None:
        """Count the rows appended to this list from now on. Late appends to the previous list still count."""
        earlier, older, newer = self._lists
        self._lists = (earlier + len(older), newer, rows)

    def list_after(self, rows: list[Any]) -> list[Any]:
        """Return the list watched after this one. If there is none yet, create it and start watching it."""
        earlier, older, newest = self._lists
        if newest is rows:
            fresh: list[Any] = []
            self._lists = (earlier + len(older), newest, fresh)
            return fresh
        return newest

    def carry_over(self, older: list[Any], size: int, newer: list[Any]) -> None:
        """Move the rows beyond this size from one watched list to the front of the other."""
        excess = older[size:]
        del older[size:]  # no call from here on: each event is always in exactly one list
        newer[0:0] = excess
        self._carried += 1

    @property
    def in_lists(self) -> int:
        """How many events were appended to any list."""
        earlier, older, newer = self._lists
        return earlier + len(older) + len(newer)

    # -- waiting

    @property
    def waiting(self) -> int:
        """How many events take room in the buffer."""
        evicted = self.evicted_in_queue.count  # first: an event is never seen leaving before it is seen arriving
        earlier, older, newer = self._lists
        return earlier + len(older) + len(newer) + self.handed_in.count - self.moved - self.released - evicted

    @property
    def excess(self) -> int:
        """How many waiting events already count as evicted, because other threads have recorded newer ones."""
        return 0 if self.capacity is None else max(0, self.waiting - self.capacity)

    def evict_in_queue(self) -> None:
        """Count the eviction of an event that another thread handed in and that isn't in a batch yet."""
        cell = self.evicted_in_queue.local_cell()
        cell.count += 1

    # -- refused

    def refusals(self, reason: str) -> SharedCount:
        """Return the count of events refused for this reason. From any thread."""
        return self._refused.get(reason) or self._refused.setdefault(reason, shared_count())

    def refuse(self, reason: str, count: int = 1) -> None:
        """Count refused events as both recorded and dropped. From any thread."""
        cell = self.refusals(reason).local_cell()
        cell.count += count

    @property
    def refused(self) -> dict[str, int]:
        """How many events were refused, by reason."""
        refused = self._refused.copy()  # a single step, so other threads can't change it meanwhile
        return {reason: count for reason, shared in refused.items() if (count := shared.count)}

    # -- the end, and reading from any thread

    @property
    def ended(self) -> bool:
        """Whether everything pending has been given up."""
        return self._end is not None

    def end(self) -> None:
        """From now on, count the events that threads record as closed."""
        if self._end is None:
            self._end = (self.in_lists, self.handed_in.count)

    def release_all(self) -> None:
        """Release all waiting events, after the end."""
        self.released = sum(self._end or ()) - self.moved - self.evicted_in_queue.count

    def snapshot(self, dropped_waiting: Mapping[str, int]) -> tuple[int, dict[str, int]]:
        """Return the number of recorded events, and the numbers of dropped ones by reason, sorted by reason.

        Args:
            dropped_waiting: how many events were dropped from batches, by reason.
        """
        dropped, refused = dict(dropped_waiting), self.refused
        evicted = self.evicted_in_queue.count
        recorded, late = self._read()
        released = self.released + evicted  # computed as in `excess`, but from the numbers just read
        excess = 0 if self.capacity is None else max(0, recorded - released - self.capacity)
        counts = {"buffer_full": evicted + excess, "closed": late}
        dropped_all = {
            reason: dropped.get(reason, 0) + refused.get(reason, 0) + counts.get(reason, 0)
            for reason in sorted(dropped.keys() | refused.keys() | counts.keys())
        }
        total = recorded + self.points + sum(refused.values()) + late
        return total, {reason: count for reason, count in dropped_all.items() if count}

    def _read(self) -> tuple[int, int]:
        """Return how many events other than points were recorded, and how many by other threads after the end.

        Outside Trio's thread, events may be moved during a reading; the method then reads again. If that happens every
        time, the events moved last are counted twice.
        """
        recorded = late = 0
        for _ in range(_MAX_READS):
            moved, carried = self.moved, self._carried  # first: the moved count never runs ahead of the lists
            recorded, end = self.in_lists + self.handed_in.count, self._end
            late = 0 if end is None else max(0, recorded - sum(end))  # from threads that checked before the end
            recorded -= late + moved
            if self.moved == moved and self._carried == carried:
                break
        return recorded, late
