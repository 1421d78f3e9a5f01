"""What an application that records feels: a share of a core, and a task that wakes later."""

from __future__ import annotations

import statistics
from time import perf_counter

import trio

from .effort import Effort
from .figures import Figure, Outcome, Spread, ratio
from .gateway import CLIENTS, Report, recording_with
from .pacing import paced
from .processes import program

__all__ = ["run"]

RATES = {10_000: 2.5, 100_000: 25.0}
"""Events a second, and the most that recording them may take of a core, in per cent."""
NAP = 0.001
"""Seconds that the task alongside sleeps each time."""
ROUND = 0.5
"""Seconds that it does so in a round: several hundred sleeps, and short enough to be left alone sometimes."""


def _shares(rate: int, target: float, effort: Effort) -> list[Figure]:
    """Return what recording at a rate takes of a core, beyond what the same program takes without.

    The peers take part in every other turn.
    """
    found: dict[str, dict[int, float]] = {client: {} for client in CLIENTS}
    dropped = 0
    for turn in range(effort.processes):
        for client in CLIENTS[: 2 if turn % 2 else None]:
            report = Report(**program("gateway", client, rate, effort.windows))
            found[client][turn] = 100 * min(report.shares)
            dropped += report.dropped
    idle = found.pop("nothing")
    at = f"at {rate:_} events/s".replace("_", " ")
    figures: list[Figure] = []
    for client, shares in found.items():
        value = min(shares.values()) - min(idle.values())
        spread = Spread.of([share - idle[turn] for turn, share in shares.items()])
        if client == "ours":
            figures.append(Figure(f"share of a core {at}", value, "%", target, spread))
            figures.append(Figure(f"events dropped {at}", dropped, "", 0))
        else:
            figures.append(Figure(f"share of a core {at}, {client}", value, "%", None, spread))
    return figures


async def _sleeps() -> list[float]:
    """Sleep, again and again; return how long each time took."""
    taken: list[float] = []
    end = perf_counter() + ROUND
    while (start := perf_counter()) < end:
        await trio.sleep(NAP)
        taken.append(perf_counter() - start)
    return taken


async def _p99(client: str) -> float:
    async with recording_with(client) as (recorder, _), trio.open_nursery() as nursery:
        nursery.start_soon(paced, recorder, 10_000)
        taken = await _sleeps()
        nursery.cancel_scope.cancel()
    return statistics.quantiles(taken, n=100)[98]


async def _alongside(effort: Effort) -> list[Figure]:
    """Return how much longer a short sleep takes in a program that records."""
    idle: list[float] = []
    busy: list[float] = []
    for _ in range(2 * max(3, effort.processes)):
        idle.append(await _p99("nothing"))
        busy.append(await _p99("ours"))
    name = "a sleep of 1 ms, p99: alongside 10 000 events/s"
    late = [1e6 * (min(p99s) - NAP) for p99s in (idle, busy)]
    return [
        ratio(f"{name} ÷ alongside nothing", busy, idle, 1.25),
        Figure(f"{name}, how much too long", late[1], "µs"),
        Figure("a sleep of 1 ms, p99: alongside nothing, how much too long", late[0], "µs"),
    ]


def run(effort: Effort) -> Outcome:
    """Measure."""
    shares = [figure for rate, target in RATES.items() for figure in _shares(rate, target, effort)]
    return Outcome([*shares, *trio.run(_alongside, effort)])
