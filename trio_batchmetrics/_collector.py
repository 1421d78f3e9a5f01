"""The collector: its lifetime, its recorders, its account.

How this works
==============

``collector()`` owns a nursery with one child, :meth:`BatchMetricsCollector._run`, which runs every task of the library in a
shielded scope of its own: the flush task, a delivery task for each sink, one that collects bound instruments and one that
reports loss. No cancellation from outside reaches them.

Leaving the block, for whatever reason, closes the buffer, sets that scope's deadline, and waits. The wait is on an event, not
in the nursery's exit: Trio keeps a Ctrl-C that arrives there until the children end, and here it must end the wait. The
nursery is left with no exception in hand, so that it neither wraps the body's nor adds one of its own; the body's goes on as
the same object.

Whatever ends the child, ``Ledger.fail_rest`` runs last: nothing is pending after the block. (In a forked child nothing is
settled: what was pending is the parent's to send.)
"""

from __future__ import annotations

import os
import uuid
import weakref
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import Any

import trio

from ._config import BatchMetricsConfig
from ._delivery import EventDelivery
from ._flushing import FlushTask
from ._instruments import BoundCounter, BoundGauge, BoundHistogram, Instruments
from ._intake import Intake
from ._ledger import Account, Ledger
from ._recording import Recorder, ThreadRecorder
from ._reporting import LossReporter, warn
from ._schema import MetricEvent
from ._series_delivery import SeriesDelivery
from ._sinks import AnySink, named_sinks
from ._stats import BatchMetricsStats, FlushReport
from ._text import text
from ._waking import Waker
from .abc import EventSink, SinkContext
from .sinks._logging import LoggingSink

__all__ = ["BatchMetricsCollector", "CollectorManager", "collector"]


def collector(config: BatchMetricsConfig | None = None, *, sinks: Iterable[AnySink] | None = None) -> CollectorManager:
    """Open a collector: ``async with collector(config, sinks=[...]) as metrics:``.

    Opening does no I/O: a back-end that is down never stops an application from starting. Leaving flushes, shielded, within
    ``config.shutdown_timeout`` seconds; what is not delivered by then is counted as failed, and said in one log line. The
    body's exception leaves as the same object. Several collectors can be open at once.

    Args:
        config: the settings; by default ``BatchMetricsConfig()``.
        sinks: where batches go: event sinks, series sinks, ``async def my_sink(batch)``. None: one ``LoggingSink``. Empty:
            events are validated and count as processed.

    Returns:
        An async context manager, for one use, that gives a :class:`BatchMetricsCollector`.

    Raises:
        TypeError: the configuration or a sink is none.

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
        self._nursery = trio.open_nursery()
        self._collector: BatchMetricsCollector | None = None

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> BatchMetricsCollector:
        """Start the collector's tasks. No checkpoint, no I/O.

        Raises:
            RuntimeError: it was entered before.
        """
        if self._collector is not None:
            raise RuntimeError("a collector can be opened once; call collector() again")
        self._collector = BatchMetricsCollector(self._config, self._sinks)
        nursery = await self._nursery.__aenter__()
        if self._config.enabled:
            self._collector.start(nursery)
        return self._collector

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, _: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """Flush, end the tasks, and let the body's exception go on as it is.

        Raises:
            KeyboardInterrupt: a Ctrl-C during the flush ended it; the body's exception is its ``__context__``.
            BaseException: what a sink raised beside ``Exception``, likewise.
        """
        assert self._collector is not None  # noqa: S101 - entered before it is left
        raised = await self._collector.leave() if self._config.enabled else None
        try:
            # With no exception in hand the nursery neither wraps the body's nor raises Cancelled while it waits (trio#1457).
            await self._nursery.__aexit__(None, None, None)  # noqa: ASYNC102
        except BaseExceptionGroup as group:
            raised = raised or _leaf(group)
        except KeyboardInterrupt as interrupt:
            raised = raised or interrupt
        if raised is None:
            return False
        raised.__context__ = None if isinstance(error, trio.Cancelled) else error
        try:
            raise raised
        finally:
            del raised, error


def _leaf(error: BaseException) -> BaseException:
    """Return the first exception in a group, however deep, that is no Cancelled."""
    while isinstance(error, BaseExceptionGroup):
        _, rest = error.split(trio.Cancelled)
        error = rest.exceptions[0] if rest is not None else error.exceptions[0]
    return error


def _nothing(_: object) -> None:
    """Take what a disabled collector is given."""


class BatchMetricsCollector(Recorder):
    """Records events and keeps account of them; made by :func:`collector`.

    Its methods belong to the thread of its Trio run, ``from_thread()``'s recorder and ``stats()`` to any.
    """

    def __init__(self, config: BatchMetricsConfig, sinks: Mapping[str, Any]) -> None:
        """Made by :func:`collector`."""
        self._config = config
        accounts = [Account(name, series=not isinstance(sink, EventSink)) for name, sink in sinks.items()]
        self._ledger = Ledger(accounts)
        self._clock = trio.lowlevel.current_clock()
        self._waker = Waker()
        self._reporter = LossReporter(self._ledger, self._waker)
        self._intake = Intake(config, self._ledger, self._waker, self._clock, self._reporter.trouble)
        self._instruments = Instruments(config, self)
        self._forked = False
        self._scope = trio.CancelScope(shield=True)
        self._done = trio.Event()
        context = _context(config)
        run_id = uuid.uuid4().hex
        self._event_sinks: list[EventDelivery] = []
        self._series_sinks: list[SeriesDelivery] = []
        self._flush_task = FlushTask(self._intake, self._ledger, self._event_sinks, self._series_sinks, self._clock)
        for account, sink in zip(accounts, sinks.values(), strict=True):
            sink.bind(context)
            shared: dict[str, Any] = {"run_id": run_id, "trouble": self._reporter.trouble}
            if account.series:
                self._series_sinks.append(SeriesDelivery(sink, account, self._ledger, **shared))
            else:
                freed = self._flush_task.room_freed
                capacity = config.buffer_size
                self._event_sinks.append(
                    EventDelivery(sink, account, self._ledger, capacity=capacity, freed=freed, **shared)
                )
        super().__init__(*((self._intake.put, self.refuse) if config.enabled else (_nothing, _nothing)))
        _collectors.add(self)

    # -- recording

    @trio.lowlevel.enable_ki_protection
    async def arecord(self, event: MetricEvent | object) -> None:
        """Record an event as soon as there is room, instead of dropping it; first come first served.

        Always a checkpoint. Cancelled, it has recorded nothing: bound it with a cancel scope. Where the block is left while
        it waits, the event counts as ``closed`` and it returns.

        Args:
            event: any :class:`MetricEvent`; anything else counts as ``invalid``.

        Raises:
            WrongThreadError: called from another thread than Trio's.
        """
        if self._config.enabled and isinstance(event, MetricEvent):
            await self._intake.put_when_room(event)
            return
        await trio.lowlevel.checkpoint_if_cancelled()
        self.record(event)
        await trio.lowlevel.cancel_shielded_checkpoint()

    def from_thread(self) -> ThreadRecorder:
        """Return a recorder for other threads. It may be kept, shared, and used after the block."""
        if not self._config.enabled:
            return ThreadRecorder(_nothing, _nothing)
        return ThreadRecorder(self._intake.put_from_thread, self._refuse_from_thread)

    def counter(
        self, name: str, *, labels: Mapping[str, Any] | None = None, unit: str = "", description: str = ""
    ) -> BoundCounter:
        """Return a bound counter: ``.add(v=1)``. The same name, labels and unit give the same object.

        Args:
            name: the instrument's name, not empty.
            labels: its label values, copied.
            unit: its unit (UCUM), such as ``By`` or ``{token}``.
            description: one sentence for people.

        Raises:
            ValueError: the name is another kind's or has another unit already.
        """
        return self._instruments.counter(name, labels, unit, description)

    def gauge(
        self, name: str, *, labels: Mapping[str, Any] | None = None, unit: str = "", description: str = ""
    ) -> BoundGauge:
        """Return a bound gauge: ``.set(v)``, ``.inc(v=1)``, ``.dec(v=1)``, ``with .track():``. As :meth:`counter`."""
        return self._instruments.gauge(name, labels, unit, description)

    def histogram(
        self,
        name: str,
        *,
        labels: Mapping[str, Any] | None = None,
        unit: str = "",
        description: str = "",
        bounds: Iterable[float] | None = None,
    ) -> BoundHistogram:
        """Return a bound histogram: ``.observe(v)``, ``with .time():``. As :meth:`counter`.

        Args:
            name: the instrument's name, not empty.
            labels: its label values, copied.
            unit: its unit (UCUM); values in ``s`` are never negative and may be ``timedelta``.
            description: one sentence for people.
            bounds: bucket bounds, rising; the configuration's win; by default those that suit the unit.

        Raises:
            ValueError: the name is another kind's, or has another unit or other bounds already.
        """
        return self._instruments.histogram(name, labels, unit, description, bounds)

    def observable_gauge(
        self,
        name: str,
        callback: Callable[[], float],
        *,
        labels: Mapping[str, Any] | None = None,
        unit: str = "",
        description: str = "",
    ) -> None:
        """Have ``callback()`` read at each collection, as a gauge's value.

        A callback that raises an ``Exception`` is logged and skipped; a bad value counts as ``invalid``.

        Args:
            name: the instrument's name, not empty.
            callback: synchronous and quick; called in Trio's thread.
            labels: its label values, copied.
            unit: its unit (UCUM).
            description: one sentence for people.

        Raises:
            ValueError: the name is another kind's or has another unit, or these labels are observed already.
        """
        self._instruments.observable(name, callback, labels, unit, description)

    @property
    def state(self) -> str:
        """``open``, ``closed`` (what is recorded counts as closed) or ``disabled`` (it does not count)."""
        if not self._config.enabled:
            return "disabled"
        return "closed" if self._intake.closed else "open"

    def refuse(self, reason: str) -> None:
        """Count an event that is none, as ``closed`` after the block. For the library's own use."""
        self._intake.check_thread()
        self._refuse_from_thread(reason)

    def _refuse_from_thread(self, reason: str) -> None:
        self._intake.refuse("closed" if self._intake.closed else reason)

    # -- the account

    def stats(self) -> BatchMetricsStats:
        """Return the account as it stands: synchronous, cheap, at any time, from any thread, also after the run."""
        last = self._flush_task.last_flush
        return self._ledger.snapshot(None if last is None else self._clock.current_time() - last)

    @trio.lowlevel.enable_ki_protection
    async def flush(self) -> FlushReport:
        """Hand over what is open, collect the bound instruments, and wait until all that was recorded is settled.

        Always a checkpoint. It takes no timeout: put it under a cancel scope. Where the block is left meanwhile it returns
        when that flush has ended.

        Returns:
            What became of what was pending at the call (what it collects included).

        Raises:
            WrongThreadError: called from another thread than Trio's.
        """
        if not self._config.enabled or self._forked:
            await trio.lowlevel.checkpoint()
            return FlushReport(pending=self._ledger.pending)
        self._intake.check_thread()
        self._collect()
        self._intake.hurry()
        done = trio.Event()
        watch = self._intake.watch(done.set)
        try:
            await done.wait()
        finally:
            self._ledger.unwatch(watch)
        return watch.report()

    # -- its life

    def start(self, nursery: trio.Nursery) -> None:
        """Start the one child. For the library's own use."""
        nursery.start_soon(self._run, name="trio_batchmetrics")

    async def leave(self) -> BaseException | None:
        """Close, flush within the deadline, and return what must leave the block. For the library's own use."""
        saved = await _saved_interrupt()
        if self._forked:
            self._scope.cancel()
        else:
            self._collect()
            self._intake.close()
            for delivery in (*self._event_sinks, *self._series_sinks):
                delivery.hurry()
            if self._config.shutdown_timeout == 0:
                self._scope.cancel()
            self._scope.deadline = trio.current_time() + self._config.shutdown_timeout
        try:
            with trio.CancelScope(shield=True):
                await self._done.wait()
        except KeyboardInterrupt as interrupt:
            self._scope.cancel()
            saved = interrupt
        return saved

    @trio.lowlevel.enable_ki_protection
    async def _run(self) -> None:
        """Run every task of the library until the block is left and all is settled."""
        reason = "shutdown"
        try:
            with self._scope:
                await self._run_tasks()
        except Exception as exc:  # noqa: BLE001 - a defect of this library must not reach the application: logged, counted
            reason = "crash"
            warn("metrics: the collector has crashed; what is recorded from now on counts as closed", error=exc)
        finally:
            if not self._forked:
                self._intake.close()
                self._ledger.fail_rest(reason)
                self._reporter.tell_at_the_end()
            self._done.set()

    async def _run_tasks(self) -> None:
        self._waker.fragile = trio.lowlevel.current_task()
        async with trio.open_nursery() as helpers:
            helpers.start_soon(self._collect_periodically)
            helpers.start_soon(self._reporter.run)
            async with trio.open_nursery() as deliveries:
                for delivery in (*self._event_sinks, *self._series_sinks):
                    deliveries.start_soon(delivery.run)
                await self._flush_task.run()
                for delivery in (*self._event_sinks, *self._series_sinks):
                    delivery.finish()
            helpers.cancel_scope.cancel()

    @trio.lowlevel.enable_ki_protection
    async def _collect_periodically(self) -> None:
        await self._instruments.first.wait()
        due = trio.current_time()
        while True:
            due = max(due + self._config.flush_interval, trio.current_time())
            await trio.sleep_until(due)
            if not self._intake.points_waiting:
                self._collect()

    def _collect(self) -> None:
        if self._intake.closed:
            return
        points = self._instruments.collect(partial(warn, "metrics: the callback of gauge %r raised: %r"))
        if points:
            self._intake.put_points(points)

    def forked(self) -> None:
        """Be still, in a forked child: recorders count ``closed``, nothing is sent. For the library's own use."""
        self._forked = True
        self._intake.close_in_child()
        self._waker.close_in_child()
        if trio.lowlevel.in_trio_task():
            self._scope.cancel()


async def _saved_interrupt() -> KeyboardInterrupt | None:
    """Return a Ctrl-C that came while a recorder was protected from it: it belongs to the body, not to the flush."""
    try:
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
    except KeyboardInterrupt as interrupt:
        return interrupt
    return None


def _context(config: BatchMetricsConfig) -> SinkContext:
    static = {name: string for name, value in config.static_labels.items() if (string := text(value)) is not None}
    return SinkContext(
        static_labels=static,
        enable_compression=config.enable_compression,
        max_series=config.max_series,
        bounds=dict(config.bounds),
    )


_collectors: weakref.WeakSet[BatchMetricsCollector] = weakref.WeakSet()
"""Every collector of this process; only the fork hook looks at it."""


def _after_fork_in_child() -> None:
    for one in tuple(_collectors):
        one.forked()


os.register_at_fork(after_in_child=_after_fork_in_child)
