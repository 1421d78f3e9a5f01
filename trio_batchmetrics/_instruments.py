"""Bound instruments: labels resolved once, values aggregated in place, collected every ``flush_interval``.

There is nothing to drop. A collection takes what came since the last one and hands it on as events: a ``Counter`` or
``Gauge``, a ``HistogramPoint`` for a histogram. What was not touched hands on nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

import attrs
import trio

from ._batch import Row
from ._bound import BoundCounter, BoundGauge, BoundHistogram, Host
from ._config import BatchMetricsConfig, checked_bounds
from ._events import Gauge
from ._schema import OVERFLOW, Kind, Measure
from ._validation import number
from ._values import captured, text

__all__ = ["BoundCounter", "BoundGauge", "BoundHistogram", "Instruments"]

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
        self.declared: dict[str, Measure] = {}
        """The instruments by name, with the bounds that they have."""
        self._callbacks: dict[object, tuple[str, Mapping[str, Any], Measure, Callable[[], float]]] = {}
        self.first: trio.Event = trio.Event()
        """Set once there is an instrument."""

    def counter(self, name: str, labels: Any, unit: str, description: str) -> BoundCounter:
        """Return the counter of that name and labels."""
        measure = _measure(Kind.COUNTER, name, unit, description)
        family, labels, key = self._family(measure, None, labels)

        def make(labels: Mapping[str, Any]) -> BoundCounter:
            return BoundCounter(measure.name, labels, measure, self._host)

        return self._member(family, key, labels, make)

    def gauge(self, name: str, labels: Any, unit: str, description: str) -> BoundGauge:
        """Return the gauge of that name and labels."""
        measure = _measure(Kind.GAUGE, name, unit, description)
        family, labels, key = self._family(measure, None, labels)

        def make(labels: Mapping[str, Any]) -> BoundGauge:
            return BoundGauge(measure.name, labels, measure, self._host)

        return self._member(family, key, labels, make)

    def histogram(
        self, name: str, labels: Any, unit: str, description: str, bounds: Iterable[float] | None
    ) -> BoundHistogram:
        """Return the histogram of that name and labels."""
        measure = _measure(Kind.HISTOGRAM, name, unit, description)
        own = checked_bounds("bounds", bounds) if bounds is not None else None
        family, labels, key = self._family(measure, own, labels)
        chosen = self._config.bounds.get(measure.name) or family.bounds

        def make(labels: Mapping[str, Any]) -> BoundHistogram:
            return BoundHistogram(measure.name, labels, measure, self._host, chosen)

        return self._member(family, key, labels, make)

    def observable(self, name: str, callback: Callable[[], float], labels: Any, unit: str, description: str) -> None:
        """Have a callback read at each collection."""
        if not callable(callback):
            raise ValueError(f"callback must be callable (got {callback!r})")  # noqa: TRY004 - one error for bad set-up, as the spec has it
        measure = _measure(Kind.GAUGE, name, unit, description)
        _, labels, key = self._family(measure, None, labels)
        name = measure.name
        if (name, key) in self._callbacks:
            raise ValueError(f"{name!r} with these labels is observed already")
        self._callbacks[name, key] = (name, labels, measure, callback)
        self._host.wake(self.first.set)

    def close(self) -> None:
        """Take no more updates: they count as closed."""
        for family in tuple(self._families.values()):
            for member in tuple(family.members.values()):
                member.close()

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
                self._host.refuse_from_thread("invalid")
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
        self.declared.setdefault(measure.name, attrs.evolve(measure, bounds=family.bounds))
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
    return Measure(None, kind, text(name) or "", text(unit) or "", text(description) or "")
