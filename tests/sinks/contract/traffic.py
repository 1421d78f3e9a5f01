"""Ways to record numbered events, and to wait for another thread or process."""

from collections.abc import Callable, Iterable

import trio

from trio_batchmetrics import BatchMetricsCollector

__all__ = ["record", "until"]


def record(metrics: BatchMetricsCollector, numbers: Iterable[int]) -> None:
    """Record a counter for each number, which becomes its label `id`."""
    for number in numbers:
        metrics.record_counter("contract", {"id": number}, 1)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is the case that happens in another thread or process."""
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - nobody there could set an event
            await trio.sleep(0.005)
