"""How much work a run does."""

from __future__ import annotations

import attrs

__all__ = ["FULL", "QUICK", "Effort"]


@attrs.frozen(kw_only=True)
class Effort:
    """How long each measurement takes, how often it is repeated, how much it records."""

    seconds: float
    """For a competition."""
    processes: int
    """How often each program of its own is started."""
    windows: int
    """How many windows of time each of them measures."""
    events: int
    """Where a figure is about many events: how many."""


FULL = Effort(seconds=12, processes=12, windows=3, events=1_000_000)
"""About five minutes in all."""
QUICK = Effort(seconds=1.5, processes=2, windows=2, events=300_000)
"""Under a minute; its figures are rougher."""
