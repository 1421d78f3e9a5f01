"""The body's exception, and a `BaseException` of a sink, leave the block as the same object."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.helpers import balanced
from tests.leaving.sinks import BodyError, SlowSink, record
from trio_batchmetrics import BatchMetricsCollector, BatchMetricsConfig, collector
from trio_batchmetrics.abc import EventSink, Payload, Receipt
from trio_batchmetrics.testing import RecordingSink, StuckSink


@pytest.mark.parametrize("error", [BodyError(), ExceptionGroup("g", [BodyError()]), KeyboardInterrupt(), SystemExit(3)])
@pytest.mark.parametrize("sinks", [[], [RecordingSink()], [StuckSink()]], ids=["none", "good", "stuck"])
def test_the_bodys_exception_leaves_the_block_as_the_same_object(error: BaseException, sinks: list[Any]) -> None:
    """An exception, a group, KeyboardInterrupt and SystemExit are never wrapped and never lost."""

    async def main() -> None:
        async with collector(sinks=sinks) as metrics:
            record(metrics, 2)
            raise error

    with pytest.raises(type(error)) as caught:
        trio.run(main, clock=MockClock(autojump_threshold=0))
    assert caught.value is error
    assert error.__context__ is None
    error.__traceback__ = None


async def test_a_body_error_is_not_lost_to_a_cancellation_at_the_same_time(autojump_clock: MockClock) -> None:
    """The error goes on, though the surrounding scope is cancelled."""
    error = BodyError()
    metrics: BatchMetricsCollector | None = None
    with pytest.raises(BodyError) as caught, trio.CancelScope() as outer:
        async with collector(sinks=[SlowSink(1)]) as metrics:
            record(metrics, 2)
            outer.cancel()
            raise error
    assert caught.value is error
    assert metrics is not None
    assert balanced(metrics.stats()).processed_events == 2


async def test_leaving_in_a_cancelled_scope_without_an_error_raises_nothing(autojump_clock: MockClock) -> None:
    """The flush is shielded, and the code after the block runs until its next checkpoint."""
    sink = SlowSink(1)
    after = False
    metrics: BatchMetricsCollector | None = None
    with trio.CancelScope() as outer:
        async with collector(sinks=[sink]) as metrics:
            record(metrics, 2)
            outer.cancel()
        after = True
        await trio.lowlevel.checkpoint()
        pytest.fail("the scope is still cancelled")
    assert after
    assert metrics is not None
    assert balanced(metrics.stats()).processed_events == len(sink.events) == 2


class ExitingSink(EventSink[None]):
    """A sink that raises something other than an Exception."""

    def __init__(self, error: BaseException) -> None:
        """Create a sink that raises the given exception."""
        super().__init__()
        self.error = error

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Raise it, one time from within a nursery."""
        async with trio.open_nursery():
            raise self.error


@pytest.mark.parametrize("in_the_body", [True, False])
async def test_a_base_exception_of_a_sink_leaves_the_block_unwrapped(
    in_the_body: bool, autojump_clock: MockClock
) -> None:
    """A SystemExit in a sink ends the body if it still runs, and leaves as it is; the ledger balances."""
    error, bodys = SystemExit(4), BodyError()
    metrics: BatchMetricsCollector | None = None
    with pytest.raises(SystemExit) as caught:
        async with collector(BatchMetricsConfig(batch_size=2), sinks=[ExitingSink(error), StuckSink()]) as metrics:
            record(metrics, 2)
            if in_the_body:
                await trio.sleep_forever()
            raise bodys
    assert caught.value is error
    assert error.__context__ is (None if in_the_body else bodys)
    assert metrics is not None
    assert balanced(metrics.stats()).failed_events == 2


async def test_a_base_exception_leaves_the_block_even_if_its_sink_is_cut_off_with_it(
    autojump_clock: MockClock,
) -> None:
    """One of a sink's tasks raises SystemExit, and the others are cancelled at the same time."""

    class Nested(RecordingSink):
        """A sink with a nursery, and a task that exits when it is cancelled."""

        async def send(self, payload: Payload[None]) -> Receipt | None:
            """Hang, and exit when cancelled."""
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                try:
                    await trio.sleep_forever()
                finally:
                    raise error

    error = SystemExit(3)
    with pytest.raises(SystemExit) as caught:
        async with collector(BatchMetricsConfig(batch_size=2), sinks=[Nested(timeout=2)]) as metrics:
            record(metrics, 2)
            await trio.sleep(10)
    assert caught.value is error
    assert trio.current_time() == 2


@pytest.mark.filterwarnings("ignore::trio.TrioDeprecationWarning")
def test_a_base_exception_of_a_sink_leaves_the_block_even_where_nurseries_do_not_wrap() -> None:
    """With the old ``strict_exception_groups=False``, a nursery doesn't wrap the exception of its only task."""
    interrupt, bodys = KeyboardInterrupt(), BodyError()

    async def sink(_: object) -> None:
        raise interrupt

    async def main() -> None:
        async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
            record(metrics, 2)
            raise bodys

    with pytest.raises(KeyboardInterrupt) as caught:
        trio.run(main, strict_exception_groups=False)
    assert caught.value is interrupt
    assert interrupt.__context__ is bodys


class _Exits(logging.Handler):
    """A logging handler that ends the program."""

    def emit(self, record: logging.LogRecord) -> None:
        """Raise SystemExit."""
        raise SystemExit(3)


async def test_a_logging_handler_that_exits_ends_the_block_and_does_not_hang_it(autojump_clock: MockClock) -> None:
    """SystemExit from the closing line leaves the block, and the ledger is closed."""
    logger, handler = logging.getLogger("trio_batchmetrics"), _Exits()
    logger.addHandler(handler)
    metrics: BatchMetricsCollector | None = None
    try:
        with pytest.raises(SystemExit):
            async with collector(BatchMetricsConfig(batch_size=1, shutdown_timeout=1), sinks=[StuckSink()]) as metrics:
                record(metrics, 2)
    finally:
        logger.removeHandler(handler)
    assert metrics is not None
    assert balanced(metrics.stats()).failed_events == 2
