"""Cumulative series to lines of line protocol."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ...abc import Kind, Measure, Point, SinkContext
from .fields import bucket_fields, bucket_names
from .heads import HeadMaker, Losses
from .limits import TagLimits
from .line_protocol import Dialect

__all__ = ["SeriesHead", "SeriesHeads", "SeriesLines"]

_logger = logging.getLogger("trio_batchmetrics")

_LINES = 25
"""Lines per part: 0.25 ms for histograms with 14 bounds, and 0.6 ms if all of them are new (measured)."""


class SeriesHead:
    """What the line of a series begins with, made when it is first written, and again for another dialect."""

    __slots__ = ("labels", "made_by", "text")

    def __init__(self, labels: Mapping[str, str]) -> None:
        """Create the head of a series, to be made later.

        Args:
            labels: the labels of the series.
        """
        self.labels: Mapping[str, str] = labels
        self.text: str = ""
        """The head; empty if the server cannot take it."""
        self.made_by: HeadMaker | None = None
        """What made it."""


class SeriesHeads:
    """Keeps a head next to each series; an observer of the store."""

    def added(self, instrument: Measure, labels: Mapping[str, str]) -> SeriesHead:
        """Return the head of a new series."""
        return SeriesHead(labels)

    def removed(self, instrument: Measure, slot: SeriesHead) -> None:
        """Do nothing: the head goes with the series."""


class SeriesLines:
    """Writes series as lines, in one dialect."""

    def __init__(
        self, dialect: Dialect | None, context: SinkContext, losses: Losses, limits: TagLimits | None = None
    ) -> None:
        """Create a writer that has seen no series yet.

        Args:
            dialect: the server's; None while it is unknown.
            context: the collector's context.
            losses: counts characters that line protocol cannot carry.
            limits: the largest names and labels that the server accepts.
        """
        self._heads = HeadMaker(dialect, context, losses, limits)
        self._warned = False
        self.positions: list[int] = []
        """For each line written last, the position of its series among the points."""

    @property
    def doubtful(self) -> bool:
        """Whether any line depends on the dialect, which is unknown."""
        return bool(self._heads.doubts)

    def write(self, points: Iterable[tuple[Measure, Any, Point]], now: int) -> Iterator[bytes]:
        """Yield some lines at a time, one per series; none for a series without a finite value.

        Args:
            points: instrument, head and point of each series.
            now: their timestamp.
        """
        lines: list[str] = []
        self.positions = positions = list[int]()
        for at, (instrument, head, point) in enumerate(points):
            if not math.isfinite(point.value):
                continue
            if head.made_by is not self._heads:
                self._make(head, instrument)
            if not head.text:
                continue
            positions.append(at)
            if instrument.kind is Kind.HISTOGRAM:
                fields = bucket_fields(point.value, instrument.default_bounds, point.counts)
                lines.append(f"{head.text}{fields} {now}\n")
            else:
                lines.append(f"{head.text}{float(point.value)!r} {now}\n")
            if len(lines) == _LINES:
                yield "".join(lines).encode()
                lines = []
        if lines:
            yield "".join(lines).encode()

    def _make(self, head: SeriesHead, instrument: Measure) -> None:
        fields = ["value"]
        if instrument.kind is Kind.HISTOGRAM:
            fields = ["count", "sum", *bucket_names(instrument.default_bounds)]
        try:
            head.text = self._heads.head(instrument.name, head.labels.items(), fields)
        except ValueError as exc:
            head.text = ""
            if not self._warned:
                self._warned = True
                _logger.warning("metrics: a series is left out: %s", exc)
        head.made_by = self._heads
