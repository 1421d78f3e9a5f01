"""Functions that record numbered events, and wait for another thread or process."""

from collections.abc import Callable, Iterable

import trio

from trio_batchmetrics import BatchMetricsCollector

__all__ = ["record", "until"]


def record(metrics: BatchMetricsCollector, numbers: Iterable[int]) -> None:
    """Record a counter for each number, which becomes its label `id`."""
    for number in numbers:
        metrics.record_counter("contract", {"id": number}, 1)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds that another thread or process changes."""
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - the other side cannot set an event
            await trio.sleep(0.005)
