"""The results of a benchmark: figures, some with a target, and the costs of single calls."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import attrs

__all__ = ["Cost", "Figure", "Outcome", "Spread", "ratio"]


@attrs.frozen
class Spread:
    """The quartiles of the rounds."""

    low: float
    """A quarter of the rounds are below."""
    median: float
    """Half of the rounds are below."""
    high: float
    """A quarter of the rounds are above."""

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """Return the quartiles of some values; None for fewer than two."""
        if len(values) < 2:
            return None
        return cls(*statistics.quantiles(values, n=4, method="inclusive"))


@attrs.frozen
class Figure:
    """One line of the table."""

    name: str
    """The description of what was measured."""
    value: float
    unit: str = "×"
    """The unit; ``×`` for a ratio."""
    target: float | None = None
    """The maximum; None: the figure has no target."""
    spread: Spread | None = None
    """The quartiles of this figure over single rounds."""

    @property
    def holds(self) -> bool | None:
        """Whether the rounded value meets the target; None without a target."""
        return None if self.target is None else float(formatted(self.value)) <= self.target


@attrs.frozen
class Cost:
    """The cost of one call."""

    client: str
    """The client."""
    call: str
    """The code that was timed."""
    floors: float
    """The cost as a multiple of the floor in the same rounds."""
    nanoseconds: float
    """The minimum time on this machine."""


@attrs.frozen
class Outcome:
    """All results of one benchmark."""

    figures: list[Figure] = attrs.field(factory=list[Figure])
    costs: list[Cost] = attrs.field(factory=list[Cost])


def formatted(value: float) -> str:
    """Return a value as shown in tables, with three significant digits or as an integer."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{float(f'{value:.3g}'):g}"


def ratio(name: str, ours: Sequence[float], theirs: Sequence[float], target: float | None = None) -> Figure:
    """Return the ratio of two contenders' minima, and the spread of the ratios of single rounds.

    Args:
        name: the description of the ratio.
        ours: one time per round.
        theirs: the other contender's times in the same rounds.
        target: the maximum of the ratio.
    """
    rounds = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return Figure(name, min(ours) / min(theirs), target=target, spread=Spread.of(rounds))
