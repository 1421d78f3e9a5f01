"""The default sink: one line per batch, through the standard library's logging."""

from __future__ import annotations

import logging
from typing import Any

import trio

from ..abc import EventSink, Payload

__all__ = ["LoggingSink"]


_BURST = 100
"""Maximum number of lines at once."""

_LINES_PER_SECOND = 100.0
"""Maximum sustained rate of short lines: a handler that records each line causes the next one, in a circle."""

_ALWAYS_LOGGED = 100
"""Batches of this size are always logged at once: the application caused them, and they must not fill the queue."""


class LoggingSink(EventSink[None]):
    """Logs one summary line per batch: how many events of each kind.

    *Delivered* means handed to the logger; logging does not report what its handlers do with the line. After 100 lines
    at once, there are at most 100 per second about fewer than 100 events each; events that come in the meantime share
    the next line.
    """

    def __init__(
        self, logger: logging.Logger | str = "trio_batchmetrics", level: int = logging.INFO, **settings: Any
    ) -> None:
        """Create a sink that logs to a logger.

        Args:
            logger: a logger or its name.
            level: the lines' level.
            settings: ``name`` and the delivery settings of :class:`~trio_batchmetrics.abc.EventSink`.
        """
        super().__init__(**settings)
        self._logger = logging.getLogger(logger) if isinstance(logger, str) else logger
        self._level = level
        self._tokens = float(_BURST)
        self._refilled_at = 0.0

    async def send(self, payload: Payload[None]) -> None:
        """Log the line. A checkpoint if lines come too fast."""
        if len(payload.events) < _ALWAYS_LOGGED:
            await self._take_token()
        kinds = ", ".join(f"{count} {kind}" for kind, count in payload.events.kinds().items())
        self._logger.log(self._level, "%d events: %s", len(payload.events), kinds)

    async def _take_token(self) -> None:
        now = trio.current_time()
        self._tokens = min(self._tokens + max(now - self._refilled_at, 0.0) * _LINES_PER_SECOND, _BURST)
        self._refilled_at = now
        if self._tokens < 1:
            await trio.sleep((1 - self._tokens) / _LINES_PER_SECOND)
            self._tokens, self._refilled_at = 1.0, trio.current_time()
        self._tokens -= 1
