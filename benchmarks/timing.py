"""Contenders in turns: floor, ours, a peer, floor, ours, a peer, … in short rounds, many times.

How this works
==============

A contender is a statement, as a user writes it. It is compiled into the body of a loop, with the same loop around it
for all contenders and every name a local variable::

    start = perf_counter_ns()
    for _ in repeat(None, calls):
        metrics.record_http_request("GET", "/api/data", 200, 0.15)
    return perf_counter_ns() - start

The figure is the minimum over the rounds: whatever else a machine does can only make a round longer. A round takes
about a millisecond, so that some rounds of each contender are left alone, and in the same minute.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from time import perf_counter, perf_counter_ns, time
from typing import Any

import attrs
import trio

from .figures import Cost

__all__ = ["FLOOR", "Contender", "Rounds", "compete", "floor"]

WARM_UP = 3
"""Rounds that do not count: the interpreter adapts its bytecode to what it meets."""

FLOOR = "A"
"""The floor's name: the least that keeping an event can cost in Python."""


@attrs.frozen
class Contender:
    """Something to be timed."""

    name: str
    statement: str
    """The code of one call; it may await."""
    names: Mapping[str, Any]
    """What its names stand for."""
    calls: int = 1000
    """Calls a round; with another loop, how many that one makes."""
    loop: str = "for _ in repeat(None, calls)"
    """The loop around it."""
    finish: str = "pass"
    """A statement after the loop, within the time; it may await."""
    before: Callable[[], object] = lambda: None
    """Called before each round, outside the time."""
    after: Callable[[], object] = lambda: None
    """Called after each round, and awaited if there is something to await, outside the time."""
    client: str = ""
    """Whose call it is, if its cost is to be shown."""

    def compiled(self) -> Callable[[], Any]:
        """Return a function that makes one round and returns, or comes to return, its nanoseconds."""
        fixed = {"calls": self.calls, "repeat": repeat, "perf_counter_ns": perf_counter_ns}
        names = {**fixed, **self.names}
        asynchronous = "await " in self.statement + self.finish
        source = (
            f"{'async ' if asynchronous else ''}def timed({', '.join(names)}):\n"
            f"    start = perf_counter_ns()\n"
            f"    {self.loop}:\n"
            f"        {self.statement}\n"
            f"    {self.finish}\n"
            f"    return perf_counter_ns() - start\n"
        )
        made: dict[str, Any] = {}
        exec(compile(source, f"<{self.name}>", "exec"), made)  # noqa: S102 - the statements stand in this folder
        function, values = made["timed"], tuple(names.values())
        return lambda: function(*values)


def floor(duration: str = "0.15", client: str = "", **changes: Any) -> Contender:
    """Return the floor: a tuple with the time, appended to a deque.

    The deque's bound keeps memory from growing; with as few as a default batch has, it stays in the processor's cache.

    Args:
        duration: the code of the last value.
        client: as what its cost is shown.
        **changes: other fields of the contender; ``names`` are added.
    """
    names = {"events": deque[Any](maxlen=100), "time": time, **changes.pop("names", {})}
    names |= {"method": "GET", "path": "/api/data", "status": 200}
    statement = f"events.append((method, path, status, {duration}, time()))"
    return Contender(FLOOR, statement, names, client=client, **changes)


@attrs.frozen
class Rounds:
    """The times of one competition."""

    contenders: Mapping[str, Contender]
    times: Mapping[str, list[float]]
    """By contender: nanoseconds a call, one figure a round; all of the same length."""

    def __getitem__(self, name: str) -> list[float]:
        """Return a contender's times."""
        return self.times[name]

    def costs(self) -> list[Cost]:
        """Return what the calls of contenders with a client cost."""
        least = min(self.times[FLOOR])
        return [
            Cost(each.client, each.statement, min(self.times[name]) / least, min(self.times[name]))
            for name, each in self.contenders.items()
            if each.client
        ]


async def _awaited(value: Any) -> Any:
    """Return a value, or what comes of one that is to be awaited."""
    return await value if inspect.isawaitable(value) else value


async def compete(contenders: Sequence[Contender], seconds: float) -> Rounds:
    """Time contenders in turns.

    Args:
        contenders: in the order of their turns.
        seconds: how long it may take; at least 8 rounds are made.
    """
    timed = [(each, each.compiled()) for each in contenders]
    times: dict[str, list[float]] = {each.name: [] for each in contenders}
    end = perf_counter() + seconds
    made = 0
    while made < WARM_UP + 8 or perf_counter() < end:
        for contender, function in timed:
            contender.before()
            taken = await _awaited(function())
            if made >= WARM_UP:
                times[contender.name].append(taken / contender.calls)
            await _awaited(contender.after())
            await trio.lowlevel.checkpoint()
        made += 1
    return Rounds({each.name: each for each in contenders}, times)
