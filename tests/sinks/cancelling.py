"""Cancellation that strikes at a known point of the work of a worker thread.

All of it goes through the Trio token: a `trio.from_thread` call without a token raises `Cancelled` itself, and would
take over a check that belongs to the sink under test.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import outcome
import trio

__all__ = ["Items", "cancel", "wait_until_cancelled"]


def cancel(scope: trio.CancelScope, token: trio.lowlevel.TrioToken) -> None:
    """Cancel the task that waits for this worker thread; when this returns, the task can see it."""
    trio.from_thread.run_sync(scope.cancel, trio_token=token)


def wait_until_cancelled(token: trio.lowlevel.TrioToken) -> None:
    """Wait, in a worker thread, until the task that waits for it is cancelled; raise nothing."""
    while outcome.capture(trio.from_thread.check_cancelled) == outcome.Value(None):
        trio.from_thread.run_sync(int, trio_token=token)


class Items(tuple[Any, ...]):
    """A part's rows, or a payload's parts, between which something happens."""

    happens: Callable[[int], None]
    """Called before each item with its number, and once at the end, in the thread that iterates."""
    passes = 0
    """The number of complete iterations before anything happens."""
    seen = 0
    """The number of items taken after that."""

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
        """Call a function before the n-th item."""

        def happens(number: int) -> None:
            if number == at:
                action()

        made = cls(items)
        made.happens, made.passes = happens, passes
        return made
