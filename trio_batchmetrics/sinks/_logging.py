"""The default sink: one line a batch, through the standard library's logging."""

from __future__ import annotations

import logging
from typing import Any

from ..abc import EventSink, Payload

__all__ = ["LoggingSink"]


class LoggingSink(EventSink[None]):
    """Logs one summary line a batch: how many events of each kind.

    Delivered means: handed to the logger. What its handlers do with it, logging does not tell.
    """

    def __init__(
        self, logger: logging.Logger | str = "trio_batchmetrics", level: int = logging.INFO, **settings: Any
    ) -> None:
        """Log to a logger.

        Args:
            logger: a logger or its name.
            level: the lines' level.
            settings: ``name`` and the delivery settings of :class:`~trio_batchmetrics.abc.EventSink`.
        """
        super().__init__(**settings)
        self._logger = logging.getLogger(logger) if isinstance(logger, str) else logger
        self._level = level

    async def send(self, payload: Payload[None]) -> None:
        """Log the line."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in payload.events.kinds().items())
        self._logger.log(self._level, "%d events: %s", len(payload.events), kinds)
