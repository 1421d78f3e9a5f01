"""Cumulative series to lines of line protocol."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ...abc import Kind, Measure, Point, SinkContext
from .fields import bucket_fields, bucket_names
from .limits import TagLimits
from .line_protocol import Dialect
from .prefixes import PrefixBuilder, ReplacementCounter

__all__ = ["SeriesLines", "SeriesPrefix", "SeriesPrefixes"]

_logger = logging.getLogger("trio_batchmetrics")

_LINES = 25
"""Lines per part: 0.25 ms for histograms with 14 bounds, and 0.6 ms if all of them are new (measured)."""


class SeriesPrefix:
    """The prefix of a series' lines. It is built when the series is first written, and again for another dialect."""

    __slots__ = ("built_by", "labels", "text")

    def __init__(self, labels: Mapping[str, str]) -> None:
        """Create a prefix that is not built yet.

        Args:
            labels: the labels of the series.
        """
        self.labels: Mapping[str, str] = labels
        self.text: str = ""
        """The prefix; empty if the server does not accept it."""
        self.built_by: PrefixBuilder | None = None
        """The builder that has built it."""


class SeriesPrefixes:
    """Keeps a prefix next to each series; an observer of the store."""

    def added(self, instrument: Measure, labels: Mapping[str, str]) -> SeriesPrefix:
        """Return the prefix of a new series."""
        return SeriesPrefix(labels)

    def removed(self, instrument: Measure, slot: SeriesPrefix) -> None:
        """Do nothing: the prefix is deleted with the series."""


class SeriesLines:
    """Writes series as lines, in one dialect."""

    def __init__(
        self,
        dialect: Dialect | None,
        context: SinkContext,
        replacements: ReplacementCounter,
        limits: TagLimits | None = None,
    ) -> None:
        """Create a writer that knows no series yet.

        Args:
            dialect: the server's; None while it is unknown.
            context: the collector's context.
            replacements: counts the characters that line protocol does not support.
            limits: the largest names and labels that the server accepts.
        """
        self._prefixes = PrefixBuilder(dialect, context, replacements, limits)
        self._warned = False
        self.positions: list[int] = []
        """For each of the last lines written, the position of its series among the points."""

    @property
    def dialect_dependent(self) -> bool:
        """Whether a line depends on the dialect, and it is unknown."""
        return bool(self._prefixes.dialect_dependent)

    def write(self, points: Iterable[tuple[Measure, Any, Point]], now: int) -> Iterator[bytes]:
        """Yield the lines, several at a time: one per series with a finite value.

        Args:
            points: the instrument, prefix and point of each series.
            now: their timestamp.
        """
        lines: list[str] = []
        self.positions = positions = list[int]()
        for at, (instrument, prefix, point) in enumerate(points):
            if not math.isfinite(point.value):
                continue
            if prefix.built_by is not self._prefixes:
                self._build(prefix, instrument)
            if not prefix.text:
                continue
            positions.append(at)
            if instrument.kind is Kind.HISTOGRAM:
                fields = bucket_fields(point.value, instrument.default_bounds, point.counts)
                lines.append(f"{prefix.text}{fields} {now}\n")
            else:
                lines.append(f"{prefix.text}{float(point.value)!r} {now}\n")
            if len(lines) == _LINES:
                yield "".join(lines).encode()
                lines = []
        if lines:
            yield "".join(lines).encode()

    def _build(self, prefix: SeriesPrefix, instrument: Measure) -> None:
        fields = ["value"]
        if instrument.kind is Kind.HISTOGRAM:
            fields = ["count", "sum", *bucket_names(instrument.default_bounds)]
        try:
            prefix.text = self._prefixes.prefix(instrument.name, prefix.labels.items(), fields)
        except ValueError as exc:
            prefix.text = ""
            if not self._warned:
                self._warned = True
                _logger.warning("metrics: a series is left out: %s", exc)
        prefix.built_by = self._prefixes
