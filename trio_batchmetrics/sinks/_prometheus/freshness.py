"""Merges everything before a page is written, once for all concurrent requests.

How this works
==============

The first request does the work in its own task, and requests that arrive meanwhile wait for it. If that request is
cancelled or times out, one of the waiting requests does the work again. So no request fails because of another.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import attrs
import trio

__all__ = ["SharedHandOver"]

_FRESH_SECONDS = 0.05
"""How long the work counts as fresh: scrapes occur every few seconds, and two concurrent ones share it."""


@attrs.define(eq=False)
class _HandOver:
    ended: trio.Event = attrs.field(factory=trio.Event)
    succeeded: bool = False


class SharedHandOver:
    """A hand-over shared by the requests of one collector. For use in the collector's Trio run."""

    def __init__(self, hand_over: Callable[[], Awaitable[None]]) -> None:
        """Create the shared state.

        Args:
            hand_over: returns once everything recorded before the call has been merged.
        """
        self._hand_over = hand_over
        self._current: _HandOver | None = None
        self._fresh_until = -math.inf

    async def wait(self, within: float) -> None:
        """Wait until everything recorded before the call (or before a call that it shares) is merged. A checkpoint.

        Args:
            within: the maximum wait, in seconds.
        """
        with trio.move_on_after(within):
            await trio.lowlevel.checkpoint()
            while trio.current_time() > self._fresh_until or self._current is not None:
                hand_over = self._current
                if hand_over is None:
                    await self._hand_over_once()
                    return
                await hand_over.ended.wait()
                if hand_over.succeeded:
                    return

    async def _hand_over_once(self) -> None:
        hand_over = self._current = _HandOver()
        try:
            await self._hand_over()
            hand_over.succeeded = True
            self._fresh_until = trio.current_time() + _FRESH_SECONDS
        finally:
            self._current = None
            hand_over.ended.set()
