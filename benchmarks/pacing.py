"""Records at a given rate, like a gateway: mostly requests, with the events that accompany them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from typing import Any, NoReturn

import trio

from .instruments import durations

__all__ = ["MIX", "PERIOD", "Recorder", "record_at_rate"]

PERIOD = 0.005
"""Seconds between two wake-ups of the recording task, on a fixed schedule, as real traffic arrives."""

MIX = ("http",) * 14 + ("backend",) * 4 + ("cache", "health")
"""The kinds of twenty events."""

Recorder = Callable[[str, float], tuple[Callable[..., object], tuple[Any, ...]]]
"""Returns the function to call for a kind and a duration, and its arguments."""


def calls_of(recorder: Recorder) -> Sequence[tuple[Callable[..., object], tuple[Any, ...]]]:
    """Return a thousand calls to make in turn."""
    values = durations(1000)
    return [recorder(kind, value) for kind, value in zip(cycle(MIX), values, strict=False)]


async def record_at_rate(recorder: Recorder | None, rate: int) -> NoReturn:
    """Record at a rate, until cancelled.

    Args:
        recorder: returns the call for an event; None: the same loop without calls.
        rate: events per second.
    """
    calls: Iterator[tuple[Callable[..., object], tuple[Any, ...]]]
    calls = cycle(calls_of(recorder or (lambda _kind, _duration: (print, ()))))
    done, start = 0, trio.current_time()
    while True:
        elapsed = trio.current_time() - start
        due = int(elapsed * rate) - done
        if recorder is None:
            for _call, _arguments in islice(calls, due):
                pass
        else:
            for call, arguments in islice(calls, due):
                call(*arguments)
        done += due
        await trio.sleep_until(start + (elapsed // PERIOD + 1) * PERIOD)
