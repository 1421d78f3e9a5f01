"""Measures the effect of recording on an application: the share of a core, and the delay of another task."""

from __future__ import annotations

import statistics
from time import perf_counter

import trio

from .effort import Effort
from .figures import Figure, Outcome, Spread, ratio
from .gateway import CLIENTS, Report, recording_with
from .pacing import record_at_rate
from .processes import run_program

__all__ = ["run"]

RATES = {10_000: 2.5, 100_000: 25.0}
"""Events per second, and the maximum share of a core that recording them may take, in per cent."""
NAP = 0.001
"""Seconds that the concurrent task sleeps each time."""
ROUND = 0.5
"""Seconds per round: enough for several hundred sleeps, and short enough that some rounds are undisturbed."""


def _shares(rate: int, target: float, effort: Effort) -> list[Figure]:
    """Return the share of a core that recording at a rate takes, beyond that of the same program without recording.

    The peers take part in every other turn.
    """
    found: dict[str, dict[int, float]] = {client: {} for client in CLIENTS}
    dropped = 0
    for turn in range(effort.processes):
        for client in CLIENTS[: 2 if turn % 2 else None]:
            report = Report(**run_program("gateway", client, rate, effort.windows))
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
    """Sleep repeatedly; return the duration of each sleep."""
    durations: list[float] = []
    end = perf_counter() + ROUND
    while (start := perf_counter()) < end:
        await trio.sleep(NAP)
        durations.append(perf_counter() - start)
    return durations


async def _p99(client: str) -> float:
    async with recording_with(client) as (recorder, _), trio.open_nursery() as nursery:
        nursery.start_soon(record_at_rate, recorder, 10_000)
        durations = await _sleeps()
        nursery.cancel_scope.cancel()
    return statistics.quantiles(durations, n=100)[98]


async def _alongside(effort: Effort) -> list[Figure]:
    """Return figures on how much longer a short sleep takes in a program that records."""
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
    """Run the benchmark."""
    shares = [figure for rate, target in RATES.items() for figure in _shares(rate, target, effort)]
    return Outcome([*shares, *trio.run(_alongside, effort)])
