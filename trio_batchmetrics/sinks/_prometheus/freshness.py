"""Merging everything before a page is written, once for all requests that come at the same time.

How this works
==============

The first request does the work, in its own task; requests that come meanwhile wait for it. If that request is
cancelled, or runs out of its own time, one of the waiting requests does the work again. So no request fails because of
another.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import attrs
import trio

__all__ = ["SharedHandOver"]

_FRESH_SECONDS = 0.05
"""How long a page counts as fresh: scrapers come every few seconds, and two concurrent ones need the work only once."""


@attrs.define(eq=False)
class _Turn:
    ended: trio.Event = attrs.field(factory=trio.Event)
    succeeded: bool = False


class SharedHandOver:
    """Work shared by the requests of one collector. For use in the collector's Trio run."""

    def __init__(self, hand_over: Callable[[], Awaitable[None]]) -> None:
        """Create the shared state.

        Args:
            hand_over: returns once everything recorded before the call has been merged.
        """
        self._hand_over = hand_over
        self._turn: _Turn | None = None
        self._fresh_until = -math.inf

    async def wait(self, within: float) -> None:
        """Return once everything recorded before the call (or a call that it shares) is merged. A checkpoint.

        Args:
            within: seconds after which to return in any case.
        """
        with trio.move_on_after(within):
            await trio.lowlevel.checkpoint()
            while trio.current_time() > self._fresh_until or self._turn is not None:
                turn = self._turn
                if turn is None:
                    await self._work()
                    return
                await turn.ended.wait()
                if turn.succeeded:
                    return

    async def _work(self) -> None:
        turn = self._turn = _Turn()
        try:
            await self._hand_over()
            turn.succeeded = True
            self._fresh_until = trio.current_time() + _FRESH_SECONDS
        finally:
            self._turn = None
            turn.ended.set()
