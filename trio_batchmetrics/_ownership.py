"""A sink belongs to one open collector at a time.

Two collectors would call it at the same time, and bind it to two contexts: the second erases the series of the first,
and both say that theirs were delivered.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Mapping

from .abc import Sink

__all__ = ["Hold", "claim", "release"]

_MARK = "_claimed_by"
"""Where a sink keeps its claim: in its own dictionary, so that no subclass has to know."""


class _Claim:
    """That a collector is open with a sink: for as long as its owner lives, and in a child forked meanwhile for ever.

    A child has the sink's connections and files together with its parent, so neither may go on with them.
    """

    def __init__(self, owner: object) -> None:
        self.owner = weakref.ref(owner)
        self.pid = os.getpid()

    def refusal(self) -> str | None:
        """Return why nobody else may have the sink, if so."""
        if self.pid != os.getpid():
            return "was in use by a collector of the parent process at the fork; create one in the child"
        return None if self.owner() is None else "is in use by another open collector; create one for each collector"


def claim(sinks: Mapping[str, Sink], owner: object) -> None:
    """Take sinks for a collector that opens: all of them or none.

    Args:
        sinks: by name.
        owner: the collector; should it be forgotten without having been left, its sinks are free.

    Raises:
        RuntimeError: one belongs to an open collector; the message names it.
    """
    for name, sink in sinks.items():
        held = _claim_on(sink)
        refusal = None if held is None else held.refusal()
        if refusal is not None:
            raise RuntimeError(f"sink {name!r} ({type(sink).__name__}) {refusal}")
    for sink in sinks.values():
        vars(sink)[_MARK] = _Claim(owner)


def release(sinks: Iterable[Sink], owner: object) -> None:
    """Free the sinks of a collector whose block was left; a forked child has none to free."""
    for sink in sinks:
        held = _claim_on(sink)
        if held is not None and held.owner() is owner and held.pid == os.getpid():
            del vars(sink)[_MARK]


class Hold:
    """Who has a sink, as of now, and whether that is still so."""

    def __init__(self, sink: Sink) -> None:
        """Note who has it; a sink that is used without a collector counts as held for good."""
        self._sink = weakref.ref(sink)
        self._claim = _claim_on(sink)

    @property
    def lasts(self) -> bool:
        """Whether the same collector still has it: it may have failed to open, or been forgotten without being left."""
        sink = self._sink()
        if sink is None or self._claim is None:
            return sink is not None
        return _claim_on(sink) is self._claim and self._claim.owner() is not None


def _claim_on(sink: Sink) -> _Claim | None:
    held: _Claim | None = vars(sink).get(_MARK)
    return held
