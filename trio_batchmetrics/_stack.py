"""Whether there is room on the stack for a call, asked before what must not be cut short by a ``RecursionError``.

An application may record where it has nearly used up the stack: at the bottom of a recursion, or in the handler of the
very error. If the error is raised again in the middle of a change, the change is left half made. In Trio's run queue
that ends the whole run.
"""

from __future__ import annotations

import sys

__all__ = ["DEEP", "SHALLOW", "has_room"]

SHALLOW = 20
"""Calls within calls that waking a task takes (8), with some for the hook of an instrument of Trio's."""

DEEP = 30
"""Calls within calls that a change of the buffer takes (14), with some for what is called there. Waking asks itself."""


def _nested(levels: int) -> tuple[object, ...]:
    nested: tuple[object, ...] = (int,)
    for _ in range(levels):
        nested = (nested,)
    return nested


_NESTED = {levels: _nested(levels) for levels in (SHALLOW, DEEP)}


def _room_for_any_call(levels: int) -> bool:
    # isinstance() looks through nested tuples by recursion in C, 30 times as quick as so many calls in Python.
    try:
        isinstance(None, _NESTED[levels])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    except RecursionError:
        return False
    return True


def _room_for_frames(levels: int) -> bool:
    try:
        sys._getframe(max(sys.getrecursionlimit() - levels, 0))  # pyright: ignore[reportPrivateUsage]
    except ValueError:  # the stack is not that deep
        return True
    return False


_counts_calls_in_c = sys.version_info[:2] < (3, 12)  # so that the checkers look at both
has_room = _room_for_any_call if _counts_calls_in_c else _room_for_frames
"""Tell whether so many calls within calls fit on the stack; costs 0.2 µs.

CPython counts calls of functions in C as well up to 3.11, and frames of Python alone from 3.12 on.
"""
