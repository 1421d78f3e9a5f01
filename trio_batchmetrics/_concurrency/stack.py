"""Whether there is room on the stack to wake a task, which a ``RecursionError`` must not cut short.

An application may record where it has nearly used up the stack: at the bottom of a recursion, or in the handler of the
very error. If the error is raised again in the middle of a change of the buffer, the next look goes on with it, as it
does after a signal handler that raises. In the middle of Trio's run queue, the error ends the whole run.
"""

from __future__ import annotations

import sys

__all__ = ["NEEDED", "has_room"]

NEEDED = 20
"""Calls within calls that waking a task takes (8), with some for the hook of an instrument of Trio's."""


def _nested() -> tuple[object, ...]:
    nested: tuple[object, ...] = (int,)
    for _ in range(NEEDED):
        nested = (nested,)
    return nested


_NESTED = _nested()


def _room_for_any_call() -> bool:
    # isinstance() looks through nested tuples by recursion in C, 30 times as quick as so many calls in Python.
    try:
        isinstance(None, _NESTED)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    except RecursionError:
        return False
    return True


def _room_for_frames() -> bool:
    try:
        sys._getframe(max(sys.getrecursionlimit() - NEEDED, 0))  # pyright: ignore[reportPrivateUsage]
    except ValueError:  # the stack is not that deep
        return True
    return False


_counts_calls_in_c = sys.version_info[:2] < (3, 12)  # so that the checkers look at both
has_room = _room_for_any_call if _counts_calls_in_c else _room_for_frames
"""Tell whether as many calls within calls as are needed fit on the stack; costs 0.2 µs.

CPython counts calls of functions in C as well up to 3.11, and frames of Python alone from 3.12 on.
"""
