"""The collector: the object with which an application records events and reads statistics. The engine does the work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import trio

from .._events import MetricEvent, is_event, row_of_event
from .._ledger import BatchMetricsStats, FlushReport
from .._recording import (
    BoundCounter,
    BoundGauge,
    BoundHistogram,
    ObservableGauge,
    Observation,
    Recorder,
    ThreadRecorder,
)
from .._reprs import tolerant_repr
from .engine import Engine

__all__ = ["BatchMetricsCollector"]


@tolerant_repr
class BatchMetricsCollector(Recorder):
    """Records events and accounts for every one of them. Entering the block of :func:`collector` returns it.

    Every synchronous call works in any thread, in a signal handler, in ``__del__`` and in a logging handler. Only
    :meth:`arecord` and :meth:`flush` must be called in the thread of the collector's Trio run.
    """

    def __init__(self, engine: Engine) -> None:
        """Create the collector of an engine. Call :func:`collector` instead."""
        self._engine = engine
        super().__init__(engine.buffer, engine.host)

    def __repr__(self) -> str:
        """Return the collector's state and account."""
        return f"<BatchMetricsCollector {self._engine.host.state}: {self.stats()}>"

    @trio.lowlevel.enable_ki_protection
    async def arecord(self, event: MetricEvent | object) -> None:
        """Record an event as soon as there is room, instead of dropping it. Waiting calls are served in FIFO order.

        Always a checkpoint. A cancelled call has recorded nothing: limit the wait with a cancel scope. If the block is
        left during the wait, the event counts as ``closed`` and the call returns.

        Args:
            event: any :class:`MetricEvent`; anything else counts as ``invalid``.

        Raises:
            WrongThreadError: called outside Trio's thread.
        """
        if self._engine.config.enabled and is_event(event):
            await self._engine.buffer.put_when_room(row_of_event(event))
            return
        await trio.lowlevel.checkpoint_if_cancelled()
        self.record(event)
        await trio.lowlevel.cancel_shielded_checkpoint()

    def from_thread(self) -> ThreadRecorder:
        """Return a recorder for other threads. It may be kept, shared between threads, and used after the block."""
        return ThreadRecorder(self._engine.buffer, self._engine.host)

    @trio.lowlevel.enable_ki_protection
    def counter(
        self, name: str, *, labels: Mapping[str, Any] | None = None, unit: str = "", description: str = ""
    ) -> BoundCounter:
        """Return a bound counter: ``.add(v=1)``. The same name, labels and unit give the same object.

        Works in any thread, in a signal handler, in ``__del__`` and in a logging handler. Never a checkpoint; waits for
        no lock. Two label values are the same if they are equal and of the same type: 1, 1.0, True and "1" are four
        different values. Beyond ``max_series`` label sets per name, the rest share one instrument, labelled
        ``otel.metric.overflow="true"``. Beyond ``max_instruments`` names, an instrument drops its updates
        (``too_many_instruments``).

        Args:
            name: the instrument's name, not empty.
            labels: its label values, copied.
            unit: its unit (UCUM), such as ``By`` or ``{token}``.
            description: one sentence for human readers.

        Raises:
            ValueError: the name already belongs to another kind of instrument, or has another unit.
        """
        return self._engine.instruments.counter(name, labels, unit, description)

    @trio.lowlevel.enable_ki_protection
    def gauge(
        self, name: str, *, labels: Mapping[str, Any] | None = None, unit: str = "", description: str = ""
    ) -> BoundGauge:
        """Return a bound gauge: ``.set(v)``, ``.inc(v=1)``, ``.dec(v=1)``, ``with .track():``.

        The guarantees and arguments are those of :meth:`counter`.
        """
        return self._engine.instruments.gauge(name, labels, unit, description)

    @trio.lowlevel.enable_ki_protection
    def histogram(
        self,
        name: str,
        *,
        labels: Mapping[str, Any] | None = None,
        unit: str = "",
        description: str = "",
        bounds: Iterable[float] | None = None,
    ) -> BoundHistogram:
        """Return a bound histogram: ``.observe(v)``, ``with .time():``.

        The guarantees are those of :meth:`counter`.

        Args:
            name: the instrument's name, not empty.
            labels: its label values, copied.
            unit: its unit (UCUM); values in ``s`` are never negative and may be ``timedelta``.
            description: one sentence for human readers.
            bounds: bucket bounds, in increasing order. Bounds in the configuration take precedence; the default suits
                the unit.

        Raises:
            ValueError: the name already belongs to another kind of instrument, or has another unit or other bounds.
        """
        return self._engine.instruments.histogram(name, labels, unit, description, bounds)

    @trio.lowlevel.enable_ki_protection
    def observable_gauge(
        self,
        name: str,
        callback: Callable[[], Observation],
        *,
        labels: Mapping[str, Any] | None = None,
        unit: str = "",
        description: str = "",
    ) -> ObservableGauge:
        """Call ``callback()`` at each collection while the block's body runs, and set a gauge to its result.

        If the callback raises an ``Exception``, it is skipped, and the error is logged at most once per minute. A bad
        value counts as ``invalid``. The callback is never called after the body has ended, nor after ``close()`` of the
        returned gauge.

        Args:
            name: the instrument's name, not empty.
            callback: synchronous and quick; called in Trio's thread. It returns a number, or pairs ``(labels, number)``
                whose labels are added to the instrument's; of two pairs with the same labels, the later one wins.
            labels: its label values, copied.
            unit: its unit (UCUM).
            description: one sentence for human readers.

        Returns:
            The gauge, which has ``close()``.

        Raises:
            ValueError: the name already belongs to another kind of instrument or has another unit, these labels are
                already observed, or the callback is asynchronous.
        """
        return self._engine.instruments.observable_gauge(name, callback, labels, unit, description)

    @trio.lowlevel.enable_ki_protection
    def describe(
        self, name: str, *, unit: str = "", description: str = "", bounds: Iterable[float] | None = None
    ) -> None:
        """Declare the unit, description and bounds of a name, for recorders such as :meth:`record_histogram`.

        The declaration applies to events recorded from now on. Works in any thread; never a checkpoint.

        Args:
            name: the instruments' name, not empty.
            unit: their unit (UCUM), such as ``s``, ``By`` or ``{token}``.
            description: one sentence for human readers; the first one given for a name is kept.
            bounds: bucket bounds of a histogram, in increasing order. Bounds in the configuration take precedence; the
                default suits the unit.

        Raises:
            ValueError: an earlier declaration or an instrument has given the name another unit or other bounds.

        Example:
            >>> import trio
            >>> from trio_batchmetrics import collector
            >>> async def main():
            ...     async with collector(sinks=[]) as metrics:
            ...         metrics.describe("job.duration", unit="s", description="How long jobs take.")
            ...         metrics.record_histogram("job.duration", {"queue": "mail"}, 0.25)
            >>> trio.run(main)
        """
        self._engine.instruments.describe(name, unit, description, bounds)

    def stats(self) -> BatchMetricsStats:
        """Return the current account. Synchronous and cheap; works at any time, in any thread, even after the run."""
        return self._engine.stats()

    @trio.lowlevel.enable_ki_protection
    async def flush(self) -> FlushReport:
        """Hand over the open batch, collect the bound instruments, and wait until all recorded events are settled.

        Always a checkpoint. There is no timeout argument: use a cancel scope. If the block is left meanwhile, the call
        returns once the final flush has ended.

        Returns:
            The outcomes of all events that were pending at the call, including the points it collects.

        Raises:
            WrongThreadError: called outside Trio's thread.
        """
        return await self._engine.flush()
