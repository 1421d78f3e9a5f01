"""Signal handlers that raise in the middle of the library's code, as those that end a program on SIGTERM do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest
import trio

from tests.helpers import Policy, assert_goes_on, balanced, ids, interrupted_at, run_at_every_point
from tests.threads import record_numbered
from trio_batchmetrics import BatchMetricsCollector, BatchMetricsConfig, collector
from trio_batchmetrics._buffer.buffer import Buffer
from trio_batchmetrics.testing import RecordingSink


class RaisedByHandler(BaseException):
    """The exception that the handler raises."""


def raise_it() -> None:
    """Raise, as a signal handler."""
    raise RaisedByHandler


def record(metrics: BatchMetricsCollector) -> None:
    """Record an event."""
    metrics.record_counter("c", {"id": 99}, 1)


def add(metrics: BatchMetricsCollector) -> None:
    """Add to a counter."""
    metrics.counter("n").add(1)


@pytest.mark.parametrize("thread", [False, True], ids=["task", "thread"])
@pytest.mark.parametrize("goes_on", [False, True], ids=["leaves", "goes on"])
@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
@pytest.mark.parametrize("before", [0, 1, 2, 5, 6])
@pytest.mark.parametrize("call", [record, add])
def test_a_handler_that_raises_in_a_recorder_costs_nothing_else(
    policy: Policy, before: int, call: Callable[[BatchMetricsCollector], None], goes_on: bool, thread: bool
) -> None:
    """At each place, earlier events of any thread arrive once, whether the block goes on or not."""

    async def play(point: int) -> int:
        sink = RecordingSink()
        passed: list[int] = [0]
        opened: list[BatchMetricsCollector] = []
        config = BatchMetricsConfig(batch_size=3, buffer_size=5, on_full=policy)
        try:
            async with collector(config, sinks=[sink]) as metrics:
                opened.append(metrics)
                record_numbered(metrics, before, thread=thread)  # a thread appends beyond a batch
                try:
                    with interrupted_at(point, raise_it) as passed:
                        call(metrics)
                except RaisedByHandler:
                    if not goes_on:
                        raise
                await assert_goes_on(metrics)
        except RaisedByHandler:
            pass
        stats = balanced(opened[0].stats())
        arrived = ids(sink.events)
        assert len(set(arrived)) == len(arrived)
        assert len(sink.events) == stats.processed_events == stats.total_events - stats.dropped_events
        assert set(stats.dropped) <= {"buffer_full"}
        return passed[0]

    run_at_every_point(play, least=3)


@pytest.mark.parametrize(
    "step", [Buffer.seal_open_batch, partial(Buffer.add_waiter, notify=bool)], ids=["seal", "wait"]
)
def test_a_handler_that_raises_as_a_flush_begins_does_not_delay_later_events(
    step: Callable[[Buffer], object],
) -> None:
    """At each place, events before and after it are delivered once, when the next batch is due at the latest."""

    async def play(point: int) -> int:
        sink = RecordingSink()
        passed: list[int] = [0]
        async with collector(sinks=[sink]) as metrics:
            for number in range(2):
                metrics.record_counter("c", {"id": number}, 1)
            with suppress(RaisedByHandler), interrupted_at(point, raise_it) as passed:
                step(metrics._engine.buffer)
            metrics.record_counter("c", {"id": 2}, 1)
            await trio.sleep(6)
            assert balanced(metrics.stats()).pending_events == 0
        assert sorted(ids(sink.events)) == [0, 1, 2]
        return passed[0]

    run_at_every_point(play, least=10)
