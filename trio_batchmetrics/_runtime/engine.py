"""What runs behind a collector: every part put together, every task, and how they end.

How this works
==============

One child task, :meth:`Engine.run`, runs every task of the library in a shielded scope of its own: the flush task, a
delivery task for each sink, one that collects bound instruments and one that reports loss. No cancellation from outside
reaches them; leaving the block sets the scope's deadline (:mod:`.lifetime`).

Whatever ends the child, ``Ledger.fail_rest`` runs last: nothing is pending after the block. In a forked child nothing
is settled: what was pending is the parent's to send.
"""

from __future__ import annotations

import os
import uuid
import weakref
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import attrs
import trio

from .._buffer import Intake
from .._concurrency import Turn, Waker
from .._config import BatchMetricsConfig
from .._delivery import EventDelivery, SeriesDelivery
from .._events import InvalidError, InvalidEvents, ReadOnlyDict, Row, text
from .._ledger import Account, BatchMetricsStats, FlushReport, Ledger, LossReporter, warn
from .._recording import Instruments
from ..abc import EventSink, SinkContext
from .flush_task import FlushTask
from .process_name import process_name

__all__ = ["Engine"]


class Engine:
    """All parts of one collector. Made, started and left in Trio's thread."""

    def __init__(self, config: BatchMetricsConfig, sinks: Mapping[str, Any]) -> None:
        """Put the parts together; no I/O.

        Args:
            config: the settings.
            sinks: event and series sinks by name.
        """
        self.config: BatchMetricsConfig = config
        accounts = [Account(name, series=not isinstance(sink, EventSink)) for name, sink in sinks.items()]
        self.ledger: Ledger = Ledger(accounts)
        self._clock = trio.lowlevel.current_clock()
        self._waker = Waker()
        self._invalid = InvalidEvents(self._clock.current_time)
        self._reporter = LossReporter(self.ledger, self._waker, self._invalid)
        turn = Turn()
        self.intake: Intake = Intake(config, self.ledger, self._waker, self._clock, self._reporter, turn)
        self.instruments: Instruments = Instruments(config, self)
        self._reporter.overflowing = self._overflowed
        self._forked = False
        self._flushes: set[trio.Event] = set()
        self._scope = trio.CancelScope(shield=True)
        self._done = trio.Event()
        self._event_sinks: list[EventDelivery] = []
        self._series_sinks: list[SeriesDelivery] = []
        self._flush_task = FlushTask(
            self.intake,
            self.ledger,
            self._event_sinks,
            self._series_sinks,
            self._clock,
            turn,
            config.buffer_size,
            self._invalid,
        )
        self.number: int = 0
        """Which of the open collectors of this process it is: the smallest number from 1 on that no other has."""
        _engines.add(self)
        try:
            self._connect(accounts, sinks)
        except BaseException:
            self._done.set()  # it never opens
            raise
        self._deliveries: tuple[EventDelivery | SeriesDelivery, ...] = (*self._event_sinks, *self._series_sinks)

    def _connect(self, accounts: list[Account], sinks: Mapping[str, Any]) -> None:
        """Give each sink its delivery."""
        run_id = uuid.uuid4().hex
        context = attrs.evolve(
            _context(self.config, self.instruments, run_id), instance=self._instance(), hand_over=self.hand_over
        )
        trouble = self._reporter.trouble
        for account, sink in zip(accounts, sinks.values(), strict=True):
            if self.config.enabled:
                sink.bind(context)
            if account.series:
                self._series_sinks.append(SeriesDelivery(sink, account, self.ledger, run_id=run_id, trouble=trouble))
            else:
                self._event_sinks.append(
                    EventDelivery(
                        sink,
                        account,
                        self.ledger,
                        capacity=self.config.buffer_size,
                        run_id=run_id,
                        freed=self._flush_task.room_freed,
                        trouble=trouble,
                    )
                )

    def _instance(self) -> str:
        """Take a number, and return what this collector is called among all that report."""
        self.number = 1
        # Taken before it is looked whether it is free: two threads may open at the same time.
        while self.number in (taken := {other.number for other in _open_engines() if other is not self}):
            while self.number in taken:
                self.number += 1
        name = process_name()
        return name if self.number == 1 else f"{name}:{self.number}"

    @property
    def is_open(self) -> bool:
        """Whether it runs in this process, or is about to."""
        return self.config.enabled and not self._forked and not self._done.is_set()

    # -- what instruments need of it

    @property
    def state(self) -> str:
        """``open``, ``closed`` (what is recorded counts as closed) or ``disabled`` (it does not count)."""
        if not self.config.enabled:
            return "disabled"
        return "closed" if self.intake.closed else "open"

    def wake(self, call: Callable[[], object]) -> None:
        """Make a call that touches Trio, as soon as that is safe."""
        self._waker(call)

    def trouble(self) -> None:
        """Have the log looked after, soon, by the reporter's task; nothing is logged in the call."""
        self._reporter.trouble()

    def abandon(self) -> None:
        """Leave at once."""
        self._scope.cancel()

    def now(self) -> float:
        """Return the time by the clock of the Trio run, also after it."""
        return self._clock.current_time()

    def refuse(self, reason: str, fault: InvalidError | None = None) -> None:
        """Count an event that is none, by reason; as ``closed`` after the block.

        Raises:
            WrongThreadError: called from another thread than Trio's.
        """
        self.intake.check_thread()
        self.refuse_from_thread(reason, fault)

    def refuse_from_thread(self, reason: str, fault: InvalidError | None = None) -> None:
        """Count an event that is not one, from any thread; as ``closed`` after the block.

        Args:
            reason: why it is not taken.
            fault: what makes it invalid, to be logged.
        """
        if fault is not None and self.state == "open":
            self._invalid.note(fault)
        self.intake.refuse("closed" if self.intake.closed else reason)

    # -- the account

    def stats(self) -> BatchMetricsStats:
        """Return the account as it stands."""
        last = self._flush_task.last_flush
        stats = self.ledger.snapshot(None if last is None else self.now() - last)
        overflowed = {name: count for name, count in self._overflowed().items() if count}
        return attrs.evolve(stats, overflowed=overflowed) if overflowed else stats

    def _overflowed(self) -> dict[str, int]:
        """Return by instrument how many events and updates lost their labels, the largest count of any."""
        counts = dict.fromkeys(self.instruments.overflowing, 0)
        for other in (self.instruments.overflowed, *(sink.overflowed for sink in self._series_sinks)):
            for name, count in other.items():
                counts[name] = max(count, counts.get(name, 0))
        return counts

    async def flush(self) -> FlushReport:
        """Hand over what is open, collect the bound instruments, wait until all of it is settled. A checkpoint."""
        self.intake.check_thread()
        if not self.config.enabled or self._forked or self.ledger.ended:
            await trio.lowlevel.checkpoint()
            return FlushReport(pending=self.ledger.pending)
        self._collect()
        done, task = trio.Event(), trio.lowlevel.current_task()
        self._flushes.add(done)
        self._waker.fragile.add(task)
        watch = self.intake.watch(done.set)
        try:
            await done.wait()
        finally:
            self._flushes.discard(done)
            self._waker.fragile.discard(task)
            report = self.ledger.report(watch)
            self.ledger.unwatch(watch)
        return report

    async def hand_over(self) -> None:
        """Collect the bound instruments, and wait until the flush task has handed over all that waits. A checkpoint.

        Once the block is left it does nothing.
        """
        if self.intake.closed:
            await trio.lowlevel.checkpoint()
            return
        self._collect()
        self.intake.hurry()
        await self._flush_task.wait_handed_over(self.intake.announced)

    # -- its life

    async def leave(self) -> BaseException | None:
        """Close, flush within the deadline, and return what must leave the block."""
        self.instruments.stop_reading()
        saved = await _saved_interrupt()
        if self._forked:
            self._scope.cancel()
        else:
            self.instruments.close()  # before the last collection, so that no update comes after it
            self._collect()
            self.intake.close()
            for delivery in self._deliveries:
                delivery.hurry()
            if self.config.shutdown_timeout == 0:
                self._scope.cancel()
            self._scope.deadline = trio.current_time() + self.config.shutdown_timeout
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
            try:
                if not self._forked:
                    self.instruments.close()
                    self.intake.close()
                    self._give_up_points()
                    self.ledger.fail_rest(reason)
                    self._waker.finish()
                    self._reporter.tell_at_the_end()
            finally:
                self._done.set()

    async def _run_tasks(self) -> None:
        self._waker.fragile.add(trio.lowlevel.current_task())
        async with trio.open_nursery() as helpers:
            helpers.start_soon(self._waker.run)
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
        self._waker.fragile.add(trio.lowlevel.current_task())
        await self.instruments.first.wait()
        due = trio.current_time()
        while True:
            due = max(due + self.config.flush_interval, trio.current_time())
            await trio.sleep_until(due)
            if not self.intake.points_waiting:
                self._collect()

    def _collect(self) -> None:
        """Hand on what came since the last collection."""
        if self.intake.closed:
            return
        points: list[Row] = []
        try:
            self._take_points(points)
        finally:
            if points:  # whatever ended it, these are taken
                self.intake.put_points(points)

    def _give_up_points(self) -> None:
        """Count what no collection has taken: after a crash, or where the last one failed."""
        points: list[Row] = []
        self._take_points(points)
        if points:
            self.ledger.record_points(points)

    def _take_points(self, points: list[Row]) -> None:
        try:
            self.instruments.collect(points)
        except Exception as exc:  # noqa: BLE001 - it costs this collection: what was not taken stays in the instruments
            warn("metrics: a collection of the instruments failed; the next one takes the rest", error=exc)

    def forked(self) -> None:
        """Be still, in a forked child: recorders count ``closed``, nothing is sent."""
        self._forked = True
        self._reporter.be_still()
        self.instruments.close()
        self.intake.close_in_child()
        self._waker.close()
        if trio.lowlevel.in_trio_task():
            self._scope.cancel()
            for event in tuple(self._flushes):
                event.set()


async def _saved_interrupt() -> KeyboardInterrupt | None:
    """Return a Ctrl-C that came while a recorder was protected from it: it belongs to the body, not to the flush."""
    try:
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
    except KeyboardInterrupt as interrupt:
        return interrupt
    return None


def _context(config: BatchMetricsConfig, instruments: Instruments, run_id: str) -> SinkContext:
    static = {name: string for name, value in config.static_labels.items() if (string := text(value)) is not None}
    return SinkContext(
        static_labels=ReadOnlyDict(static),
        enable_compression=config.enable_compression,
        max_series=config.max_series,
        bounds=ReadOnlyDict(config.bounds),
        run_id=run_id,
        declared=MappingProxyType(instruments.declared),
        bound=instruments.bound,
    )


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()
"""Every engine of this process; only the fork hook and :func:`_open_engines` look at it."""


def _open_engines() -> list[Engine]:
    while True:
        try:
            return [one for one in _engines if one.is_open]
        except RuntimeError:  # another thread has added one meanwhile
            continue


def _after_fork_in_child() -> None:
    for one in tuple(_engines):
        one.forked()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
