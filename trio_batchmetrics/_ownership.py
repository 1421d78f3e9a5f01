"""Ensures that a sink belongs to at most one open collector at a time.

Two collectors would call the sink concurrently, and bind it to two contexts: the second would erase the series of the
first, and both would report their events as delivered.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Mapping

from .abc import Sink

__all__ = ["Holder", "claim", "release"]

_MARK = "_claimed_by"
"""The key of the claim in the sink's own ``__dict__``, so that no subclass needs to know about it."""


class _Claim:
    """An open collector's claim on a sink. It lasts while its owner lives; in a child forked meanwhile, permanently.

    The child shares the sink's connections and files with its parent, so it must not use them.
    """

    def __init__(self, owner: object) -> None:
        self.owner = weakref.ref(owner)
        self.pid = os.getpid()

    def refusal(self) -> str | None:
        """Return the reason why no other collector may claim the sink, or None if one may."""
        if self.pid != os.getpid():
            return "was in use by a collector of the parent process at the fork; create one in the child"
        return None if self.owner() is None else "is in use by another open collector; create one for each collector"


def claim(sinks: Mapping[str, Sink], owner: object) -> None:
    """Claim sinks for an opening collector: all of them or none.

    Args:
        sinks: the sinks, by name.
        owner: the collector. If it is garbage-collected without having been left, its sinks are free again.

    Raises:
        RuntimeError: a sink belongs to an open collector; the message names the sink.
    """
    for name, sink in sinks.items():
        held = _claim_on(sink)
        refusal = None if held is None else held.refusal()
        if refusal is not None:
            raise RuntimeError(f"sink {name!r} ({type(sink).__name__}) {refusal}")
    for sink in sinks.values():
        vars(sink)[_MARK] = _Claim(owner)


def release(sinks: Iterable[Sink], owner: object) -> None:
    """Release the sinks of a collector whose block was left. Does nothing in a forked child, which owns none."""
    for sink in sinks:
        held = _claim_on(sink)
        if held is not None and held.owner() is owner and held.pid == os.getpid():
            del vars(sink)[_MARK]


class Holder:
    """Remembers which collector holds a sink now, and checks later whether it still does."""

    def __init__(self, sink: Sink) -> None:
        """Note the current holder. A sink that is used without a collector counts as held for as long as it exists."""
        self._sink = weakref.ref(sink)
        self._claim = _claim_on(sink)

    def still_holds(self) -> bool:
        """Return whether the same collector still holds the sink.

        It no longer does once its block was left, if it failed to open, or if it was garbage-collected without being
        left.
        """
        sink = self._sink()
        if sink is None or self._claim is None:
            return sink is not None
        return _claim_on(sink) is self._claim and self._claim.owner() is not None


def _claim_on(sink: Sink) -> _Claim | None:
    held: _Claim | None = vars(sink).get(_MARK)
    return held
