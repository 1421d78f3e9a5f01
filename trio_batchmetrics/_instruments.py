"""Bound instruments: labels resolved once, values aggregated in place, collected every ``flush_interval``.

An update is a few additions; there is nothing to drop. A collection takes what came since the last one and hands it on
as events: a ``Counter`` or ``Gauge``, a ``HistogramPoint`` for a histogram. What was not touched hands on nothing.

An update may be interrupted by a signal handler that updates the same instrument: between two calls CPython runs no
handler, and no update makes a call between reading and writing a sum.
"""

from __future__ import annotations

import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from datetime import timedelta
from threading import get_ident
from typing import Any, Protocol, TypeVar, cast

import trio

from ._config import BatchMetricsConfig, checked_bounds
from ._events import Counter, Gauge, HistogramPoint, captured
from ._exceptions import WrongThreadError
from ._schema import Kind, Measure
from ._text import text
from ._batch import Row
from ._validation import number

_MOST = sys.float_info.max
"""What a sum may come to: what a float holds. Compared without a call, so that no signal handler comes in between."""

__all__ = ["BoundCounter", "BoundGauge", "BoundHistogram", "Host", "Instruments"]

OVERFLOW: Mapping[str, Any] = {"otel.metric.overflow": "true"}
"""Labels of the series that all label sets beyond ``max_series`` share (OpenTelemetry's "cardinality limits")."""


class Host(Protocol):
    """What instruments need of their collector."""

    @property
    def state(self) -> str:
        """``open``, ``closed`` (updates count as closed) or ``disabled`` (they do nothing)."""
        ...

    def refuse(self, reason: str) -> None:
        """Count an event that is not taken."""
        ...

    def wake(self, call: Callable[[], object]) -> None:
        """Make a call that touches Trio, as soon as that is safe."""
        ...

    def now(self) -> float:
        """Return the time by the clock of the collector's Trio run, also after it."""
        ...


class _Bound:
    """What the three kinds share."""

    __slots__ = ("_host", "_measure", "_thread", "_touched", "labels", "name")

    def __init__(self, name: str, labels: Mapping[str, Any], measure: Measure, host: Host) -> None:
        self.name: str = name
        self.labels: Mapping[str, Any] = labels
        self._measure = measure
        self._host = host
        self._thread = get_ident()
        self._touched = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {dict(self.labels)!r}>"

    def _checked(self, value: object) -> Any:
        """Return a valid value, or None for one that is not to be taken (and is counted as it should be).

        Raises:
            WrongThreadError: another thread called it.
        """
        state = self._host.state
        if state == "disabled":
            return None
        if get_ident() != self._thread:
            raise WrongThreadError(
                f"{self!r} is updated from the thread of its Trio run; other threads use from_thread()"
            )
        if state == "closed":
            self._host.refuse("closed")
            return None
        good = number(value, self._measure)
        if good is None:
            self._host.refuse("invalid")
        return good

    def _overflow(self) -> None:
        """Leave the sum alone: with this value no float could hold it."""
        self._host.refuse("invalid")


class BoundCounter(_Bound):
    """A counter with its labels."""

    __slots__ = ("_sum",)

    def __init__(self, name: str, labels: Mapping[str, Any], measure: Measure, host: Host) -> None:
        """Made by ``collector.counter()``."""
        super().__init__(name, labels, measure, host)
        self._sum: float = 0

    @trio.lowlevel.enable_ki_protection
    def add(self, value: float = 1) -> None:
        """Add a value, an int or float >= 0.

        A bad one counts as one ``invalid`` event and leaves the sum alone; after the block, as one ``closed`` event.

        Raises:
            WrongThreadError: called from another thread than Trio's.
        """
        good = self._checked(value)
        if good is None:
            return
        total = self._sum + good
        if -_MOST <= total <= _MOST:
            self._sum = total
            self._touched = True
        else:
            self._overflow()

    def collect(self) -> Row | None:
        """Take what was added since the last collection; None if nothing was."""
        if not self._touched:
            return None
        total, self._sum, self._touched = self._sum, 0, False
        return (Counter, time.time_ns(), self.name, self.labels, total)


class BoundGauge(_Bound):
    """A gauge with its labels."""

    __slots__ = ("_value",)

    def __init__(self, name: str, labels: Mapping[str, Any], measure: Measure, host: Host) -> None:
        """Made by ``collector.gauge()``."""
        super().__init__(name, labels, measure, host)
        self._value: float = 0

    @trio.lowlevel.enable_ki_protection
    def set(self, value: float) -> None:
        """Set the value, an int or float.

        A bad one counts as one ``invalid`` event and leaves the value alone; after the block, as one ``closed`` event.

        Raises:
            WrongThreadError: called from another thread than Trio's.
        """
        good = self._checked(value)
        if good is not None:
            self._value = good
            self._touched = True

    @trio.lowlevel.enable_ki_protection
    def inc(self, value: float = 1) -> None:
        """Add to the value, which starts at 0. As :meth:`set` otherwise."""
        good = self._checked(value)
        if good is not None:
            self._change(good)

    @trio.lowlevel.enable_ki_protection
    def dec(self, value: float = 1) -> None:
        """Subtract from the value, which starts at 0. As :meth:`set` otherwise."""
        good = self._checked(value)
        if good is not None:
            self._change(-good)

    def _change(self, by: float) -> None:
        value = self._value + by
        if -_MOST <= value <= _MOST:
            self._value = value
            self._touched = True
        else:
            self._overflow()

    @contextmanager
    def track(self) -> Generator[None, None, None]:
        """Count what is in flight: one more inside the ``with`` block, one less after it, however it ends."""
        self.inc()
        try:
            yield
        finally:
            self.dec()

    def collect(self) -> Row | None:
        """Return the value; None if it was not touched since the last collection."""
        if not self._touched:
            return None
        self._touched = False
        return (Gauge, time.time_ns(), self.name, self.labels, self._value)


class BoundHistogram(_Bound):
    """A histogram with its labels."""

    __slots__ = ("_counts", "_sum", "bounds")

    def __init__(
        self, name: str, labels: Mapping[str, Any], measure: Measure, host: Host, bounds: tuple[float, ...]
    ) -> None:
        """Made by ``collector.histogram()``."""
        super().__init__(name, labels, measure, host)
        self.bounds: tuple[float, ...] = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum: float = 0

    @trio.lowlevel.enable_ki_protection
    def observe(self, value: float | timedelta) -> None:
        """Count a value, an int or float; in seconds, where that is the unit, also a ``timedelta``, and never negative.

        A bad one counts as one ``invalid`` event and leaves the counts alone; after the block, as one ``closed`` event.

        Raises:
            WrongThreadError: called from another thread than Trio's.
        """
        good = self._checked(value)
        if good is None:
            return
        bucket = bisect_left(self.bounds, good)
        total = self._sum + good
        if -_MOST <= total <= _MOST:
            self._counts[bucket] += 1
            self._sum = total
            self._touched = True
        else:
            self._overflow()

    @contextmanager
    def time(self) -> Generator[None, None, None]:
        """Observe how many seconds the ``with`` block takes, by Trio's clock, however it ends."""
        start = self._host.now()
        try:
            yield
        finally:
            self.observe(self._host.now() - start)

    def collect(self) -> Row | None:
        """Take what was observed since the last collection; None if nothing was."""
        if not self._touched:
            return None
        fresh = [0] * len(self._counts)
        counts, total, self._counts, self._sum, self._touched = self._counts, self._sum, fresh, 0, False
        return (
            HistogramPoint,
            time.time_ns(),
            self.name,
            self.labels,
            sum(counts),
            total,
            self.bounds,
            tuple(counts),
        )


_BoundT = TypeVar("_BoundT", BoundCounter, BoundGauge, BoundHistogram)


class _Family:
    """The instruments of one name."""

    def __init__(self, measure: Measure, bounds: tuple[float, ...]) -> None:
        self.measure = measure
        self.bounds = bounds
        self.members: dict[object, Any] = {}


class Instruments:
    """All bound instruments of a collector."""

    def __init__(self, config: BatchMetricsConfig, host: Host) -> None:
        """Make instruments for this collector."""
        self._config = config
        self._host = host
        self._families: dict[str, _Family] = {}
        self._callbacks: dict[object, tuple[str, Mapping[str, Any], Measure, Callable[[], float]]] = {}
        self.first: trio.Event = trio.Event()
        """Set once there is an instrument."""

    def counter(self, name: str, labels: Any, unit: str, description: str) -> BoundCounter:
        """Return the counter of that name and labels."""
        measure = _measure(Kind.COUNTER, name, unit, description)
        family, labels, key = self._family(measure, None, labels)

        def make(labels: Mapping[str, Any]) -> BoundCounter:
            return BoundCounter(name, labels, measure, self._host)

        return self._member(family, key, labels, make)

    def gauge(self, name: str, labels: Any, unit: str, description: str) -> BoundGauge:
        """Return the gauge of that name and labels."""
        measure = _measure(Kind.GAUGE, name, unit, description)
        family, labels, key = self._family(measure, None, labels)

        def make(labels: Mapping[str, Any]) -> BoundGauge:
            return BoundGauge(name, labels, measure, self._host)

        return self._member(family, key, labels, make)

    def histogram(
        self, name: str, labels: Any, unit: str, description: str, bounds: Iterable[float] | None
    ) -> BoundHistogram:
        """Return the histogram of that name and labels."""
        measure = _measure(Kind.HISTOGRAM, name, unit, description)
        own = checked_bounds("bounds", bounds) if bounds is not None else None
        family, labels, key = self._family(measure, own, labels)
        chosen = self._config.bounds.get(name) or family.bounds

        def make(labels: Mapping[str, Any]) -> BoundHistogram:
            return BoundHistogram(name, labels, measure, self._host, chosen)

        return self._member(family, key, labels, make)

    def observable(self, name: str, callback: Callable[[], float], labels: Any, unit: str, description: str) -> None:
        """Have a callback read at each collection."""
        if not callable(callback):
            raise ValueError(f"callback must be callable (got {callback!r})")  # noqa: TRY004 - one error for bad set-up, as the spec has it
        measure = _measure(Kind.GAUGE, name, unit, description)
        _, labels, key = self._family(measure, None, labels)
        if (name, key) in self._callbacks:
            raise ValueError(f"{name!r} with these labels is observed already")
        self._callbacks[name, key] = (name, labels, measure, callback)
        self._host.wake(self.first.set)

    def collect(self, failed: Callable[[str, Exception], object]) -> list[Row]:
        """Take what came since the last collection, as rows.

        Args:
            failed: told of a callback that raised: the instrument's name, and what.
        """
        members: list[Any] = [member for family in tuple(self._families.values()) for member in family.members.values()]
        points = [point for member in members if (point := member.collect()) is not None]
        for name, labels, measure, callback in tuple(self._callbacks.values()):
            try:
                value = callback()
            except Exception as exc:  # noqa: BLE001 - the application's callback: logged and skipped
                failed(name, exc)
                continue
            good = number(value, measure)
            if good is None:
                self._host.refuse("invalid")
            else:
                points.append((Gauge, time.time_ns(), name, labels, good))
        return points

    def _family(
        self, measure: Measure, bounds: tuple[float, ...] | None, labels: Any
    ) -> tuple[_Family, Mapping[str, Any], object]:
        copied = captured({} if labels is None else labels)
        if not isinstance(copied, dict):
            raise ValueError(f"labels must be a mapping (got {labels!r})")  # noqa: TRY004 - one error for bad set-up, as the spec has it
        pairs = cast("dict[str, Any]", copied)
        key = frozenset((text(name), string) for name, value in pairs.items() if (string := text(value)) is not None)
        family = self._families.setdefault(measure.name, _Family(measure, bounds or measure.default_bounds))
        known = family.measure
        if (known.kind, known.unit) != (measure.kind, measure.unit):
            raise ValueError(
                f"{measure.name!r} is a {known.kind.value} in {known.unit!r} already "
                f"(asked for a {measure.kind.value} in {measure.unit!r})"
            )
        if bounds is not None and bounds != family.bounds:
            raise ValueError(f"{measure.name!r} has other bounds already ({family.bounds})")
        return family, pairs, key

    def _member(
        self,
        family: _Family,
        key: object,
        labels: Mapping[str, Any],
        make: Callable[[Mapping[str, Any]], _BoundT],
    ) -> _BoundT:
        self._host.wake(self.first.set)
        if key not in family.members and len(family.members) >= self._config.max_series:
            key, labels = frozenset(OVERFLOW.items()), OVERFLOW
        member: _BoundT = family.members.get(key) or family.members.setdefault(key, make(labels))
        return member


def _measure(kind: Kind, name: object, unit: object, description: object) -> Measure:
    if not isinstance(name, str) or not name:
        raise ValueError(f"an instrument's name must be a non-empty str (got {name!r})")
    if not isinstance(unit, str) or not isinstance(description, str):
        raise ValueError(f"unit and description must be str (got {unit!r}, {description!r})")  # noqa: TRY004 - as above
    return Measure(None, kind, name, unit, description)
