"""The families of a Prometheus page: their names, and the text kept next to each series.

Trio's thread adds and removes series; pages are written in any thread (:class:`~trio_batchmetrics.abc.SeriesStore`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

from ...abc import Kind, Measure, SeriesFamily, label_text
from .identity import base_of, names_of, type_of
from .names import metric_name, unit_name
from .text import bounds_text, help_text, labels_text

__all__ = ["ExposedFamily", "Lines", "help_of"]


class Lines:
    """The constant parts of one series' lines, and the lines as last written."""

    __slots__ = ("cached", "family", "labels", "prefix")

    def __init__(self, family: ExposedFamily, prefix: str, labels: str) -> None:
        """Create the lines of a series.

        Args:
            family: its family.
            prefix: the text before the number in each line.
            labels: its labels as text.
        """
        self.family: ExposedFamily = family
        self.prefix: str = prefix
        self.labels: str = labels
        self.cached: tuple[int, bytes, bytes] = (0, b"", b"")
        """A histogram's lines: the series' ``updated`` that they show (0: not cached), in text and in OpenMetrics."""


class ExposedFamily(ABC):
    """One family of a page."""

    def __init__(self, instrument: Measure) -> None:
        """Create a family that shows no series yet.

        Args:
            instrument: the instrument, with the bounds that apply.
        """
        self.name: str = metric_name(instrument.name, instrument.unit, instrument.kind)
        """The name of its samples."""
        self.kind: Kind = instrument.kind
        self.base: str = base_of(self.name, self.kind)
        """The family's name in OpenMetrics."""
        self.type: str = type_of(self.name, self.kind)
        """The family's type in OpenMetrics."""
        self.names: tuple[str, ...] = names_of(instrument)
        """All names that it occupies, in either format."""
        self.unit: str = unit_name(instrument.unit)
        self.bounds: tuple[str, ...] = bounds_text(instrument)
        """A histogram's bucket bounds as text."""
        self.count: int = 0
        """The number of its series."""

    @property
    def shown_unit(self) -> str:
        """The unit, if the name ends with it, as OpenMetrics requires; else empty."""
        return self.unit if self.unit and self.base.endswith(f"_{self.unit}") else ""

    def lines_of(self, labels: Mapping[str, str]) -> Lines:
        """Return the lines of a new series."""
        written = labels_text(labels)
        return Lines(self, self._prefix(written), written)

    def head(self, instrument: Measure, *, openmetrics: bool) -> bytes:
        """Return the family's metadata lines, which come before its samples."""
        written = help_text(help_of(instrument), openmetrics=openmetrics)
        if not openmetrics:
            return f"# HELP {self.name} {written}\n# TYPE {self.name} {self.kind.value}\n".encode()
        unit = f"# UNIT {self.base} {self.shown_unit}\n" if self.shown_unit else ""
        return f"# HELP {self.base} {written}\n# TYPE {self.base} {self.type}\n{unit}".encode()

    @abstractmethod
    def pieces(self, family: SeriesFamily, *, openmetrics: bool, settled: int, since: int) -> Iterator[bytes]:
        """Yield the lines in pieces that each take much less than a millisecond; none if there are no series to show.

        Args:
            family: the store's family.
            openmetrics: the format.
            settled: values updated up to this time don't change without a later update.
            since: series that were last updated before this time are left out.
        """

    @abstractmethod
    def _prefix(self, labels: str) -> str:
        """Return the text before the number in a series' lines."""


def help_of(instrument: Measure) -> str:
    """Return an instrument's description, or its original name if it has none."""
    return label_text(instrument.description) or instrument.name
