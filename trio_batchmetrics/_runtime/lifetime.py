"""``collector()``: opening and leaving the block.

How this works
==============

The block owns a nursery with one child, the collector's. Leaving, for whatever reason, closes the buffer, sets the
deadline of the child's scope, and waits. The wait is on an event, not in the nursery's exit: Trio keeps a Ctrl-C that
arrives there until the children end, and here it must end the wait. The nursery is left with no exception in hand, so
that it neither wraps the body's nor adds one of its own; the body's goes on as the same object. Out come: the body's
exception; or ``KeyboardInterrupt``, or what a sink raised beside ``Exception``, with the body's as its context.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, cast

import trio

from .._config import BatchMetricsConfig
from .._ownership import claim, release
from ..abc import Sink
from ..sinks._logging import LoggingSink
from .engine import Engine
from .metrics import BatchMetricsCollector
from .named_sinks import AnySink, named_sinks

__all__ = ["CollectorManager", "collector"]


def collector(config: BatchMetricsConfig | None = None, *, sinks: Iterable[AnySink] | None = None) -> CollectorManager:
    """Open a collector, to be entered by ``async with``.

    Opening does no I/O: a back-end that is down never stops an application from starting. Leaving flushes, shielded,
    within ``config.shutdown_timeout`` seconds; what is not delivered by then is counted as failed, and said in one log
    line. The body's exception leaves as the same object. Several collectors can be open at once.

    Args:
        config: the settings; by default ``BatchMetricsConfig()``.
        sinks: where batches go: event sinks, series sinks, ``async def my_sink(batch)``. None: one ``LoggingSink``.
            Empty: events are validated and count as processed.

    Returns:
        An async context manager, for one use, that gives a :class:`BatchMetricsCollector`.

    Raises:
        TypeError: the configuration or a sink is none.
        RuntimeError: a sink is in the list twice.

    Example:
        >>> import trio
        >>> from trio_batchmetrics import BatchMetricsConfig, collector
        >>> async def main():
        ...     async with collector(BatchMetricsConfig(batch_size=200), sinks=[]) as metrics:
        ...         metrics.record_http_request("GET", "/api/data", 200, 0.150)
        ...         metrics.record_cache_metric("redis", "hit")
        ...     return str(metrics.stats())
        >>> trio.run(main)
        'total=2 processed=2 dropped=0 failed=0 spooled=0 pending=0 batches=1'
    """
    if isinstance(sinks, Sink) or callable(sinks):
        raise TypeError(f"sinks must be a list of sinks (got {sinks!r})")
    config = BatchMetricsConfig() if config is None else config
    if not isinstance(config, BatchMetricsConfig):
        raise TypeError(f"config must be a BatchMetricsConfig (got {config!r})")
    return CollectorManager(config, named_sinks([LoggingSink()] if sinks is None else sinks))


class CollectorManager:
    """What ``async with collector(...)`` enters and leaves; for one use."""

    def __init__(self, config: BatchMetricsConfig, sinks: Mapping[str, Any]) -> None:
        """Made by :func:`collector`."""
        self._config = config
        self._sinks = sinks
        self._engine: Engine | None = None
        self._nursery: AbstractAsyncContextManager[trio.Nursery] | None = None

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> BatchMetricsCollector:
        """Start the collector's tasks. No checkpoint, no I/O.

        Raises:
            RuntimeError: it was entered before, a sink belongs to another open collector, or Trio does not run.
        """
        if self._engine is not None:
            raise RuntimeError("a collector can be opened once; call collector() again")
        claim(self._sinks, self)
        try:
            self._engine = Engine(self._config, self._sinks)
        except BaseException:
            release(self._sinks.values(), self)
            raise
        self._nursery = trio.open_nursery()
        nursery = await self._nursery.__aenter__()
        if self._config.enabled:
            nursery.start_soon(self._engine.run, name="trio_batchmetrics")
        return BatchMetricsCollector(self._engine)

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, _: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Flush, end the tasks, and let the body's exception go on as it is.

        Raises:
            KeyboardInterrupt: a Ctrl-C during the flush ended it; the body's exception is its ``__context__``.
            BaseException: what a sink raised beside ``Exception``, likewise.
        """
        assert self._engine is not None and self._nursery is not None  # noqa: S101, PT018 - entered before it is left
        raised: BaseException | None = None
        if self._config.enabled:
            try:
                raised = await self._engine.leave()  # noqa: ASYNC102 - it shields itself
            except BaseException as exc:  # noqa: BLE001, ASYNC103 - whatever it is, the nursery is left in order; raised again below
                self._engine.abandon()
                raised = exc
        try:
            # With no exception in hand the nursery neither wraps the body's nor raises Cancelled while it waits
            # (trio#1457).
            await self._nursery.__aexit__(None, None, None)  # noqa: ASYNC102
        except BaseExceptionGroup as group:
            raised = raised or _leaf(group)
        except KeyboardInterrupt as interrupt:
            raised = raised or interrupt
        release(self._sinks.values(), self)
        if raised is None:
            return
        try:
            raise raised
        finally:  # only now: raising sets the context, and a Cancelled of this very block is none
            raised.__context__ = None if isinstance(error, trio.Cancelled) else error
            del raised, error


def _leaf(error: BaseException) -> BaseException:
    """Return the first exception in a group, however deep, that is no Cancelled."""
    while isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        _, rest = group.split(trio.Cancelled)
        error = (rest or group).exceptions[0]
    return error
