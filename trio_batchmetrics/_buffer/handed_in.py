"""Holds events from other threads that can't go into the open batch directly, until Trio's thread moves them there.

Threads use this queue when the buffer is full under ``drop_oldest``, and when there is no global interpreter lock. A
thread appends to a lock-free queue and asks for a move, unless one has been requested already. The events count as
waiting from the start: the ledger keeps two numbers for them, handed in and moved. The queue is bounded even while
Trio's thread is busy elsewhere. Under ``drop_oldest`` it evicts its own oldest events, because the events waiting
elsewhere are older still and already count as evicted by then (:attr:`Recorded.excess`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice, repeat
from typing import Any

from .._concurrency import stack_has_room
from .._events import Row
from .._ledger import Recorded

__all__ = ["HandedIn"]


class HandedIn:
    """A queue of rows. Any thread may append; Trio's thread moves them."""

    def __init__(
        self, recorded: Recorded, capacity: int, request: Callable[[], object], on_evicted: Callable[[], object]
    ) -> None:
        """Create an empty queue.

        Args:
            recorded: counts the events.
            capacity: the maximum number of events in the queue.
            request: asks Trio's thread to move the rows soon. It never waits, and any thread may call it.
            on_evicted: called when an event was evicted. It never waits, and any thread may call it.
        """
        self._recorded = recorded
        self._capacity = capacity
        self._request = request
        self._on_evicted = on_evicted
        self.rows: deque[Row] = deque()
        self._moving: list[Row] = []
        """The row being moved out of the queue. If a signal handler raises, the row stays here."""
        self._move_requested = False

    def append(self, row: Row) -> None:
        """Record a row, from any thread."""
        cell = self._recorded.handed_in.local_cell()
        cell.count += 1  # no call before the append: the event is always counted exactly once
        try:
            self.rows.append(row)
        except RecursionError:
            cell.count -= 1  # the row wasn't recorded
            raise
        if self._recorded.ended:
            self.rows.clear()  # the row counts as closed, and no task moves it any more
            return
        try:
            if len(self.rows) > self._capacity and stack_has_room():
                self._evict()
            self.request_move()
        except RecursionError:
            pass  # the row is safe; the next append asks again

    def request_move(self) -> None:
        """Ask Trio's thread to move the rows, if there are any and it hasn't been asked yet. From any thread."""
        if self.rows and not self._move_requested:
            self._move_requested = True
            try:
                self._request()
            except BaseException:
                self._move_requested = False
                raise

    def _evict(self) -> None:
        try:
            self.rows.popleft()
        except IndexError:
            return  # Trio's thread has just moved every row
        self._recorded.evict_in_queue()
        self._on_evicted()

    def move(self, append: Callable[[list[Row]], object]) -> None:
        """Move the rows that are in the queue now, and no later ones. Call it in Trio's thread.

        Args:
            append: moves the row from the list it gets into a list that the ledger watches, and counts it. It makes no
                call before it has done so.
        """
        self._move_requested = False  # first: any append from here on asks again
        moving = self._moving
        queue: Any = deque
        taken: Iterator[Row] = map(queue.popleft, repeat(self.rows))
        for _ in range(len(self.rows) + len(moving)):
            if not moving:
                try:
                    moving.extend(islice(taken, 1))  # a single step
                except IndexError:  # another thread has evicted the row
                    return
            append(moving)
