"""Times recording and the flush task's work, up to a sink that takes the events and does nothing."""

from __future__ import annotations

import trio

from trio_batchmetrics import Batch, BatchMetricsCollector, BatchMetricsConfig, collector

from .effort import Effort
from .figures import Outcome, ratio
from .recording import CALL, ROOM, check_accepted
from .timing import FLOOR, Contender, compete, floor

__all__ = ["EVENTS", "discard", "run"]

EVENTS = 5000
"""The number of events before each flush, over which the cost of ``flush()`` itself is spread."""


async def discard(batch: Batch) -> None:
    """Do nothing with a batch; a sink."""


async def read_columns(batch: Batch) -> None:  # noqa: ASYNC124 - a sink is asynchronous
    """Read each column, and the key of each event's labels; a sink."""
    for columns in batch.columns():
        _ = [*columns.label_sets], columns.timestamps, columns.values, columns.ids


async def _run(effort: Effort) -> Outcome:
    large = BatchMetricsConfig(buffer_size=ROOM.buffer_size, batch_size=1000)
    async with (
        collector(ROOM, sinks=[discard]) as metrics,
        collector(large, sinks=[discard]) as in_large,
        collector(ROOM, sinks=[read_columns]) as read,
        collector(large, sinks=[read_columns]) as read_in_large,
    ):

        def contender(name: str, metrics: BatchMetricsCollector, client: str) -> Contender:
            names = {"metrics": metrics}
            return Contender(name, CALL, names, calls=EVENTS, finish="await metrics.flush()", client=client)

        contenders = [
            floor(calls=EVENTS),
            contender("100", metrics, "ours, up to a sink"),
            contender("1000", in_large, ""),
            contender("read", read, ""),
            contender("read in 1000", read_in_large, ""),
        ]
        rounds = await compete(contenders, effort.seconds)
        check_accepted(metrics, in_large, read, read_in_large)
    name = "an event recorded, checked and handed to a sink that does nothing"
    read_by = "the same with a sink that reads the columns"
    figures = [
        ratio(f"{name} ÷ A", rounds["100"], rounds[FLOOR], 9),
        ratio(f"{name}, in batches of 1000 ÷ A", rounds["1000"], rounds[FLOOR], 7),
        ratio(f"{read_by} ÷ A", rounds["read"], rounds[FLOOR], 11),
        ratio(f"{read_by}, in batches of 1000 ÷ A", rounds["read in 1000"], rounds[FLOOR], 9),
    ]
    return Outcome(figures, rounds.costs())


def run(effort: Effort) -> Outcome:
    """Run the benchmark."""
    return trio.run(_run, effort)
