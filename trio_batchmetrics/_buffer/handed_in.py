"""Events of other threads that may not go into the open batch at once, until Trio's thread moves them there.

That is so where the buffer is full and the oldest events make room, and without a global interpreter lock. A thread
appends to a queue that needs no lock, and asks for the move if nobody has yet. The events count as waiting from the
start: the ledger has two numbers for them, handed in and moved. Where Trio's thread is busy with something else, the
queue is bounded all the same. Under ``drop_oldest`` its own oldest events go, since the events that wait elsewhere are
older still, and as good as evicted by then (:attr:`Recorded.excess`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice, repeat
from typing import Any

from .._concurrency import has_room
from .._events import Row
from .._ledger import Recorded

__all__ = ["HandedIn"]


class HandedIn:
    """A queue of rows; any thread appends, Trio's moves."""

    def __init__(
        self, recorded: Recorded, capacity: int, ask: Callable[[], object], lost: Callable[[], object]
    ) -> None:
        """Start empty.

        Args:
            recorded: counts the events.
            capacity: most events that it holds.
            ask: has Trio's thread move them soon; never waits, from any thread.
            lost: told of an event that was evicted; likewise.
        """
        self._recorded = recorded
        self._capacity = capacity
        self._ask = ask
        self._lost = lost
        self.rows: deque[Row] = deque()
        self._moving: list[Row] = []
        """What is on its way from the queue, one row: a signal handler that raises leaves it here."""
        self._asked = False

    def append(self, row: Row) -> None:
        """Record a row, from any thread."""
        cell = self._recorded.handed_in.mine()
        cell.count += 1  # with no call before the next step: the event is always counted once
        try:
            self.rows.append(row)
        except RecursionError:
            cell.count -= 1  # it was not recorded
            raise
        if self._recorded.ended:
            self.rows.clear()  # it counts as closed, and nobody moves it any more
            return
        try:
            if len(self.rows) > self._capacity and has_room():
                self._evict()
            self.make_sure()
        except RecursionError:
            pass  # the row is safe; the next one asks

    def make_sure(self) -> None:
        """Have Trio's thread move what is there, unless it has been asked. From any thread."""
        if self.rows and not self._asked:
            self._asked = True
            try:
                self._ask()
            except BaseException:
                self._asked = False
                raise

    def _evict(self) -> None:
        try:
            self.rows.popleft()
        except IndexError:
            return  # Trio's thread has just moved them all
        self._recorded.evict_in_queue()
        self._lost()

    def move(self, append: Callable[[list[Row]], object]) -> None:
        """Move the rows that are there now, no more, in Trio's thread.

        Args:
            append: moves the row of this list into one that the ledger watches, and counts it, with no call before.
        """
        self._asked = False  # first: whoever appends from here on asks again
        moving = self._moving
        queue: Any = deque
        taken: Iterator[Row] = map(queue.popleft, repeat(self.rows))
        for _ in range(len(self.rows) + len(moving)):
            if not moving:
                try:
                    moving.extend(islice(taken, 1))  # in one step
                except IndexError:  # another thread has evicted it
                    return
            append(moving)
