"""A batch that is ready, and the signal that a batch has come, wake the flush task whatever interrupts them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.helpers import interrupted_at, run_at_every_point
from trio_batchmetrics._buffer.flush_signal import FlushSignal
from trio_batchmetrics._buffer.waiting_batches import WaitingBatches
from trio_batchmetrics._concurrency.turns import Turn
from trio_batchmetrics._ledger.ledger import Ledger
from trio_batchmetrics._ledger.pending_batch import PendingBatch


def call_at_once(call: Callable[[], object]) -> None:
    """Stand in for the waker in an ordinary task."""
    call()


def test_a_batch_that_a_signal_handler_fills_is_taken_at_once() -> None:
    """The handler may run at any place of the flush task's wait."""

    async def play(point: int) -> int:
        start, filled = trio.current_time(), list[float]()
        batch = PendingBatch([], 1, start + 5)
        waker: Any = call_at_once

        def fill() -> None:
            filled.append(trio.current_time())
            batch.mark_ready(waker, Turn())

        with interrupted_at(point, fill) as passed:
            await batch.wait_ready()
        assert trio.current_time() == (filled or [start + 5])[0]
        return passed[0]

    run_at_every_point(play, least=2)


def _signal() -> tuple[FlushSignal, WaitingBatches]:
    ledger = Ledger([])
    batches = WaitingBatches(ledger)
    waker: Any = call_at_once
    return FlushSignal(batches, 10, waker, Turn()), batches


def test_an_exception_of_a_signal_handler_loses_no_wake_up() -> None:
    """The next batch wakes the flush task, wherever the handler has raised."""

    async def play(point: int) -> int:
        signal, _ = _signal()

        def fail() -> None:
            raise ValueError

        with suppress(ValueError), interrupted_at(point, fail) as passed:
            signal.announce(PendingBatch([], 1))
        signal.announce(PendingBatch([], 2))
        with trio.fail_after(1):
            assert await signal.wait()
        return passed[0]

    run_at_every_point(play, least=2)


async def test_many_batches_cause_one_wake_up(autojump_clock: MockClock) -> None:
    """The flush task looks for batches by itself while it is awake."""
    signal, batches = _signal()
    for number in range(1, 6):
        signal.announce(PendingBatch([], number))
    assert await signal.wait()
    while (batch := batches.first) is not None:
        batch.sealed = True
        batches.take(batch)
    assert await signal.wait(), "the message that the first batch has sent"
    with trio.move_on_after(1) as parked:
        await signal.wait()
    assert parked.cancelled_caught


async def test_a_send_that_a_signal_handler_interrupts_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was sent, so the flush task is still parked: the next batch sends again."""
    signal, _ = _signal()

    def fail(*_: object) -> None:
        raise ValueError

    with monkeypatch.context() as patch, suppress(ValueError):
        patch.setattr(trio.MemorySendChannel, "send_nowait", fail)
        signal.announce(PendingBatch([], 1))
    assert signal.parked
