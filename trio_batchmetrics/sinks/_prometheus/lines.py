"""The lines of a Prometheus page: from cells to text.

How this works
==============

Except for its numbers, a series' lines are the same in both formats and on every page. A :class:`Series` has the
constant part. The last lines written are cached until a value is added: per family for counters and gauges, per series
for histograms. The cache belongs to the family or series and goes with it.

Pages are written in any thread while Trio's thread adds values (:mod:`trio_batchmetrics._series`). Two threads may
write the same lines at once; each stores them in one step, together with the update that they show. Lines that a merge
in progress may still change are not cached.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from math import isfinite

from ..._events import Kind
from ..._series import Cell, Family
from .families import ExposedFamily, Series
from .text import number_text

__all__ = ["Histograms", "Numbers", "exposed", "has_sum"]


def exposed(family: Family) -> ExposedFamily:
    """Return an instrument as a family of a page."""
    return Histograms(family) if family.measure.kind is Kind.HISTOGRAM else Numbers(family)


def has_sum(bounds: Sequence[str], value: float) -> bool:
    """Return whether a histogram has a sum in OpenMetrics, where it is a counter: not if it may decrease."""
    return value >= 0 and not bounds[0].startswith("-")


class Numbers(ExposedFamily):
    """Counters or gauges: one line each, all written together. ``repr`` of a float takes most of the time."""

    _written: tuple[tuple[int, int], int, bytes] = ((-1, 0), 0, b"")
    """The state that the cached lines show; the oldest update of a series among them; the lines."""
    _form: tuple[int, list[Cell], list[str]] = (-1, [], [])
    """The number of changes it was built for; the cells; the lines, with room for the numbers."""

    def _before(self, labels: str) -> str:
        return f"\n{self.name}{labels} "

    def lines(self, *, openmetrics: bool, settled: int, since: int) -> list[bytes]:
        """Return the lines; they are the same in both formats."""
        updated = self.family.updated  # read before the cells; writers set it before the cells
        shows = (self._changes, updated)
        showed, oldest, written = self._written
        if shows != showed or oldest < since:
            changes, cells, form = self._form
            if changes != shows[0]:
                cells, form = _form_of([*self.series.values()])
                self._form = (shows[0], cells, form)
            updates = [cell.updated for cell in cells]  # read before the values: 0 means that there is no value yet
            if min(updates, default=since) < since:
                cells, form = _form_of([one for one in [*self.series.values()] if one.cell.shown(since)])
                updates = [since]  # none is older; a lower bound is enough, since such pages are rare
            written = _filled(cells, form)
            if updated <= settled:
                self._written = (shows, min(updates, default=since), written)
        return [written] if written else []


def _form_of(series: list[Series]) -> tuple[list[Cell], list[str]]:
    form = [""] * (2 * len(series))
    form[::2] = [one.before for one in series]
    return [one.cell for one in series], form


def _filled(cells: list[Cell], form: list[str]) -> bytes:
    if not cells:
        return b""
    values = [1.0 * cell.value for cell in cells]  # a gauge may have an int or a bool
    lines = form[:]
    lines[1::2] = map(repr if isfinite(sum(values)) else number_text, values)
    return "".join(lines).encode()[1:] + b"\n"


class Histograms(ExposedFamily):
    """Histograms: each has cumulative buckets, a sum and a count."""

    def _before(self, labels: str) -> str:
        return f'{self.name}_bucket{labels[:-1]},le="' if labels else f'{self.name}_bucket{{le="'

    def lines(self, *, openmetrics: bool, settled: int, since: int) -> list[bytes]:
        """Return the lines of each histogram."""
        lines: list[bytes] = []
        for one in [*self.series.values()]:
            if one.cell.shown(since):
                written = one.written
                if written[0] != one.cell.updated:
                    written = self._write(one, settled)
                lines.append(written[2] if openmetrics else written[1])
        return lines

    def _write(self, one: Series, settled: int) -> tuple[int, bytes, bytes]:
        cell, labels = one.cell, one.labels
        counts, value, updated = cell.counts[:], cell.value, cell.updated  # in the order of Cell.point()
        totals = tuple(accumulate(counts))
        strict = (_template(one.bounds) % totals).replace("\0", one.before)
        lines = (
            f"{strict}{self.name}_sum{labels} {number_text(value)}\n{self.name}_count{labels} {totals[-1]}\n".encode()
        )
        # OpenMetrics allows no count without a sum.
        one.written = written = (
            updated if updated <= settled else 0,
            lines,
            lines if has_sum(one.bounds, value) else strict.encode(),
        )
        return written


@lru_cache(maxsize=100)
def _template(bounds: tuple[str, ...]) -> str:
    """Return a histogram's bucket lines as a template with the bounds' text; faster than line by line."""
    return "".join(f'\0{bound}"}} %d\n' for bound in bounds)
