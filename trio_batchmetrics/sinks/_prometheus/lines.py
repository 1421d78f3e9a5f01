"""The lines of a Prometheus page: from series to text.

How this works
==============

Except for its numbers, a series' lines are the same in both formats and on every page. The :class:`Lines` next to a
series hold the constant part. The last lines written are cached until a value is added: per family for counters and
gauges, per series for histograms. The cache is deleted with the family or series.

Pages are written in any thread, or in steps on the run loop, while Trio's thread adds values
(:class:`~trio_batchmetrics.abc.SeriesStore`). Two pages may write the same lines at once; each stores them in one step,
together with the update that they show. Lines that a merge in progress may still change are not cached.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from math import isfinite

from ...abc import Kind, Measure, Series, SeriesFamily
from .families import ExposedFamily, Lines
from .text import number_text

__all__ = ["Histograms", "Numbers", "family_for", "has_sum"]

_NUMBERS_PER_PIECE = 400
"""Counters or gauges per piece: 0.2 ms (measured)."""

_HISTOGRAMS_PER_PIECE = 20
"""Histograms per piece: 0.2 ms with 14 bounds, if all have changed (measured)."""


def family_for(instrument: Measure) -> ExposedFamily:
    """Return an instrument as a family of a page."""
    return Histograms(instrument) if instrument.kind is Kind.HISTOGRAM else Numbers(instrument)


def has_sum(bounds: Sequence[str], value: float) -> bool:
    """Return whether a histogram has a sum in OpenMetrics, where a sum is a counter and so must not decrease."""
    return value >= 0 and not bounds[0].startswith("-")


class Numbers(ExposedFamily):
    """Counters or gauges: one line each, written together. ``repr`` of a float takes most of the time."""

    _cached_lines: tuple[tuple[int, int], int, bytes] = ((-1, 0), 0, b"")
    """The state that the cached lines show, the oldest update among their series, and the lines."""
    _cached_template: tuple[int, list[Series], list[str]] = (-1, [], [])
    """The number of changes that the template was built for, the series, and the lines with room for the numbers."""

    def _prefix(self, labels: str) -> str:
        return f"\n{self.name}{labels} "

    def pieces(self, family: SeriesFamily, *, openmetrics: bool, settled: int, since: int) -> Iterator[bytes]:
        """Yield the lines; they are the same in both formats."""
        state = (family.changes, family.updated)  # read before the series; writers set it before the series
        cached_state, oldest, written = self._cached_lines
        if state == cached_state and oldest >= since:
            if written:
                yield written
            return
        changes, series, template = self._cached_template
        if changes != state[0]:
            series = family.series
            template = _template_of(series)
            self._cached_template = (state[0], series, template)
        updates = [each.updated for each in series]  # read before the values: 0 means that there is no value yet
        if min(updates, default=since) < since:
            series = [each for each in family.series if each.shown(since)]
            template = _template_of(series)
            updates = [since]  # none is older; a lower bound is enough, because such pages are rare
        pieces: list[bytes] = []
        for start in range(0, len(series), _NUMBERS_PER_PIECE):
            stop = start + _NUMBERS_PER_PIECE
            pieces.append(_fill(series[start:stop], template[2 * start : 2 * stop]))
            yield pieces[-1]
        if state[1] <= settled:
            self._cached_lines = (state, min(updates, default=since), b"".join(pieces))


def _template_of(series: list[Series]) -> list[str]:
    template = [""] * (2 * len(series))
    template[::2] = [each.slot.prefix for each in series]
    return template


def _fill(series: list[Series], lines: list[str]) -> bytes:
    values = [1.0 * each.value for each in series]  # a gauge may have an int or a bool
    lines[1::2] = map(repr if isfinite(sum(values)) else number_text, values)
    return "".join(lines).encode()[1:] + b"\n"


class Histograms(ExposedFamily):
    """Histograms: each has cumulative buckets, a sum and a count."""

    def _prefix(self, labels: str) -> str:
        return f'{self.name}_bucket{labels[:-1]},le="' if labels else f'{self.name}_bucket{{le="'

    def pieces(self, family: SeriesFamily, *, openmetrics: bool, settled: int, since: int) -> Iterator[bytes]:
        """Yield the lines of some histograms at a time."""
        series = family.series
        for start in range(0, len(series), _HISTOGRAMS_PER_PIECE):
            shown = [each for each in series[start : start + _HISTOGRAMS_PER_PIECE] if each.shown(since)]
            written = [self._current(each, settled)[1:][openmetrics] for each in shown]
            if written:
                yield b"".join(written)

    def _current(self, series: Series, settled: int) -> tuple[int, bytes, bytes]:
        lines: Lines = series.slot
        written = lines.cached
        return written if written[0] == series.updated else self._write(series, lines, settled)

    def _write(self, series: Series, lines: Lines, settled: int) -> tuple[int, bytes, bytes]:
        counts, value, updated = series.counts[:], series.value, series.updated  # in the order of Series.point()
        totals = tuple(accumulate(counts))
        labels = lines.labels
        strict = (_template(self.bounds) % totals).replace("\0", lines.prefix)
        plain = (
            f"{strict}{self.name}_sum{labels} {number_text(value)}\n{self.name}_count{labels} {totals[-1]}\n".encode()
        )
        # OpenMetrics allows no count without a sum.
        lines.cached = written = (
            updated if updated <= settled else 0,
            plain,
            plain if has_sum(self.bounds, value) else strict.encode(),
        )
        return written


@lru_cache(maxsize=100)
def _template(bounds: tuple[str, ...]) -> str:
    """Return a template of a histogram's bucket lines, with the bounds' text. It is faster than line by line."""
    return "".join(f'\0{bound}"}} %d\n' for bound in bounds)
