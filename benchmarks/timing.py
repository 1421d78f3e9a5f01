"""Times contenders in turns (floor, ours, a peer, floor, ours, a peer, …) in many short rounds.

How this works
==============

A contender is a statement as a user writes it. It is compiled into the body of a loop. All contenders have the same
loop, and every name is a local variable::

    start = perf_counter_ns()
    for _ in repeat(None, calls):
        metrics.record_http_request("GET", "/api/data", 200, 0.15)
    return perf_counter_ns() - start

The figure is the minimum over the rounds, because other work of the machine can only make a round longer. A round
takes about a millisecond, so that some rounds of each contender are undisturbed, in the same minute.
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
"""Rounds that don't count: the interpreter adapts its bytecode during them."""

FLOOR = "A"
"""The floor's name. The floor is the minimum cost of keeping an event in Python."""


@attrs.frozen
class Contender:
    """A statement to time."""

    name: str
    statement: str
    """The code of one call; it may await."""
    names: Mapping[str, Any]
    """The values of the names in the code."""
    calls: int = 1000
    """The number of calls per round; with another loop, the number that this loop makes."""
    loop: str = "for _ in repeat(None, calls)"
    """The loop around the statement."""
    finish: str = "pass"
    """A statement after the loop, included in the time; it may await."""
    before: Callable[[], object] = lambda: None
    """Called before each round; not included in the time."""
    after: Callable[[], object] = lambda: None
    """Called after each round, and awaited if it returns an awaitable; not included in the time."""
    client: str = ""
    """The client's name; empty if the cost isn't shown."""

    def compiled(self) -> Callable[[], Any]:
        """Return a function that runs one round and returns its nanoseconds, or an awaitable of them."""
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
        namespace: dict[str, Any] = {}
        exec(compile(source, f"<{self.name}>", "exec"), namespace)  # noqa: S102 - the statements are in this folder
        function, values = namespace["timed"], tuple(names.values())
        return lambda: function(*values)


def floor(duration: str = "0.15", client: str = "", **changes: Any) -> Contender:
    """Return the floor: a tuple with the time, appended to a deque.

    The deque is bounded, so that memory doesn't grow. With the size of a default batch, it stays in the processor's
    cache.

    Args:
        duration: the code of the last value.
        client: the client's name in the table of costs.
        **changes: other fields of the contender; ``names`` are added to the floor's.
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
    """Nanoseconds per call by contender, one value per round; all lists have the same length."""

    def __getitem__(self, name: str) -> list[float]:
        """Return a contender's times."""
        return self.times[name]

    def costs(self) -> list[Cost]:
        """Return the costs of the contenders that have a client."""
        floor_time = min(self.times[FLOOR])
        return [
            Cost(each.client, each.statement, min(self.times[name]) / floor_time, min(self.times[name]))
            for name, each in self.contenders.items()
            if each.client
        ]


async def _awaited(value: Any) -> Any:
    """Return a value, or the result of an awaitable."""
    return await value if inspect.isawaitable(value) else value


async def compete(contenders: Sequence[Contender], seconds: float) -> Rounds:
    """Time contenders in turns.

    Args:
        contenders: in the order of their turns.
        seconds: the time limit; at least 8 rounds are run.
    """
    timed = [(each, each.compiled()) for each in contenders]
    times: dict[str, list[float]] = {each.name: [] for each in contenders}
    end = perf_counter() + seconds
    rounds_done = 0
    while rounds_done < WARM_UP + 8 or perf_counter() < end:
        for contender, function in timed:
            contender.before()
            nanoseconds = await _awaited(function())
            if rounds_done >= WARM_UP:
                times[contender.name].append(nanoseconds / contender.calls)
            await _awaited(contender.after())
            await trio.lowlevel.checkpoint()
        rounds_done += 1
    return Rounds({each.name: each for each in contenders}, times)
