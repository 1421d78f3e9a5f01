"""The instruments of a store. Decides which of them are the same to the back-end, and which are refused."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterator

import attrs

from .._events import HISTOGRAM, Measure
from .context import SinkContext
from .family import SeriesFamily
from .identity import Identity

__all__ = ["TOO_MANY_INSTRUMENTS", "Families", "excerpt"]

_logger = logging.getLogger("trio_batchmetrics")

TOO_MANY_INSTRUMENTS = "too_many_instruments"
"""The reason for which events of further instruments are rejected."""


class Families:
    """Finds the family of an instrument, within ``max_instruments``."""

    def __init__(self, context: SinkContext, identity: Identity) -> None:
        """Create an empty collection.

        Args:
            context: the collector's context.
            identity: decides which instruments are the same to the back-end.
        """
        self._context = context
        self._identity = identity
        self._families: dict[SeriesFamily, tuple[Hashable, ...]] = {}
        """The names that each family occupies."""
        self._by_name: dict[Hashable, SeriesFamily] = {}
        self._warned: set[str] = set()

    def __len__(self) -> int:
        """Return the number of families."""
        return len(self._families)

    def __iter__(self) -> Iterator[SeriesFamily]:
        """Yield the families in order of creation. Safe in any thread: they are copied in one step."""
        return iter([*self._families])

    def of(self, measure: Measure) -> SeriesFamily:
        """Return the family of an instrument.

        A new family is created if necessary. If the instrument is refused, the returned family isn't part of the
        collection, and ``family.refusal`` has the reason.
        """
        names, terms = self._identity.names(measure), self._identity.terms(measure)
        family = self._by_name.get(names[0])
        if family is not None and family.terms == terms:
            return family
        family = SeriesFamily(self._with_bounds(measure), terms)
        other = next((other for name in names if (other := self._by_name.get(name)) is not None), None)
        if (refusal := self._identity.refusal(measure)) is not None:
            family.refusal = refusal
        elif other is not None:
            family.refusal = f"{excerpt(other.instrument.name)} of another kind or unit has the name"
        elif len(self._families) >= self._context.max_instruments:
            family.refusal = TOO_MANY_INSTRUMENTS
            self._warn_of_too_many(measure.name)
            return family
        else:
            self._by_name.update(dict.fromkeys(names, family))
            self._families[family] = names
            return family
        self.warn(measure.name, family.refusal)
        return family

    def _with_bounds(self, measure: Measure) -> Measure:
        """Return an instrument with its effective bounds."""
        if measure.kind is not HISTOGRAM:
            return measure
        return attrs.evolve(measure, bounds=self._context.bounds.get(measure.name) or measure.default_bounds)

    def describe(self, family: SeriesFamily, declared: Measure) -> None:
        """Adopt a declaration, such as a description, that came after the instrument's first event."""
        if declared.name == family.instrument.name:
            family.instrument = attrs.evolve(declared, bounds=family.instrument.bounds)

    def forget(self, family: SeriesFamily) -> None:
        """Forget a family without series, so that another instrument can have its names and its place."""
        for name in self._families.pop(family):
            del self._by_name[name]

    def warn(self, name: str, why: str) -> None:
        """Log that events of an instrument are rejected, on the first rejection only."""
        if "refused" not in self._warned:
            self._warned.add("refused")
            _logger.warning("metrics: events of %s are rejected: %s; others are only counted", excerpt(name), why)

    def _warn_of_too_many(self, name: str) -> None:
        if TOO_MANY_INSTRUMENTS not in self._warned:
            self._warned.add(TOO_MANY_INSTRUMENTS)
            _logger.warning(
                "metrics: events of %s and of all further instruments are rejected: there are max_instruments=%d",
                excerpt(name),
                self._context.max_instruments,
            )


def excerpt(name: str) -> str:
    """Return a name in quotes, truncated for a log line."""
    return repr(name) if len(name) <= 100 else f"{name[:100]!r}…"
