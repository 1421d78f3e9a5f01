"""``collector()``: opens and leaves the block.

How this works
==============

The block owns a nursery with a single child, the collector's task. Leaving the block, for whatever reason, closes the
buffer, sets the deadline of the child's scope, and waits. It waits on an event, not in the nursery's exit: there, Trio
would defer a Ctrl-C until the children end, but here a Ctrl-C must end the wait. The nursery is left without passing it
an exception, so that it neither wraps the body's exception nor adds its own; the body's exception propagates as the
same object. The block raises either the body's exception, or a ``KeyboardInterrupt`` or a sink's ``BaseException`` that
isn't an ``Exception``, with the body's exception as its context.
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
    """Create a collector, to be used with ``async with``.

    Opening does no I/O: a back-end that is down never stops an application from starting. Leaving the block flushes
    within ``config.shutdown_timeout`` seconds, shielded from cancellation. Events not delivered by then count as
    failed and are reported in one log line. The body's exception propagates as the same object. Several collectors can
    be open at once.

    Args:
        config: the settings; by default ``BatchMetricsConfig()``.
        sinks: the sinks that get the batches: event sinks, series sinks, ``async def my_sink(batch)``. None: one
            ``LoggingSink``. Empty: events are validated and count as processed.

    Returns:
        A single-use async context manager, whose target is a :class:`BatchMetricsCollector`.

    Raises:
        TypeError: ``config`` isn't a ``BatchMetricsConfig``, ``sinks`` isn't a list of sinks, or an item isn't a sink.
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
    """The single-use context manager that :func:`collector` returns."""

    def __init__(self, config: BatchMetricsConfig, sinks: Mapping[str, Any]) -> None:
        """Create the manager for these settings and named sinks. Call :func:`collector` instead."""
        self._config = config
        self._sinks = sinks
        self._engine: Engine | None = None
        self._nursery: AbstractAsyncContextManager[trio.Nursery] | None = None

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> BatchMetricsCollector:
        """Start the collector's tasks. No checkpoint, no I/O.

        Raises:
            RuntimeError: it was entered before, a sink belongs to another open collector, or Trio isn't running.
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
        """Flush, end the tasks, and let the body's exception propagate unchanged.

        Raises:
            KeyboardInterrupt: a Ctrl-C ended the flush; the body's exception is its ``__context__``.
            BaseException: a sink raised it, and it isn't an ``Exception``; its ``__context__`` is the same.
        """
        assert self._engine is not None and self._nursery is not None  # noqa: S101, PT018 - __aenter__ has set both
        raised: BaseException | None = None
        if self._config.enabled:
            try:
                raised = await self._engine.leave()  # noqa: ASYNC102 - it shields itself
            except BaseException as exc:  # noqa: BLE001, ASYNC103 - the nursery must still exit; raised again below
                self._engine.abandon()
                raised = exc
        try:
            # Passed no exception, the nursery neither wraps the body's exception nor raises Cancelled while it waits
            # (trio#1457).
            await self._nursery.__aexit__(None, None, None)  # noqa: ASYNC102
        except BaseExceptionGroup as group:
            raised = raised or _first_error(group)
        except KeyboardInterrupt as interrupt:
            raised = raised or interrupt
        release(self._sinks.values(), self)
        if raised is None:
            return
        try:
            raise raised
        finally:  # only now, as raising sets the context; the block's own Cancelled doesn't count as one
            raised.__context__ = None if isinstance(error, trio.Cancelled) else error
            del raised, error


def _first_error(error: BaseException) -> BaseException:
    """Return the first exception in a group, at any depth, that isn't a Cancelled."""
    while isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        _, rest = group.split(trio.Cancelled)
        error = (rest or group).exceptions[0]
    return error
