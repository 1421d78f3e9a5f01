"""The collector: what an application records with, and asks. What runs behind it is the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import trio

from .._events import MetricEvent, event_by_value, is_event
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
    """Records events and keeps account of them; made by :func:`collector`.

    Every synchronous call works in any thread, in a signal handler, in ``__del__`` and in a logging handler. Only
    :meth:`arecord` and :meth:`flush` belong to the thread of its Trio run.
    """

    def __init__(self, engine: Engine) -> None:
        """Made by :func:`collector`."""
        self._engine = engine
        super().__init__(engine.buffer, engine.host)

    def __repr__(self) -> str:
        """Show whether it is open, and its account."""
        return f"<BatchMetricsCollector {self._engine.host.state}: {self.stats()}>"

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
        if self._engine.config.enabled and is_event(event):
            await self._engine.buffer.put_when_room(event_by_value(event))
            return
        await trio.lowlevel.checkpoint_if_cancelled()
        self.record(event)
        await trio.lowlevel.cancel_shielded_checkpoint()

    def from_thread(self) -> ThreadRecorder:
        """Return a recorder for other threads. It may be kept, shared, and used after the block."""
        return ThreadRecorder(self._engine.buffer, self._engine.host)

    @trio.lowlevel.enable_ki_protection
    def counter(
        self, name: str, *, labels: Mapping[str, Any] | None = None, unit: str = "", description: str = ""
    ) -> BoundCounter:
        """Return a bound counter: ``.add(v=1)``. The same name, labels and unit give the same object.

        In any thread, a signal handler, ``__del__``, a logging handler; never a checkpoint, and it waits for no lock.
        Label values are the same if they are equal and of the same type: 1, 1.0, True and "1" are four. Beyond
        ``max_series`` label sets of a name, the rest share one instrument, labelled ``otel.metric.overflow="true"``.

        Args:
            name: the instrument's name, not empty.
            labels: its label values, copied.
            unit: its unit (UCUM), such as ``By`` or ``{token}``.
            description: one sentence for people.

        Raises:
            ValueError: the name is another kind's or has another unit already.
        """
        return self._engine.instruments.counter(name, labels, unit, description)

    @trio.lowlevel.enable_ki_protection
    def gauge(
        self, name: str, *, labels: Mapping[str, Any] | None = None, unit: str = "", description: str = ""
    ) -> BoundGauge:
        """Return a bound gauge: ``.set(v)``, ``.inc(v=1)``, ``.dec(v=1)``, ``with .track():``. As :meth:`counter`."""
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
        """Have ``callback()`` called at each collection while the block's body runs, and its result set a gauge.

        A callback that raises an ``Exception`` is logged, once a minute, and skipped; a bad value counts as
        ``invalid``. It is never called after the body has ended, nor after ``close()`` of what is returned.

        Args:
            name: the instrument's name, not empty.
            callback: synchronous and quick; called in Trio's thread. It returns a number, or pairs ``(labels, number)``
                whose labels are added to the instrument's; of two pairs with the same labels, the later one wins.
            labels: its label values, copied.
            unit: its unit (UCUM).
            description: one sentence for people.

        Returns:
            The gauge, which has ``close()``.

        Raises:
            ValueError: the name is another kind's or has another unit, these labels are observed already, or the
                callback is asynchronous.
        """
        return self._engine.instruments.observable_gauge(name, callback, labels, unit, description)

    @trio.lowlevel.enable_ki_protection
    def describe(
        self, name: str, *, unit: str = "", description: str = "", bounds: Iterable[float] | None = None
    ) -> None:
        """Declare what a name means to the recorders that take a name, such as :meth:`record_histogram`.

        It applies to events recorded from now on. In any thread; no checkpoint.

        Args:
            name: the instruments' name, not empty.
            unit: their unit (UCUM), such as ``s``, ``By`` or ``{token}``.
            description: one sentence for people; the first that is given for a name is kept.
            bounds: bucket bounds of a histogram, rising; the configuration's win; by default those that suit the unit.

        Raises:
            ValueError: the name has another unit or other bounds already, by an earlier declaration or an instrument.

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
        """Return the account as it stands: synchronous, cheap, at any time, from any thread, also after the run."""
        return self._engine.stats()

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
        return await self._engine.flush()
