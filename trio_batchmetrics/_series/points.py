"""Series at one moment, as sinks read them: immutable, for any thread."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from .._events import Kind
from .._reprs import tolerant_repr

__all__ = ["Metric", "Point"]


@tolerant_repr
@attrs.frozen
class Point:
    """One series at one moment."""

    labels: Mapping[str, str]
    """Its labels as text, static ones included. In a store with ``typed_labels=True``, bools, ints and floats keep
    their type."""
    value: float
    """A counter's sum, a gauge's last value, the sum of a histogram's values; infinite if it overflows a float."""
    counts: tuple[int, ...] = ()
    """For a histogram: the number of values in each bucket, not cumulative; one more than the metric's ``bounds``."""
    started: int = 0
    """Wall-clock nanoseconds since 1970 at which the series started or restarted."""
    updated: int = 0
    """Wall-clock nanoseconds since 1970 at which the last event was merged."""

    @property
    def count(self) -> int:
        """The number of values in a histogram."""
        return sum(self.counts)


@tolerant_repr
@attrs.frozen
class Metric:
    """All series of one instrument at one moment."""

    name: str
    """The instrument's name, as declared."""
    kind: Kind
    """The kind of instrument."""
    unit: str
    """Its unit (UCUM); empty if none was declared."""
    description: str
    """One sentence for people; empty if none was declared."""
    bounds: tuple[float, ...]
    """For a histogram: upper bounds of its buckets; a value equal to a bound belongs to that bound's bucket."""
    points: tuple[Point, ...]
    """Its series, in order of creation."""
