"""Bound instruments: labels resolved once, values aggregated in place, collected every ``flush_interval``.

Instruments drop nothing. A collection takes the updates since the last one and hands them over as events: a
``Counter`` or ``Gauge``, or a ``HistogramPoint`` for a histogram. An instrument without updates hands over nothing.

Instruments can be created in any thread and at any point of execution (even during a collection), without a lock. The
same step, ``dict.setdefault``, makes a new one visible to collections and to later callers. Containers that may grow in
the meantime are copied in one step before they are iterated over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import trio

from .._concurrency import gil_enabled
from .._config import BatchMetricsConfig
from .._events import OVERFLOW, Kind, Measure, Row, captured, checked_bounds, text
from .bound import Bound, BoundCounter, BoundGauge, BoundHistogram
from .bound_cells import CellCounter, CellGauge, CellHistogram
from .families import Family, Identity, Quota, identity_of
from .host import Host
from .observable import ObservableGauge, Observation, checked_callback

__all__ = ["BoundCounter", "BoundGauge", "BoundHistogram", "Instruments", "ObservableGauge", "Observation"]

_GIL_CLASSES: dict[Kind, type[Bound]] = {
    Kind.COUNTER: BoundCounter,
    Kind.GAUGE: BoundGauge,
    Kind.HISTOGRAM: BoundHistogram,
}
_PER_THREAD_CLASSES: dict[Kind, type[Bound]] = {
    Kind.COUNTER: CellCounter,
    Kind.GAUGE: CellGauge,
    Kind.HISTOGRAM: CellHistogram,
}


class Instruments:
    """All instruments of a collector. Its methods may be called in any thread, :meth:`collect` only in Trio's."""

    def __init__(self, config: BatchMetricsConfig, host: Host, *, by_thread: bool | None = None) -> None:
        """Create a registry without instruments.

        Args:
            config: the collector's configuration.
            host: the interface to the collector.
            by_thread: whether each thread adds to cells of its own; None: if there is no global interpreter lock.
        """
        self._config = config
        self._host = host
        self._classes = _PER_THREAD_CLASSES if (not gil_enabled() if by_thread is None else by_thread) else _GIL_CLASSES
        self._quota = Quota(config.max_instruments)
        self._families: dict[str, Family] = {}
        self._observables: dict[tuple[str, Identity], ObservableGauge] = {}
        self._overflowing: dict[str, Family] = {}
        self._calls_callbacks = True
        self._closed = False
        self.declared: dict[str, Measure] = {}
        """The instruments by name, with their effective bounds and descriptions."""
        self.bound: list[tuple[Measure, Mapping[str, Any]]] = []
        """Each bound instrument with its labels, in order of creation."""
        self.first_over_limit: str | None = None
        """The first name that had no place among ``max_instruments``."""
        self.first_created: trio.Event = trio.Event()
        """Set once there is an instrument."""

    def counter(self, name: str, labels: Any, unit: str, description: str) -> BoundCounter:
        """Return the counter with this name and these labels."""
        return cast("BoundCounter", self._bound(Kind.COUNTER, name, labels, unit, description))

    def gauge(self, name: str, labels: Any, unit: str, description: str) -> BoundGauge:
        """Return the gauge with this name and these labels."""
        return cast("BoundGauge", self._bound(Kind.GAUGE, name, labels, unit, description))

    def histogram(
        self, name: str, labels: Any, unit: str, description: str, bounds: Iterable[float] | None
    ) -> BoundHistogram:
        """Return the histogram with this name and these labels."""
        return cast("BoundHistogram", self._bound(Kind.HISTOGRAM, name, labels, unit, description, bounds))

    def observable_gauge(
        self, name: str, callback: Callable[[], Observation], labels: Any, unit: str, description: str
    ) -> ObservableGauge:
        """Register a callback that each collection reads."""
        callback, own = checked_callback(callback), _checked_labels(labels)
        family = self._family(Kind.GAUGE, name, unit, description)
        if not family.admitted:
            return ObservableGauge(family, own, callback, self._host, lambda: None)
        key = (family.name, identity_of(own))
        observable = ObservableGauge(family, own, callback, self._host, lambda: self._observables.pop(key))
        if self._observables.setdefault(key, observable) is not observable:
            raise ValueError(f"{name!r} with these labels is observed already")
        self._host.wake(self.first_created.set)
        return observable

    def describe(self, name: str, unit: str, description: str, bounds: Iterable[float] | None) -> None:
        """Declare the meaning of a name."""
        self._family(None, name, unit, description, bounds)

    @property
    def overflowed(self) -> dict[str, int]:
        """The number of updates that lost their labels to ``max_series``, by instrument."""
        counts: dict[str, int] = {}
        for name, family in self._overflowing.copy().items():
            updates = sum([member.updates for member in list(family.overflow.values())]) + family.overflowed_values
            if updates:
                counts[name] = updates
        return counts

    @property
    def overflowing(self) -> list[str]:
        """The instruments with more label sets than ``max_series``."""
        return list(self._overflowing)

    def stop_callbacks(self) -> None:
        """Stop calling callbacks: the block's body has ended."""
        self._calls_callbacks = False

    def close(self) -> None:
        """Refuse further updates: they count as closed."""
        self._calls_callbacks = False
        self._closed = True  # first: either this loop finds an instrument created meanwhile, or its creation sees this
        for member in self._members():
            member.close()

    def collect(self, rows: list[Row]) -> None:
        """Take the updates since the last collection.

        An exception from one instrument ends the collection: ``rows`` has the updates taken so far, and all others stay
        where they are until the next one.

        Args:
            rows: the list to append to.
        """
        for member in self._members():
            row = member.collect()
            if row is not None:
                rows.append(row)
        for observable in list(self._observables.values()):
            if self._calls_callbacks and not observable.closed:  # another callback may have closed it
                observable.collect(rows)
                family = self._families[observable.name]
                if family.overflowed_values:
                    self._report_overflow(family)

    def _members(self) -> list[Bound]:
        members: list[Bound] = []
        for family in list(self._families.values()):
            members += list(family.members.values())
            members += list(family.overflow.values())
        return members

    def _family(
        self, kind: Kind | None, name: object, unit: object, description: object, bounds: Iterable[float] | None = None
    ) -> Family:
        """Return the family of a name, with its meaning settled.

        Raises:
            ValueError: the name means something else, or an argument isn't a valid name, unit or bounds.
        """
        if not isinstance(name, str) or not name:
            raise ValueError(f"an instrument's name must be a non-empty str (got {name!r})")
        if not isinstance(unit, str) or not isinstance(description, str):
            raise ValueError(f"unit and description must be str (got {unit!r}, {description!r})")  # noqa: TRY004 - one error for bad set-up, as the spec has it
        own = checked_bounds("bounds", bounds) if bounds is not None else None
        name, unit, description = text(name) or "", text(unit) or "", text(description) or ""
        family = self._families.get(name) or self._new_family(kind, name, unit, description, own)
        if not family.admitted:
            return family
        if family.settle(kind, unit, description, own) or name not in self.declared:
            while self.declared.get(name) != family.measure:  # again if another thread settles something meanwhile
                self.declared[name] = family.measure
        return family

    def _new_family(
        self, kind: Kind | None, name: str, unit: str, description: str, bounds: tuple[float, ...] | None
    ) -> Family:
        """Return the family of a new name: one that isn't kept, if there are ``max_instruments`` already."""
        new = Family(name, unit, self._config.bounds.get(name), self._config.max_series)
        new.settle(kind, unit, description, bounds)
        place = self._quota.acquire()
        if place is None:  # perhaps because another thread has just created this very family
            new.admitted = False
            known = self._families.get(name)
            if known is None and self.first_over_limit is None:
                self.first_over_limit = name
                self._host.report()
            return known or new
        family = self._families.setdefault(name, new)
        if family is not new:
            self._quota.release(place)
        return family

    def _bound(
        self,
        kind: Kind,
        name: str,
        labels: Any,
        unit: str,
        description: str,
        bounds: Iterable[float] | None = None,
    ) -> Bound:
        own = _checked_labels(labels)
        family = self._family(kind, name, unit, description, bounds)
        if not family.admitted:
            return self._classes[kind](family.measure, own, self._host.dropping("too_many_instruments"))
        identity = identity_of(own)
        member: Bound | None = family.members.get(identity)
        if member is None:
            member = self._create(family, kind, identity, own)
        return member

    def _create(self, family: Family, kind: Kind, identity: Identity, labels: dict[str, Any]) -> Bound:
        place = family.quota.acquire()
        if place is None:  # perhaps because another thread has just created this very instrument
            return family.members.get(identity) or self._overflow_instrument(family, kind)
        new = self._classes[kind](family.measure, labels, self._host)
        member: Bound = family.members.setdefault(identity, new)
        if member is new:
            self._announce(member, family)
        else:
            family.quota.release(place)
        return member

    def _overflow_instrument(self, family: Family, kind: Kind) -> Bound:
        """Return the instrument that all label sets beyond ``max_series`` share."""
        shared: Bound | None = family.overflow.get("overflow")
        if shared is None:
            new = _PER_THREAD_CLASSES[kind](family.measure, {**OVERFLOW}, self._host)
            shared = cast("Bound", family.overflow.setdefault("overflow", new))
            if shared is new:
                self._announce(shared, family)
                self._report_overflow(family)
        return shared

    def _announce(self, member: Bound, family: Family) -> None:
        self.bound.append((family.measure, member.labels))
        self._host.wake(self.first_created.set)
        if self._closed:
            member.close()

    def _report_overflow(self, family: Family) -> None:
        if family.name not in self._overflowing:
            self._overflowing[family.name] = family
            if not self._closed:
                self._host.report()


def _checked_labels(labels: object) -> dict[str, Any]:
    copied = captured({} if labels is None else labels)
    if not isinstance(copied, dict):
        raise ValueError(f"labels must be a mapping (got {type(labels).__name__})")  # noqa: TRY004 - one error for bad set-up, as the spec has it
    return cast("dict[str, Any]", copied)
