"""The series on a Prometheus page: a store of series that can be scraped.

How this works
==============

In Trio's thread, the store decides which series there are: those that Prometheus can distinguish
(:mod:`trio_batchmetrics.sinks._prometheus.identity`). It announces each series when it begins; from then on the
series is on every page until the store forgets it. Any thread can write a page, by iterating over families and series.
Nothing can be on a page twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Sequence

from ..._events import Limits, MetricEvent
from ..._series import Cell, Family, SeriesStore, SinkContext
from .families import ExposedFamily, Series
from .identity import PrometheusIdentity
from .lines import exposed

__all__ = ["Page"]

_logger = logging.getLogger("trio_batchmetrics")


class Page(SeriesStore):
    """Series, and the pages that show them. Merge in Trio's thread; all else is safe in any thread and never waits."""

    def __init__(
        self,
        context: SinkContext | None,
        clock: Callable[[], int],
        expire_after: int | None,
        *,
        reserved: frozenset[str] = frozenset(),
        limits: Limits | None = None,
        taken: frozenset[str] = frozenset(),
    ) -> None:
        """Create a page without series.

        Args:
            context: the collector's context.
            clock: returns nanoseconds that never go back.
            expire_after: nanoseconds without an update after which a series is forgotten; None: never.
            reserved: names that no label may have; ``exported_`` is put before them.
            limits: the largest labels that the back-end accepts.
            taken: names under which the back-end has metrics of its own; events of such an instrument are refused.
        """
        super().__init__(context, clock=clock, identity=PrometheusIdentity(reserved, limits, taken))
        self._expire_after = expire_after
        self._shown: dict[Family, ExposedFamily] = {}
        self._blocked = False

    def merge(self, events: Sequence[MetricEvent]) -> dict[int, str] | None:
        """Forget expired series, then add events; otherwise like :meth:`SeriesStore.merge`."""
        if self._expire_after is not None:
            self.expire(self._since())
        return super().merge(events)

    def write(self, *, openmetrics: bool) -> bytes:
        """Return the current page, in UTF-8."""
        self._adopt()
        settled, since = self._settled, self._since()  # read first: values that are settled now stay so
        pieces: list[bytes] = []
        for family in [*self._shown.values()]:
            lines = family.lines(openmetrics=openmetrics, settled=settled, since=since)
            if lines:
                pieces.append(family.head(openmetrics=openmetrics))
                pieces += lines
        if openmetrics:
            pieces.append(b"# EOF\n")
        return b"".join(pieces)

    def families(self, taken: Container[str] = ()) -> list[tuple[ExposedFamily, list[Series]]]:
        """Return the families and series on the page.

        Args:
            taken: names of other metrics; families that need one of them are left out.
        """
        self._adopt()
        since = self._since()
        free = [family for family in [*self._shown.values()] if not self._is_blocked(family, taken)]
        return [(family, [one for one in [*family.series.values()] if one.cell.shown(since)]) for family in free]

    def left_out(self, taken: Container[str]) -> int:
        """Return how many series are missing from the families because their names are taken.

        Args:
            taken: names of other metrics.
        """
        return sum(len(family.series) for family in [*self._shown.values()] if self._is_blocked(family, taken))

    def _is_blocked(self, family: ExposedFamily, taken: Container[str]) -> bool:
        if not any(name in taken for name in family.names):
            return False
        if not self._blocked:
            self._blocked = True
            message = (
                "metrics: %r is not shown in the registry, which has a metric of that name; others are only counted"
            )
            _logger.warning(message, family.name)
        return True

    def _since(self) -> int:
        """Return the earliest last update of a series that is shown; at least 1, since 0 means that it has no value."""
        return 1 if self._expire_after is None else max(1, self._clock() - self._expire_after)

    def _begin(self, family: Family, cell: Cell) -> None:
        place = self._shown.get(family)
        if place is None:
            place = self._shown[family] = exposed(family)
        place.add(cell)

    def _forget(self, family: Family, cell: Cell) -> None:
        self._shown[family].remove(cell)
