"""A plain ``async def`` as a sink."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

from ..abc import Batch, EventSink, Payload, Receipt

__all__ = ["FunctionSink", "SinkFunction"]

SinkFunction = Callable[[Batch], Awaitable[Receipt | None]]
"""``async def my_sink(batch)``: takes all queued events as one batch; returns None once they are delivered."""


class FunctionSink(EventSink[None]):
    """Calls a function with each batch; *delivered* means that it returned None. An ``Exception`` is retried."""

    def __init__(self, function: SinkFunction) -> None:
        """Create a sink from a function.

        Args:
            function: takes a batch; async.

        Raises:
            TypeError: it is a plain function.
        """
        if inspect.isfunction(function) and not inspect.iscoroutinefunction(function):
            wraps = hasattr(function, "__wrapped__") or function.__name__ == "<lambda>"
            if not wraps:
                raise TypeError(f"a sink function must be async def (got {function!r})")
        name = getattr(function, "__name__", None)
        super().__init__(name=name if isinstance(name, str) and name else None)
        self._function = function

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Call the function with the batch."""
        return await self._function(payload.events)
