"""Keeps the engines of this process: numbers them, and stops them in a forked child.

The set of engines is the library's only global state: the fork hook must find every collector.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol

from .process_name import process_name

__all__ = ["instance_name", "register_for_fork"]


class _Engine(Protocol):
    number: int
    """The number of this collector in its process: the smallest one from 1 on that no other open collector has."""

    @property
    def is_open(self) -> bool:
        """Whether the engine runs in this process, or is about to."""
        ...

    def forked(self) -> None:
        """Stop in a forked child."""
        ...


_engines: weakref.WeakSet[_Engine] = weakref.WeakSet()


def register_for_fork(engine: _Engine) -> None:
    """Register the engine: ``engine.forked()`` is called in each child forked from now on."""
    _engines.add(engine)


def instance_name(engine: _Engine) -> str:
    """Assign an engine its number, and return the name under which its collector reports.

    Returns:
        ``host:pid``; from the second open collector on, followed by its number.
    """
    engine.number = 1
    # The number is claimed before the check that it is free, as two threads may open a collector at the same time.
    while engine.number in (taken := {other.number for other in _open_engines() if other is not engine}):
        while engine.number in taken:
            engine.number += 1
    name = process_name()
    return name if engine.number == 1 else f"{name}:{engine.number}"


def _open_engines() -> list[_Engine]:
    while True:
        try:
            return [engine for engine in _engines if engine.is_open]
        except RuntimeError:  # another thread has just added an engine
            continue


def _after_fork_in_child() -> None:
    for engine in tuple(_engines):
        engine.forked()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
