"""Sinks that are in some state when the block is left, and reasons to leave it."""

from __future__ import annotations

import signal

import trio

from trio_batchmetrics import BatchMetricsCollector
from trio_batchmetrics.abc import Payload, Receipt
from trio_batchmetrics.testing import RecordingSink

__all__ = ["ENDINGS", "BodyError", "SlowSink", "ctrl_c", "record"]


class BodyError(Exception):
    """The exception that a body raises."""


class SlowSink(RecordingSink):
    """A sink that takes some time over each batch."""

    def __init__(self, seconds: float) -> None:
        """Create a sink that takes the given number of seconds."""
        super().__init__()
        self.seconds = seconds

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Take the batch after a while."""
        await trio.sleep(self.seconds)
        return await super().send(payload)


@trio.lowlevel.enable_ki_protection
def ctrl_c() -> None:
    """Press Ctrl-C: the main task gets it at its next checkpoint."""
    signal.raise_signal(signal.SIGINT)


def record(metrics: BatchMetricsCollector, count: int) -> None:
    """Record numbered events."""
    for number in range(1, count + 1):
        metrics.record_counter("c", {"id": number}, 1)


ENDINGS = ["normal exit", "body error", "outer cancel", "deadline", "ctrl-c", "ctrl-c again"]
