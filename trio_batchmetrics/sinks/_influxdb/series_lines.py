"""Cumulative series to lines of line protocol."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable

from ..._events import Kind
from ...abc import Metric, SinkContext
from .fields import bucket_fields
from .heads import HeadMaker, Losses
from .limits import TagLimits
from .line_protocol import Dialect

__all__ = ["SeriesLines"]

_logger = logging.getLogger("trio_batchmetrics")


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
        self.heads: HeadMaker = HeadMaker(dialect, context, losses, limits)
        self._warned = False

    def write(self, metrics: Iterable[Metric], now: int) -> bytes:
        """Return one line per series; none for a series without a finite value.

        Args:
            metrics: the series.
            now: their timestamp.
        """
        lines: list[str] = []
        for metric in metrics:
            for point in metric.points:
                if not math.isfinite(point.value):
                    continue
                pairs = tuple(point.labels.items())
                try:
                    if metric.kind is Kind.HISTOGRAM:
                        fields = bucket_fields(point.value, metric.bounds, point.counts)
                        lines.append(f"{self.heads.series(metric.name, metric.bounds)[pairs]}{fields} {now}\n")
                    else:
                        lines.append(f"{self.heads.series(metric.name, None)[pairs]}{float(point.value)!r} {now}\n")
                except ValueError as exc:
                    if not self._warned:
                        self._warned = True
                        _logger.warning("metrics: a series is left out: %s", exc)
        self.heads.forget()
        return "".join(lines).encode()
