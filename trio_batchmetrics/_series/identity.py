"""How a back-end tells instruments and series apart.

Series that a back-end cannot tell apart are one series: a :class:`~.store.SeriesStore` adds them up.
What it asks for that is an :class:`Identity`. It is asked once for each combination of labels as the application gave
them, never for each event.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from .._events import Limits, Measure
from .cells import Family

__all__ = ["Identity"]


class Identity:
    """Tells instruments apart by name, kind and unit, and series by their labels' texts; to be overridden for others.

    Where two instruments have a name in common, they are one if their :meth:`terms` are equal; else the later one is
    refused.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        """Tell them apart.

        Args:
            limits: the largest labels that the back-end takes; None: any.
        """
        self.limits: Limits = limits or Limits()

    def names(self, measure: Measure) -> tuple[Hashable, ...]:
        """Return every name that an instrument takes; the first is what it is called."""
        return ((measure.name, measure.kind, measure.unit),)

    def terms(self, measure: Measure) -> Hashable:
        """Return what instruments that have a name in common must agree on to be one."""
        return (measure.kind, measure.unit)

    def refusal(self, measure: Measure) -> str | None:
        """Return in words why the back-end takes no instrument of this name; None if it does."""
        return None

    def labels(self, family: Family, labels: Mapping[str, str]) -> Mapping[str, str]:
        """Return the labels that a series is kept with.

        Args:
            family: its instrument.
            labels: as text, static ones included.
        """
        return labels

    def key(self, family: Family, labels: Mapping[str, str]) -> Hashable:
        """Return what tells a series from others of its instrument.

        Args:
            family: its instrument.
            labels: as :meth:`labels` returned them.
        """
        return tuple(sorted(labels.items()))

    def broken_limit(self, family: Family, labels: Mapping[str, str]) -> str | None:
        """Return in words which limit a series exceeds; None if it keeps all.

        Args:
            family: its instrument.
            labels: as :meth:`labels` returned them.
        """
        return self.limits.broken_by(labels)
