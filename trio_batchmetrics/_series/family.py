"""The series of one instrument."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping

from .._events import HISTOGRAM, Measure
from .aggregations import Aggregation, aggregation_of
from .points import Metric
from .series import Series

__all__ = ["SeriesFamily"]


class SeriesFamily:
    """The series of an instrument, or of several instruments that are the same to the back-end.

    Live: read it in any thread; don't change it.
    """

    __slots__ = (
        "aggregation",
        "changes",
        "instrument",
        "members",
        "overflow",
        "pinned",
        "refusal",
        "shared",
        "terms",
        "updated",
    )

    def __init__(self, instrument: Measure, terms: Hashable = None) -> None:
        """Create a family without series.

        Args:
            instrument: the instrument with its effective bounds; the first, if several are the same to the back-end.
            terms: the properties that other instruments of the same name must share to belong to it.
        """
        self.instrument: Measure = instrument
        """The instrument; a histogram has its effective bounds."""
        self.terms: Hashable = terms
        """For the library."""
        self.aggregation: Aggregation = aggregation_of(instrument)
        """For the library: how values are added."""
        self.members: dict[Hashable, Series] = {}
        """For the library: the series except the overflow series, by key."""
        self.pinned: set[Hashable] = set()
        """For the library: the keys of bound instruments' series, including those without room yet."""
        self.overflow: Series | None = None
        """The series that all label sets beyond ``max_series`` share, if there are any."""
        self.shared: tuple[Mapping[str, str], Hashable] | None = None
        """For the library: the labels and the key of that series."""
        self.refusal: str | None = None
        """For the library: why the back-end refuses the instrument."""
        self.updated: int = 0
        """When a value was last added to any of its series; written before the series, for readers in other threads."""
        self.changes: int = 0
        """How many series were created or forgotten so far; written after the change."""

    @property
    def bounds(self) -> tuple[float, ...]:
        """A histogram's bucket bounds; empty for other instruments."""
        return (self.instrument.bounds or ()) if self.instrument.kind is HISTOGRAM else ()

    @property
    def series(self) -> list[Series]:
        """A copy of its series in order of creation, with the overflow series last. Safe in any thread."""
        overflow = self.overflow  # the dictionary is copied in one step
        return [*self.members.values(), *([overflow] if overflow is not None else [])]

    def __len__(self) -> int:
        """Return the number of its series."""
        return len(self.members) + (self.overflow is not None)

    def metric(self, series: Iterable[Series]) -> Metric:
        """Return a snapshot of some of its series. Safe in any thread."""
        instrument, points = self.instrument, tuple([each.point() for each in series])
        return Metric(instrument.name, instrument.kind, instrument.unit, instrument.description, self.bounds, points)
