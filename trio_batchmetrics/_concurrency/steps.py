"""Work in steps: the run loop gets a turn after about a millisecond of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import GeneratorType
from typing import TypeVar

import trio

from .turns import Turn

__all__ = ["in_steps", "joined"]

T = TypeVar("T")

_STEP_SECONDS = 0.0005
"""The CPU time per step. Trio runs the tasks of a pass in random order, so that two steps may follow each other: both
together, and what the values overshoot, take little more than a millisecond."""

_OFF_LOOP_BYTES = 1_000_000
"""The size from which ``bytes.join`` leaves the interpreter to other threads (CPython's ``GIL_THRESHOLD`` in
``stringlib/join.h``): below, it takes less than 0.3 ms."""


async def in_steps(parts: Iterable[T]) -> list[T]:
    """Return the values of an iterable, and give the run loop a turn whenever half a millisecond has passed.

    For work that would block the loop if it were done at once: written as a generator, it is interrupted between two
    values. A checkpoint only if it takes half a millisecond or longer. In a busy run loop, a turn lasts for up to a
    tenth of the time that the others took. If it is cancelled, a generator is closed.

    Args:
        parts: each value should take much less than a millisecond.

    Example:
        >>> import trio
        >>> from trio_batchmetrics.abc import in_steps
        >>> async def main():
        ...     return sum(await in_steps(n * n for n in range(1000)))
        >>> trio.run(main)
        332833500
    """
    collected: list[T] = []
    turn = Turn(min_seconds=_STEP_SECONDS)
    try:
        for part in parts:
            collected.append(part)
            if turn.over:
                await turn.yield_to_others()
    finally:
        if isinstance(parts, GeneratorType):
            parts.close()
    return collected


async def joined(parts: Sequence[bytes]) -> bytes:
    """Return ``b"".join(parts)`` without blocking the run loop.

    More than a megabyte is joined in a worker thread, where CPython copies it without the global interpreter lock. A
    checkpoint only then.
    """
    if len(parts) == 1:
        return parts[0]
    if sum(map(len, parts)) < _OFF_LOOP_BYTES:
        return b"".join(parts)
    return await trio.to_thread.run_sync(b"".join, parts, abandon_on_cancel=True)
