"""The engines of this process: which number each has, and what happens to them in a forked child.

This is the library's only global: the fork hook must find every collector.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol

from .process_name import process_name

__all__ = ["forget_at_fork", "instance_name"]


class _Engine(Protocol):
    number: int
    """Which of the open collectors of this process it is: the smallest number from 1 on that no other has."""

    @property
    def is_open(self) -> bool:
        """Whether it runs in this process, or is about to."""
        ...

    def forked(self) -> None:
        """Stop, in a forked child."""
        ...


_engines: weakref.WeakSet[_Engine] = weakref.WeakSet()


def forget_at_fork(engine: _Engine) -> None:
    """Have ``engine.forked()`` called in each child that is forked from now on."""
    _engines.add(engine)


def instance_name(engine: _Engine) -> str:
    """Give an engine its number, and return what its collector is called among all that report.

    Returns:
        ``host:pid``, with the number from the second open collector on.
    """
    engine.number = 1
    # Taken before it is known to be free: two threads may open at the same time.
    while engine.number in (taken := {other.number for other in _open_engines() if other is not engine}):
        while engine.number in taken:
            engine.number += 1
    name = process_name()
    return name if engine.number == 1 else f"{name}:{engine.number}"


def _open_engines() -> list[_Engine]:
    while True:
        try:
            return [one for one in _engines if one.is_open]
        except RuntimeError:  # another thread has added one meanwhile
            continue


def _after_fork_in_child() -> None:
    for one in tuple(_engines):
        one.forked()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
