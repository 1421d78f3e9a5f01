"""The series on a Prometheus page: a store of series, and the text next to each of them.

How this works
==============

In Trio's thread, the store decides which series exist: those that Prometheus can distinguish (:mod:`.identity`). It
announces each new series, whose lines are kept next to it until the store forgets it. A page shows every series of the
store. It can be written in any thread, or in steps on the run loop: it is an iterator over the families and series
that exist when they are reached. Nothing can be on a page twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterator, Mapping, Sequence

from ...abc import Limits, Measure, MetricEvent, Series, SeriesFamily, SeriesStore, SinkContext
from .families import ExposedFamily, Lines
from .identity import PrometheusIdentity, names_of
from .lines import family_for

__all__ = ["Page"]

_logger = logging.getLogger("trio_batchmetrics")


class _Exposition:
    """Keeps the lines next to each series; an observer of the store."""

    def __init__(self) -> None:
        self._families: dict[str, ExposedFamily] = {}

    def added(self, instrument: Measure, labels: Mapping[str, str]) -> Lines:
        """Return the lines of a new series."""
        own = names_of(instrument)[0]
        family = self._families.get(own)
        if family is None:
            family = self._families[own] = family_for(instrument)
        family.count += 1
        return family.lines_of(labels)

    def removed(self, instrument: Measure, slot: Lines) -> None:
        """Forget a family with its last series."""
        slot.family.count -= 1
        if not slot.family.count:
            del self._families[names_of(instrument)[0]]


class Page:
    """Series, and the pages that show them. Merge in Trio's thread; the rest is safe in any thread and never waits."""

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
            expire_after: the nanoseconds without an update after which a series is forgotten; None: never.
            reserved: names that no label may have; they get the prefix ``exported_``.
            limits: the largest labels that the back-end accepts.
            taken: the names of the back-end's own metrics; events of an instrument with such a name are refused.
        """
        identity = PrometheusIdentity(reserved, limits, taken)
        self.store: SeriesStore = SeriesStore(context, clock=clock, identity=identity, observer=_Exposition())
        """The series."""
        self._clock = clock
        self._expire_after = expire_after
        self._warned_of_taken_name = False

    def __len__(self) -> int:
        """Return the number of series."""
        return len(self.store)

    @property
    def overflowed(self) -> Mapping[str, int]:
        """By instrument, the number of events that lost their labels to ``max_series``."""
        return self.store.overflowed

    def merge(self, events: Sequence[MetricEvent]) -> dict[int, str] | None:
        """Forget expired series, then add events; otherwise like :meth:`SeriesStore.merge`."""
        if self._expire_after is not None:
            self.store.expire(self._since())
        return self.store.merge(events)

    def write(self, *, openmetrics: bool) -> bytes:
        """Return the current page, in UTF-8."""
        return b"".join(self.pieces(openmetrics=openmetrics))

    def pieces(self, *, openmetrics: bool) -> Iterator[bytes]:
        """Yield the page in pieces that each take much less than a millisecond."""
        families = self.store.families()
        settled, since = self.store.generation, self._since()  # read first: values that are settled now stay settled
        for family in families:
            exposed_family = _exposed_family(family)
            if exposed_family is None:
                continue
            head = exposed_family.head(family.instrument, openmetrics=openmetrics)
            for piece in exposed_family.pieces(family, openmetrics=openmetrics, settled=settled, since=since):
                if head:
                    yield head
                    head = b""
                yield piece
        if openmetrics:
            yield b"# EOF\n"

    def families(self, taken: Container[str] = ()) -> list[tuple[ExposedFamily, Measure, list[Series]]]:
        """Return the families on the page, with their instrument and series.

        Args:
            taken: names of other metrics; families that need one of them are left out.
        """
        since = self._since()
        found: list[tuple[ExposedFamily, Measure, list[Series]]] = []
        for family in self.store.families():
            exposed_family = _exposed_family(family)
            if exposed_family is not None and not self._has_taken_name(exposed_family, taken):
                shown = [each for each in family.series if each.shown(since)]
                found.append((exposed_family, family.instrument, shown))
        return found

    def left_out(self, taken: Container[str]) -> int:
        """Return how many series are missing from the families because their names are taken.

        Args:
            taken: names of other metrics.
        """
        pairs = [(_exposed_family(family), len(family)) for family in self.store.families()]
        return sum(size for family, size in pairs if family is not None and self._has_taken_name(family, taken))

    def _has_taken_name(self, family: ExposedFamily, taken: Container[str]) -> bool:
        if not any(name in taken for name in family.names):
            return False
        if not self._warned_of_taken_name:
            self._warned_of_taken_name = True
            message = (
                "metrics: %r is not shown in the registry, which has a metric of that name; others are only counted"
            )
            _logger.warning(message, family.name)
        return True

    def _since(self) -> int:
        """Return the earliest last update of a series that is shown; at least 1, as 0 means that it has no value."""
        return 1 if self._expire_after is None else max(1, self._clock() - self._expire_after)


def _exposed_family(family: SeriesFamily) -> ExposedFamily | None:
    """Return the page's family for a family of the store; None if it has no series."""
    for series in family.series[:1]:
        lines: Lines = series.slot
        return lines.family
    return None
