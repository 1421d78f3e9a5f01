"""The collector: what an application records with, and asks. What runs behind it is the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import trio

from ._engine import Engine
from ._instruments import BoundCounter, BoundGauge, BoundHistogram, Instruments
from ._recording import IntakeRecorder, ThreadRecorder
from ._reprs import tolerant_repr
from ._schema import MetricEvent, is_event
from ._stats import BatchMetricsStats, FlushReport

__all__ = ["BatchMetricsCollector"]


@tolerant_repr
class BatchMetricsCollector(IntakeRecorder):
    """Records events and keeps account of them; made by :func:`collector`.

    Its methods belong to the thread of its Trio run, ``from_thread()``'s recorder and ``stats()`` to any.
    """

    def __init__(self, engine: Engine) -> None:
        """Made by :func:`collector`."""
        self._engine = engine
        super().__init__(engine.intake, engine.refuse)

    def __repr__(self) -> str:
        """Show whether it is open, and its account."""
        return f"<BatchMetricsCollector {self._engine.state}: {self.stats()}>"

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
            await self._engine.intake.put_when_room(event)
            return
        await trio.lowlevel.checkpoint_if_cancelled()
        self.record(event)
        await trio.lowlevel.cancel_shielded_checkpoint()

    def from_thread(self) -> ThreadRecorder:
        """Return a recorder for other threads. It may be kept, shared, and used after the block."""
        return ThreadRecorder(self._engine.intake.put_from_thread, self._engine.refuse_from_thread)

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
        return self._instruments().counter(name, labels, unit, description)

    def gauge(
        self, name: str, *, labels: Mapping[str, Any] | None = None, unit: str = "", description: str = ""
    ) -> BoundGauge:
        """Return a bound gauge: ``.set(v)``, ``.inc(v=1)``, ``.dec(v=1)``, ``with .track():``. As :meth:`counter`."""
        return self._instruments().gauge(name, labels, unit, description)

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
        return self._instruments().histogram(name, labels, unit, description, bounds)

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
        self._instruments().observable(name, callback, labels, unit, description)

    def _instruments(self) -> Instruments:
        self._engine.intake.check_thread()
        return self._engine.instruments

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
