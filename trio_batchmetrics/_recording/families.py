"""The meaning of an instrument's name, and its label sets.

The first caller settles an instrument's kind, unit and bounds, in any thread and at any point of execution:
``dict.setdefault`` decides in one step, and a settled value never changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

from .._events import Kind, Measure, text

__all__ = ["Family", "Identity", "Quota", "identity_of"]

Identity = frozenset[tuple[str | None, type, object]]
"""A label set; two label sets are the same if their identities are equal."""

_COMPARABLE_TYPES = frozenset({str, int, bool, float})
"""Types whose values are compared directly; values of any other type are compared by their text."""


def identity_of(labels: Mapping[str, object]) -> Identity:
    """Return the identity of a label set: values are the same if they are equal and of one type; None is left out."""
    pairs = labels.items()
    return frozenset([(text(name), type(value), _comparable(value)) for name, value in pairs if value is not None])


def _comparable(value: object) -> object:
    if type(value) not in _COMPARABLE_TYPES:
        return text(value)
    return value if value == value else "nan"  # all NaNs are the same label value


class Quota:
    """A limited number of places. Safe in any thread, without a lock."""

    def __init__(self, limit: int) -> None:
        """Begin with all places free."""
        self._limit = limit
        self._unused = count()
        self._released: list[int] = []

    def acquire(self) -> int | None:
        """Return a place; None if none is left."""
        try:
            return self._released.pop()
        except IndexError:
            number = next(self._unused)
            return number if number < self._limit else None

    def release(self, number: int) -> None:
        """Return a place that isn't needed, because another thread has been quicker."""
        self._released.append(number)


class Family:
    """One instrument name: its meaning, and its label sets."""

    def __init__(self, name: str, unit: str, configured_bounds: tuple[float, ...] | None, max_series: int) -> None:
        """Create a family without label sets.

        Args:
            name: the instruments' name.
            unit: their unit.
            configured_bounds: the bounds that the configuration sets for them; they take precedence.
            max_series: the maximum number of label sets that get a series of their own.
        """
        self.name: str = name
        self.unit: str = unit
        self.members: dict[Identity, Any] = {}
        """The bound instruments."""
        self.overflow: dict[str, Any] = {}
        """The bound instrument that all further label sets share, once it exists; under the key ``overflow``."""
        self.overflowed_values: int = 0
        """The number of values of observable instruments that have lost their labels."""
        self._observed: dict[Identity, None] = {}
        self._settled: dict[str, Any] = {}
        self._configured_bounds = configured_bounds
        self.quota: Quota = Quota(max_series)
        """The places for label sets."""
        self.admitted: bool = True
        """Whether the name has a place among ``max_instruments``; otherwise, updates are dropped."""

    # -- the meaning

    def settle(self, kind: Kind | None, unit: str, description: str, bounds: tuple[float, ...] | None) -> bool:
        """Settle whatever isn't settled yet.

        Args:
            kind: the instrument's kind; None for a description, which fits any kind.
            unit: the unit.
            description: the first one that isn't empty is kept.
            bounds: a histogram's bounds; None keeps those already settled.

        Returns:
            Whether this call settled anything.

        Raises:
            ValueError: it conflicts with what was settled before.
        """
        before = len(self._settled)
        known: Kind | None = self._settled.get("kind")
        if unit != self.unit or (kind is not None and known is not None and kind is not known):
            there, asked = _kind_name(known, "described"), _kind_name(kind, "a description")
            raise ValueError(f"{self.name!r} is {there} in {self.unit!r} already (asked for {asked} in {unit!r})")
        if (kind or known) not in (None, Kind.HISTOGRAM) and (bounds is not None or "bounds" in self._settled):
            raise ValueError(f"{self.name!r} cannot be {_kind_name(kind or known, '')} and have bucket bounds")
        if bounds is not None and self._settled.get("bounds", bounds) != bounds:
            raise ValueError(f"{self.name!r} has other bounds already ({self._settled['bounds']})")
        if bounds is None and kind is Kind.HISTOGRAM and "bounds" not in self._settled:
            bounds = Measure(None, kind, self.name, unit).default_bounds
        if description:
            self._settled.setdefault("description", description)
        if kind is not None and self._settled.setdefault("kind", kind) is not kind:
            return self.settle(kind, unit, description, bounds)  # another thread was first: this call raises
        if bounds is not None and self._settled.setdefault("bounds", bounds) != bounds:
            return self.settle(kind, unit, description, bounds)
        return len(self._settled) != before

    @property
    def measure(self) -> Measure:
        """The meaning of the name, as far as it is settled."""
        known: Kind | None = self._settled.get("kind")
        bounds = self._configured_bounds or self._settled.get("bounds")
        kind = known or (Kind.GAUGE if bounds is None else Kind.HISTOGRAM)
        if kind is not Kind.HISTOGRAM:
            bounds = None
        description = self._settled.get("description", "")
        return Measure(None, kind, self.name, self.unit, description, bounds, any_kind=known is None)

    # -- the label sets

    def admits_observed(self, identity: Identity) -> bool:
        """Return whether an observed label set has a place; if not, count the loss of its labels. In Trio's thread."""
        if identity in self._observed:
            return True
        if self.quota.acquire() is None:
            self.overflowed_values += 1
            return False
        self._observed[identity] = None
        return True


def _kind_name(kind: Kind | None, unknown: str) -> str:
    return f"a {kind.value}" if kind else unknown
