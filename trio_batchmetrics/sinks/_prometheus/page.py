"""Which series stand on a page of Prometheus', and under which name: a store of series that can be scraped.

How this works
==============

Trio's thread alone decides, once for each series, as it begins: the store tells of it then. What has a family and a
place in it is on every page from there on, until it is forgotten; pages are written, in any thread, by going through
families and series. Each has its place in a dictionary by what it is called on the page, so nothing can be there twice.

Names that differ may be equal once they are translated. Who came first keeps the place; what has none is left out of
the page and counted, and logged once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Sequence

from ..._cells import Cell, Family
from ..._context import SinkContext
from ..._schema import MetricEvent
from ..._series import SeriesStore
from .families import ExposedFamily, Series
from .lines import exposed
from .names import metric_name

__all__ = ["Page"]

_logger = logging.getLogger("trio_batchmetrics")


class Page(SeriesStore):
    """Series, and the pages that show them. Merge in Trio's thread; all else is safe in any, and waits for nothing."""

    def __init__(
        self,
        context: SinkContext | None,
        clock: Callable[[], int],
        expire_after: int | None,
        *,
        reserved: frozenset[str] = frozenset(),
    ) -> None:
        """Be empty.

        Args:
            context: what the collector told.
            clock: tells nanoseconds that never go back.
            expire_after: nanoseconds after which a series that nothing was added to is forgotten; None: never.
            reserved: names that no label may have; ``exported_`` is put before them.
        """
        super().__init__(context, clock=clock)
        self._expire_after = expire_after
        self._reserved = reserved
        self._places: dict[Family, ExposedFamily | None] = {}
        """Where an instrument's series stand; None: nowhere."""
        self._names: dict[str, ExposedFamily] = {}
        self._shown: list[ExposedFamily] = []
        self._waiting: dict[tuple[str, str], dict[Cell, Family]] = {}
        """Series whose place is taken, by that place."""
        self._warned = False

    def merge(self, events: Sequence[MetricEvent]) -> None:
        """Add events, once what is too old is forgotten; as :meth:`SeriesStore.merge`."""
        if self._expire_after is not None:
            self.expire(self._since())
        super().merge(events)

    def write(self, *, openmetrics: bool) -> bytes:
        """Return the page as it stands, in UTF-8."""
        settled, since = self._settled, self._since()  # in this order: what is settled now stays so
        pieces: list[bytes] = []
        for family in [*self._shown]:
            lines = family.lines(openmetrics=openmetrics, settled=settled, since=since)
            if lines:
                pieces.append(family.head(openmetrics=openmetrics))
                pieces += lines
        if openmetrics:
            pieces.append(b"# EOF\n")
        return b"".join(pieces)

    def families(self, taken: Container[str] = ()) -> list[tuple[ExposedFamily, list[Series]]]:
        """Return what stands on the page.

        Args:
            taken: names that others have; families that need one of them are left out.
        """
        since = self._since()
        free = [family for family in [*self._shown] if not self._is_blocked(family, taken)]
        return [(family, [one for one in [*family.series.values()] if one.cell.updated >= since]) for family in free]

    def left_out(self, taken: Container[str] = ()) -> int:
        """Return how many series have no place on the page.

        Args:
            taken: names that others have.
        """
        without = [family for family, place in [*self._places.items()] if place is None]
        blocked = [family for family in [*self._shown] if self._is_blocked(family, taken)]
        count = sum(map(len, [*self._waiting.values()])) + sum(len(family.all_cells()) for family in without)
        return count + sum(len(family.series) for family in blocked)

    def _is_blocked(self, family: ExposedFamily, taken: Container[str]) -> bool:
        if not any(name in taken for name in family.names):
            return False
        self._warn(family.name, "a name that the registry has from somebody else")
        return True

    def _warn(self, name: str, why: str) -> None:
        """Log that something is left out; the first time only."""
        if not self._warned:
            self._warned = True
            _logger.warning("metrics: left out of the Prometheus page: %r, %s; others are only counted", name, why)

    def _since(self) -> int:
        """Return the update that a series must have had to be shown; one without any has no value yet."""
        return 1 if self._expire_after is None else max(1, self._time() - self._expire_after)

    def _begin(self, family: Family, cell: Cell) -> None:
        if family not in self._places:
            self._places[family] = self._place_of(family)
        place = self._places[family]
        if place is not None and not place.add(family, cell):
            self._waiting.setdefault((place.name, place.key(cell)), {})[cell] = family
            self._warn(family.measure.name, "a series whose labels, once translated, are those of another")

    def _forget(self, family: Family, cell: Cell) -> None:
        place = self._places[family]
        if place is not None:
            place.remove(cell)
            waiting = self._waiting.pop((place.name, place.key(cell)), {})
            waiting.pop(cell, None)
            for other, its_family in waiting.items():
                self._begin(its_family, other)

    def _place_of(self, family: Family) -> ExposedFamily | None:
        measure = family.measure
        new = exposed(metric_name(measure.name, measure.unit, measure.kind), family, self._reserved)
        present = self._names.get(new.base)
        if present is not None and (present.name, present.kind, present.unit) == (new.name, new.kind, new.unit):
            present.join(family)
            return present
        if any(name in self._names for name in new.names):
            self._warn(measure.name, f"whose name there, {new.name}, another instrument has")
            return None
        self._names.update(dict.fromkeys(new.names, new))
        self._shown.append(new)
        return new
