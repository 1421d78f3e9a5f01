"""The collector: what an application records with, and asks.

How this works
==============

One child task, :meth:`BatchMetricsCollector.run`, runs every task of the library in a shielded scope of its own: the
flush task, a delivery task for each sink, one that collects bound instruments and one that reports loss. No
cancellation from outside reaches them; leaving the block sets the scope's deadline
(:mod:`trio_batchmetrics._lifetime`).

Whatever ends the child, ``Ledger.fail_rest`` runs last: nothing is pending after the block. (In a forked child nothing
is
settled: what was pending is the parent's to send.)
"""

from __future__ import annotations

import os
import uuid
import weakref
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import trio

from ._accounts import Account
from ._config import BatchMetricsConfig
from ._delivery import EventDelivery
from ._flushing import FlushTask
from ._instruments import BoundCounter, BoundGauge, BoundHistogram, Instruments
from ._intake import Intake
from ._ledger import Ledger
from ._recording import Recorder, ThreadRecorder
from ._reporting import LossReporter, warn
from ._schema import MetricEvent, is_event
from ._series_delivery import SeriesDelivery
from ._stats import BatchMetricsStats, FlushReport
from ._text import text
from ._waking import Waker
from .abc import EventSink, SinkContext

__all__ = ["BatchMetricsCollector"]


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
        freed, trouble = self._flush_task.room_freed, self._reporter.trouble
        for account, sink in zip(accounts, sinks.values(), strict=True):
            sink.bind(context)
            if account.series:
                self._series_sinks.append(SeriesDelivery(sink, account, self._ledger, run_id=run_id, trouble=trouble))
            else:
                self._event_sinks.append(
                    EventDelivery(
                        sink,
                        account,
                        self._ledger,
                        capacity=config.buffer_size,
                        run_id=run_id,
                        freed=freed,
                        trouble=trouble,
                    )
                )
        self._deliveries: tuple[EventDelivery | SeriesDelivery, ...] = (*self._event_sinks, *self._series_sinks)
        super().__init__(*((self._intake.put, self.refuse) if config.enabled else (_nothing, _nothing)))
        _collectors.add(self)

    # -- recording

    @trio.lowlevel.enable_ki_protection
    async def arecord(self, event: MetricEvent | object) -> None:
        """Record an event as soon as there is room, instead of dropping it; first come first served.

        Always a checkpoint. Cancelled, it has recorded nothing: bound it with a cancel scope. Where the block is left
        while it waits, the event counts as ``closed`` and it returns.

        Args:
            event: any :class:`MetricEvent`; anything else counts as ``invalid``.

        Raises:
            WrongThreadError: called from another thread than Trio's.
        """
        if self._config.enabled and is_event(event):
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

    def now(self) -> float:
        """Return the time by the clock of the collector's Trio run. For the library's own use."""
        return self._clock.current_time()

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

        Always a checkpoint. It takes no timeout: put it under a cancel scope. Where the block is left meanwhile it
        returns when that flush has ended.

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
        nursery.start_soon(self.run, name="trio_batchmetrics")

    async def leave(self) -> BaseException | None:
        """Close, flush within the deadline, and return what must leave the block. For the library's own use."""
        saved = await _saved_interrupt()
        if self._forked:
            self._scope.cancel()
        else:
            self._collect()
            self._intake.close()
            for delivery in self._deliveries:
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
    async def run(self) -> None:
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
                for delivery in self._deliveries:
                    deliveries.start_soon(delivery.run)
                await self._flush_task.run()
                for delivery in self._deliveries:
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
