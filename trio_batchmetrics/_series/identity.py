"""How a back-end distinguishes instruments and series.

Series that a back-end cannot distinguish are one series: a :class:`~.store.SeriesStore` adds them up. It consults an
:class:`Identity` to decide that: once per combination of the application's original labels, never once per event.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from .._events import Limits, Measure
from .cells import Family

__all__ = ["Identity"]


class Identity:
    """Distinguishes instruments by name, kind and unit, and series by their labels' texts. Override it for other rules.

    If two instruments have a name in common, they are one if their :meth:`terms` are equal; otherwise the later one is
    refused.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        """Create the default identity.

        Args:
            limits: the largest labels that the back-end accepts; None: any.
        """
        self.limits: Limits = limits or Limits()

    def names(self, measure: Measure) -> tuple[Hashable, ...]:
        """Return every name that an instrument occupies; the first is its own."""
        return ((measure.name, measure.kind, measure.unit),)

    def terms(self, measure: Measure) -> Hashable:
        """Return what instruments with a name in common must agree on to be one."""
        return (measure.kind, measure.unit)

    def refusal(self, measure: Measure) -> str | None:
        """Return why the back-end refuses an instrument with this name; None if it accepts it."""
        return None

    def labels(self, family: Family, labels: Mapping[str, str]) -> Mapping[str, str]:
        """Return the labels with which a series is stored.

        Args:
            family: its instrument.
            labels: as text, static ones included.
        """
        return labels

    def key(self, family: Family, labels: Mapping[str, str]) -> Hashable:
        """Return the key that distinguishes a series from others of its instrument.

        Args:
            family: its instrument.
            labels: the result of :meth:`labels`.
        """
        return tuple(sorted(labels.items()))

    def broken_limit(self, family: Family, labels: Mapping[str, str]) -> str | None:
        """Return a description of the limit that a series exceeds; None if it exceeds none.

        Args:
            family: its instrument.
            labels: the result of :meth:`labels`.
        """
        return self.limits.broken_by(labels)
