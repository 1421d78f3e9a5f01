"""Keeping our own requests out of the HTTP client's log.

httpx2 logs each request's URL at INFO, and httpcore2 logs each response's headers and a proxy's credentials at DEBUG. A
path may contain a token, and metrics are pushed every few seconds, so this filter drops records about our own requests.
The loggers' levels, handlers and propagation stay as the application set them, and so do all records about other
clients' requests.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager

import trio

__all__ = ["Quiet"]

_LOGGERS = (
    "httpx2",
    *(f"httpcore2.{part}" for part in ("connection", "http11", "http2", "proxy", "socks")),
)


class Quiet(logging.Filter):
    """A filter that drops records logged in a task while the task makes one of our requests."""

    def __init__(self) -> None:
        """Create a filter that drops nothing yet."""
        super().__init__()
        self._tasks: set[trio.lowlevel.Task] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is about another client's request. Called in any thread."""
        return not (self._tasks and trio.lowlevel.in_trio_task() and trio.lowlevel.current_task() in self._tasks)

    def install(self) -> None:
        """Add the filter to the HTTP client's loggers."""
        for logger in map(logging.getLogger, _LOGGERS):
            # A new list: another thread may be iterating over the old one, and would skip one of its filters.
            logger.filters = [*logger.filters, self]

    def remove(self) -> None:
        """Remove the filter."""
        for logger in map(logging.getLogger, _LOGGERS):
            logger.filters = [one for one in logger.filters if one is not self]

    @contextmanager
    def request(self) -> Generator[None, None, None]:
        """Drop the records that this task logs within the block."""
        task = trio.lowlevel.current_task()
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)
