"""The engine of one collector: assembles its parts, runs every task, and ends them.

How this works
==============

One child task, :meth:`Engine.run`, runs every library task inside its own shielded scope: the flush task, one delivery
task per sink, one task that collects bound instruments, one that reports losses, and one that makes the waker's calls.
No cancellation from outside reaches them; leaving the block sets the scope's deadline (:mod:`.lifetime`).

However the child task ends, ``Ledger.fail_pending`` runs last, so nothing is pending after the block. In a forked
child, nothing is settled: the parent delivers the pending events.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import attrs
import trio

from .._buffer import Buffer
from .._concurrency import Turn, Waker
from .._config import BatchMetricsConfig
from .._delivery import EventDelivery, RoomSignal, SeriesDelivery
from .._events import InvalidEvents, Origin, ReadOnlyDict, text
from .._ledger import BatchMetricsStats, FlushReport, Ledger, LossReporter, SinkCounters, warn
from .._ownership import Holder
from .._recording import Host, Instruments
from ..abc import EventSink, SinkContext
from .collection import Collection
from .flush_task import FlushTask
from .fork import instance_name, register_for_fork

__all__ = ["Engine"]


class Engine:
    """All parts of one collector. It is created, started and left in Trio's thread."""

    number: int = 0

    def __init__(self, config: BatchMetricsConfig, sinks: Mapping[str, Any]) -> None:
        """Assemble the parts. No I/O.

        Args:
            config: the settings.
            sinks: the event and series sinks, by name.
        """
        self.config: BatchMetricsConfig = config
        counters = [SinkCounters(name, series=not isinstance(sink, EventSink)) for name, sink in sinks.items()]
        self.ledger: Ledger = Ledger(counters)
        self._clock = clock = trio.lowlevel.current_clock()
        self._waker = Waker()
        invalid = InvalidEvents(clock.current_time)
        self._reporter = LossReporter(
            self.ledger, self._waker, invalid, self._overflowed, lambda: self.instruments.first_over_limit
        )
        turn = Turn()
        room = RoomSignal(turn)
        self.buffer: Buffer = Buffer(config, self.ledger, self._waker, clock, self._reporter, turn, room.notify)
        origin = _origin(config)
        self.host: Host = Host(
            self.buffer, self._waker, self._reporter, invalid, clock, origin.classes, enabled=config.enabled
        )
        self.instruments: Instruments = Instruments(config, self.host)
        self._collection = Collection(self.instruments, self.buffer, self.ledger, self._waker, config.flush_interval)
        self._forked = False
        self._flushes: set[trio.Event] = set()
        self._scope = trio.CancelScope(shield=True)
        self._done = trio.Event()
        self._event_sinks: list[EventDelivery] = []
        self._series_sinks: list[SeriesDelivery] = []
        self._flush_task = FlushTask(
            self.buffer,
            self.ledger,
            self._event_sinks,
            self._series_sinks,
            waker=self._waker,
            clock=clock,
            turn=turn,
            room=room,
            invalid=invalid,
            origin=origin,
        )
        register_for_fork(self)
        try:
            self._bind_sinks(counters, sinks, room, origin)
        except BaseException:
            self._done.set()  # the engine never opens
            self._waker.close()
            raise
        if not config.enabled:
            self._waker.close()  # no task of the library runs, so none has to be woken
        self._deliveries: tuple[EventDelivery | SeriesDelivery, ...] = (*self._event_sinks, *self._series_sinks)

    def _bind_sinks(
        self, counters: list[SinkCounters], sinks: Mapping[str, Any], room: RoomSignal, origin: Origin
    ) -> None:
        """Bind each sink and create its delivery."""
        run_id = origin.run_id
        context = attrs.evolve(
            _context(self.config, self.instruments, origin), instance=instance_name(self), hand_over=self.hand_over
        )
        report = self._reporter.notify
        for one, sink in zip(counters, sinks.values(), strict=True):
            if self.config.enabled:
                sink.bind(attrs.evolve(context, is_open=Holder(sink).still_holds))
            if one.series:
                self._series_sinks.append(SeriesDelivery(sink, one, self.ledger, run_id=run_id, report=report))
            else:
                self._event_sinks.append(
                    EventDelivery(
                        sink,
                        one,
                        self.ledger,
                        capacity=self.config.buffer_size,
                        run_id=run_id,
                        room=room,
                        report=report,
                    )
                )

    @property
    def is_open(self) -> bool:
        """Whether the engine runs in this process, or is about to."""
        return self.config.enabled and not self._forked and not self._done.is_set()

    # -- the account

    def stats(self) -> BatchMetricsStats:
        """Return the current account."""
        last = self._flush_task.last_flush
        stats = self.ledger.snapshot(None if last is None else self._clock.current_time() - last)
        overflowed = {name: count for name, count in self._overflowed().items() if count}
        return attrs.evolve(stats, overflowed=overflowed) if overflowed else stats

    def _overflowed(self) -> dict[str, int]:
        """Return how many events and updates lost their labels, by instrument: the largest count of any source."""
        counts = dict.fromkeys(self.instruments.overflowing, 0)
        for other in (self.instruments.overflowed, *(sink.overflowed for sink in self._series_sinks)):
            for name, count in other.items():
                counts[name] = max(count, counts.get(name, 0))
        return counts

    async def flush(self) -> FlushReport:
        """Collect the bound instruments and wait until everything pending is settled. Always a checkpoint."""
        self.buffer.check_thread()
        if not self.config.enabled or self._forked or self.ledger.recorded.ended:
            await trio.lowlevel.checkpoint()
            return FlushReport(pending=self.ledger.pending)
        self._collection.collect()
        done, task = trio.Event(), trio.lowlevel.current_task()
        self._flushes.add(done)
        self._waker.woken.add(task)
        waiter = self.buffer.add_waiter(done.set)
        try:
            await done.wait()
        finally:
            self._flushes.discard(done)
            self._waker.woken.discard(task)
            report = self.ledger.report(waiter)
            self.ledger.remove_waiter(waiter)
        return report

    async def hand_over(self) -> None:
        """Collect the bound instruments, and wait until the flush task has handed over all waiting events.

        Always a checkpoint. Does nothing once the block is being left.
        """
        if self.buffer.closed:
            await trio.lowlevel.checkpoint()
            return
        self._collection.collect()
        self.buffer.seal_open_batch()
        await self._flush_task.wait_handed_over(self.buffer.newest)

    # -- life cycle

    def abandon(self) -> None:
        """Cancel every task at once."""
        self._scope.cancel()

    async def leave(self) -> BaseException | None:
        """Close and flush within the deadline. Returns an exception that must leave the block, or None."""
        self.instruments.stop_callbacks()
        interrupt_to_raise = await _deferred_interrupt()
        if self._forked:
            self._scope.cancel()
        else:
            self.instruments.close()  # before the last collection, so that it misses no update
            self._collection.collect()
            self.buffer.close()
            for delivery in self._deliveries:
                delivery.begin_shutdown()
            if self.config.shutdown_timeout == 0:
                self._scope.cancel()
            self._scope.deadline = trio.current_time() + self.config.shutdown_timeout
        try:
            with trio.CancelScope(shield=True):
                await self._done.wait()
        except KeyboardInterrupt as interrupt:
            self._scope.cancel()
            interrupt_to_raise = interrupt
        return interrupt_to_raise

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Run every library task until the block is left and everything is settled."""
        reason = "shutdown"
        try:
            with self._scope:
                await self._run_tasks()
        except Exception as exc:  # noqa: BLE001 - a bug in this library must not reach the application: logged, counted
            reason = "crash"
            warn("metrics: the collector has crashed; events recorded from now on count as closed", error=exc)
        finally:
            try:
                if not self._forked:
                    self.instruments.close()
                    self.buffer.close()
                    self._collection.give_up()
                    self.ledger.fail_pending(reason)
                    self._waker.finish()
                    self._reporter.report_at_the_end()
            finally:
                self._done.set()

    async def _run_tasks(self) -> None:
        async with trio.open_nursery() as helpers:
            helpers.start_soon(self._waker.run)
            helpers.start_soon(self._collection.run)
            helpers.start_soon(self._reporter.run)
            async with trio.open_nursery() as deliveries:
                for delivery in self._deliveries:
                    deliveries.start_soon(delivery.run)
                await self._flush_task.run()
            helpers.cancel_scope.cancel()

    def forked(self) -> None:
        """Stop in a forked child: recorded events count as ``closed``, and nothing is sent."""
        self._forked = True
        self._reporter.mute()
        self.instruments.close()
        self.buffer.close_in_child()
        self._waker.close()
        if trio.lowlevel.in_trio_task():
            self._scope.cancel()
            for event in tuple(self._flushes):
                event.set()


async def _deferred_interrupt() -> KeyboardInterrupt | None:
    """Return a Ctrl-C that was deferred while a recorder ran: it belongs to the body, not to the flush."""
    try:
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
    except KeyboardInterrupt as interrupt:
        return interrupt
    return None


def _origin(config: BatchMetricsConfig) -> Origin:
    static = {name: string for name, value in config.static_labels.items() if (string := text(value)) is not None}
    return Origin(uuid.uuid4().hex, ReadOnlyDict(static))


def _context(config: BatchMetricsConfig, instruments: Instruments, origin: Origin) -> SinkContext:
    return SinkContext(
        static_labels=origin.static_labels,
        enable_compression=config.enable_compression,
        max_series=config.max_series,
        max_instruments=config.max_instruments,
        bounds=ReadOnlyDict(config.bounds),
        run_id=origin.run_id,
        declared=MappingProxyType(instruments.declared),
        bound=instruments.bound,
        origin=origin,
    )
