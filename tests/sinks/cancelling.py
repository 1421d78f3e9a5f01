"""Cancellation that strikes at a known place of what a worker thread does.

All of it goes through the Trio token: a `trio.from_thread` call without one raises `Cancelled` by itself, and would do
the work of the sink under test.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import outcome
import trio

__all__ = ["Items", "cancel", "wait_until_cancelled"]


def cancel(scope: trio.CancelScope, token: trio.lowlevel.TrioToken) -> None:
    """Cancel, from a worker thread, what waits for that thread; it can see it when this returns."""
    trio.from_thread.run_sync(scope.cancel, trio_token=token)


def wait_until_cancelled(token: trio.lowlevel.TrioToken) -> None:
    """Wait, in a worker thread, until what waits for it is cancelled; raise nothing."""
    while outcome.capture(trio.from_thread.check_cancelled) == outcome.Value(None):
        trio.from_thread.run_sync(int, trio_token=token)


class Items(tuple[Any, ...]):
    """A part's rows, or a payload's parts, between which something happens."""

    happens: Callable[[int], None]
    """Called before each item with its number, and at the end, in the thread that iterates."""
    passes = 0
    """How many more times it is iterated before anything happens."""
    seen = 0
    """How many items were taken after that."""

    def __iter__(self) -> Iterator[Any]:
        """Yield the items."""
        self.passes -= 1
        if self.passes >= 0:
            yield from super().__iter__()
            return
        for number, item in enumerate(super().__iter__()):
            self.happens(number)
            self.seen += 1
            yield item
        self.happens(len(self))

    @classmethod
    def cancelled_at(cls, items: Iterable[Any], at: int, scope: trio.CancelScope, *, passes: int = 0) -> "Items":
        """Cancel a scope before the n-th item."""
        token = trio.lowlevel.current_trio_token()
        return cls.when(items, at, lambda: cancel(scope, token), passes)

    @classmethod
    def held_up_at(cls, items: Iterable[Any], at: int, *, passes: int = 0) -> "Items":
        """Wait for a cancellation before the n-th item."""
        token = trio.lowlevel.current_trio_token()
        return cls.when(items, at, lambda: wait_until_cancelled(token), passes)

    @classmethod
    def when(cls, items: Iterable[Any], at: int, action: Callable[[], None], passes: int) -> "Items":
        """Call something before the n-th item."""

        def happens(number: int) -> None:
            if number == at:
                action()

        made = cls(items)
        made.happens, made.passes = happens, passes
        return made
