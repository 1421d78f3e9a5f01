"""The amount of work per run."""

from __future__ import annotations

import attrs

__all__ = ["FULL", "QUICK", "Effort"]


@attrs.frozen(kw_only=True)
class Effort:
    """The duration, the repetitions and the number of events of each measurement."""

    seconds: float
    """The duration of a competition."""
    processes: int
    """How often each separate program is started."""
    windows: int
    """The number of time windows that each program measures."""
    events: int
    """The number of events, for figures about many events."""


FULL = Effort(seconds=12, processes=12, windows=3, events=1_000_000)
"""About five minutes in all."""
QUICK = Effort(seconds=1.5, processes=2, windows=2, events=300_000)
"""Under a minute, with rougher figures."""
