"""What a benchmark finds: figures, some with a target, and what single calls cost."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import attrs

__all__ = ["Cost", "Figure", "Outcome", "Spread", "ratio"]


@attrs.frozen
class Spread:
    """How far the single rounds lie apart."""

    low: float
    """A quarter of the rounds are below."""
    median: float
    """Half of the rounds are below."""
    high: float
    """A quarter of the rounds are above."""

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """Return the quartiles of some values; None of fewer than two."""
        if len(values) < 2:
            return None
        return cls(*statistics.quantiles(values, n=4, method="inclusive"))


@attrs.frozen
class Figure:
    """One line of the table."""

    name: str
    """What was measured, in words."""
    value: float
    unit: str = "×"
    """What it is counted in; a ratio has ``×``."""
    target: float | None = None
    """The most it may be; None: it is only shown."""
    spread: Spread | None = None
    """Of the same figure taken from each round by itself."""

    @property
    def holds(self) -> bool | None:
        """Whether the target is met; None without one. The value decides as it is shown, rounded."""
        return None if self.target is None else float(shown(self.value)) <= self.target


@attrs.frozen
class Cost:
    """What one call costs."""

    client: str
    """Whose call it is."""
    call: str
    """The code that was timed."""
    floors: float
    """How many times the floor of the same rounds."""
    nanoseconds: float
    """The same in time, which is this machine's in its best moment."""


@attrs.frozen
class Outcome:
    """All that one benchmark found."""

    figures: list[Figure] = attrs.field(factory=list[Figure])
    costs: list[Cost] = attrs.field(factory=list[Cost])


def shown(value: float) -> str:
    """Return a value as tables show it: three digits, and none after the point beyond them."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{float(f'{value:.3g}'):g}"


def ratio(name: str, ours: Sequence[float], theirs: Sequence[float], target: float | None = None) -> Figure:
    """Return the ratio of two contenders' minima, and the spread of the ratios of single rounds.

    Args:
        name: what it is, in words.
        ours: a time a round.
        theirs: the other contender's, of the same rounds.
        target: the most the ratio may be.
    """
    rounds = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return Figure(name, min(ours) / min(theirs), target=target, spread=Spread.of(rounds))
