"""The lines of a page of Prometheus': from cells to text.

How this works
==============

The lines of a series are the same in both formats and from page to page, but for its numbers. A :class:`Series` has
what does not change; what was written last is kept for as long as nothing is added: of counters and gauges for a family
as a whole, of histograms for each. It belongs to the family or series and goes with it.

Pages are written in any thread while Trio's adds (:mod:`trio_batchmetrics._series`). Two threads may write the same
lines at once; each puts them down in one step, together with the update that they show. Lines that a merge under way
may still change are not kept.
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
    """Tell whether a histogram has a sum in OpenMetrics, where that is a counter: not if it may fall."""
    return value >= 0 and not bounds[0].startswith("-")


class Numbers(ExposedFamily):
    """Counters or gauges: a line each, written all at once. What costs most of the time is ``repr`` of a float."""

    _written: tuple[tuple[int, int], int, bytes] = ((-1, 0), 0, b"")
    """What its lines show; the oldest update of a series among them; the lines."""
    _form: tuple[int, list[Cell], list[str]] = (-1, [], [])
    """For how many changes; the cells; the lines, with room for the numbers."""

    def _before(self, labels: str) -> str:
        return f"\n{self.name}{labels} "

    def lines(self, *, openmetrics: bool, settled: int, since: int) -> list[bytes]:
        """Return them, the same in both formats."""
        updated = self.family.updated  # read before the cells, written before them
        shows = (self._changes, updated)
        showed, oldest, written = self._written
        if shows != showed or oldest < since:
            changes, cells, form = self._form
            if changes != shows[0]:
                cells, form = _form_of([*self.series.values()])
                self._form = (shows[0], cells, form)
            updates = [cell.updated for cell in cells]  # before the values: 0 is one that has none yet
            if min(updates, default=since) < since:
                cells, form = _form_of([one for one in [*self.series.values()] if one.cell.shown(since)])
                updates = [since]  # none is older: enough to know, such pages are few
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
    """Histograms: cumulative buckets, a sum and a count each."""

    def _before(self, labels: str) -> str:
        return f'{self.name}_bucket{labels[:-1]},le="' if labels else f'{self.name}_bucket{{le="'

    def lines(self, *, openmetrics: bool, settled: int, since: int) -> list[bytes]:
        """Return them."""
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
        counts, value, updated = cell.counts[:], cell.value, cell.updated  # as Cell.point() reads them
        totals = tuple(accumulate(counts))
        strict = (_template(one.bounds) % totals).replace("\0", one.before)
        lines = (
            f"{strict}{self.name}_sum{labels} {number_text(value)}\n{self.name}_count{labels} {totals[-1]}\n".encode()
        )
        # In OpenMetrics there is no count without a sum either.
        one.written = written = (
            updated if updated <= settled else 0,
            lines,
            lines if has_sum(one.bounds, value) else strict.encode(),
        )
        return written


@lru_cache(maxsize=100)
def _template(bounds: tuple[str, ...]) -> str:
    """Return the lines of buckets, in the order of the formats' text, to be filled in: quicker than line by line."""
    return "".join(f'\0{bound}"}} %d\n' for bound in bounds)
