"""What the HTTP client's own loggers must not show.

httpx2 logs the URL of each request at INFO, and httpcore2 the headers of each answer and a proxy's credentials at
DEBUG. A path may hold a token, and metrics are pushed every few seconds, so records about our own requests are left
out. The loggers' levels, handlers and propagation stay as the application set them, and so do all records about
requests of other clients.
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
    """Leaves out records that are logged in a task while it makes a request of ours."""

    def __init__(self) -> None:
        """Leave out nothing yet."""
        super().__init__()
        self._tasks: set[trio.lowlevel.Task] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is about somebody else's request. From any thread."""
        return not (self._tasks and trio.lowlevel.in_trio_task() and trio.lowlevel.current_task() in self._tasks)

    def install(self) -> None:
        """Look at what the client's loggers log."""
        for logger in map(logging.getLogger, _LOGGERS):
            # A new list: another thread may be going through the old one, and would leave out one of its filters.
            logger.filters = [*logger.filters, self]

    def remove(self) -> None:
        """Look at it no more."""
        for logger in map(logging.getLogger, _LOGGERS):
            logger.filters = [one for one in logger.filters if one is not self]

    @contextmanager
    def request(self) -> Generator[None, None, None]:
        """Leave out what this task logs."""
        task = trio.lowlevel.current_task()
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)
