"""Leaving the block, in any state, for any reason.

What is delivered, what is counted, what comes out, and how long it takes.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from typing import Any, cast

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.helpers import MANY, assert_full_jitter, balanced, ids
from trio_batchmetrics import BatchMetricsCollector, BatchMetricsConfig, Counter, collector
from trio_batchmetrics.abc import EventSink, Payload, Receipt
from trio_batchmetrics.testing import FlakySink, RecordingSink, StuckSink


class BodyError(Exception):
    """What a body raises."""


class SlowSink(RecordingSink):
    """Takes a while over each batch."""

    def __init__(self, seconds: float) -> None:
        """Take so long."""
        super().__init__()
        self.seconds = seconds

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Take the batch after a while."""
        await trio.sleep(self.seconds)
        return await super().send(payload)


class BusySink(SlowSink):
    """Asks to be tried again in 20 s, then takes 2 s."""

    def __init__(self) -> None:
        """Take 2 s the second time."""
        super().__init__(2)

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Ask for patience, or take the batch."""
        if self.attempts == 0:
            self.attempts += 1
            return Receipt(retry=True, retry_after=20, error="429")
        return await super().send(payload)


@trio.lowlevel.enable_ki_protection
def ctrl_c() -> None:
    """Press Ctrl-C: the main task gets it at its next checkpoint."""
    signal.raise_signal(signal.SIGINT)


def record(metrics: BatchMetricsCollector, count: int) -> None:
    """Record numbered events."""
    for number in range(1, count + 1):
        metrics.record_counter("c", {"id": number}, 1)


STATES: dict[str, tuple[Callable[[], RecordingSink], int, float]] = {
    "waiting for the first event": (RecordingSink, 0, 0),
    "filling a batch": (RecordingSink, 2, 0),
    "inside a sink's send": (lambda: SlowSink(3), 3, 2),
    "backing off": (BusySink, 3, 2),
    "in a blocked arecord": (lambda: SlowSink(3), 9, 8),
}
"""By name: the sink, how many events are recorded at 0 s (batch and buffer are 3), how long leaving at 1 s takes."""

ENDINGS = ["normal exit", "body error", "outer cancel", "deadline", "ctrl-c", "ctrl-c again"]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("state", STATES)
def test_the_matrix_of_states_and_endings(state: str, ending: str) -> None:
    """Whatever the state and the ending: all that was recorded arrives, unless a second Ctrl-C says no."""
    make, count, leaving = STATES[state]
    sink = make()
    error = BodyError()
    closed: list[float] = []
    times: dict[str, float] = {}
    metrics: BatchMetricsCollector | None = None
    first: list[BaseException] = []

    async def arecord() -> None:
        assert metrics is not None
        await metrics.arecord(Counter("c", {"id": 99}, 1))
        closed.append(trio.current_time())

    async def main() -> None:
        nonlocal metrics
        start = trio.current_time()
        with trio.CancelScope(deadline=start + 1 if ending == "deadline" else float("inf")) as outer:
            async with trio.open_nursery() as nursery:

                @trio.lowlevel.enable_ki_protection
                async def provoke() -> None:
                    await trio.sleep(1)
                    if ending == "outer cancel":
                        outer.cancel()
                    elif ending.startswith("ctrl-c"):
                        ctrl_c()
                        await trio.sleep(0.5)
                        if ending == "ctrl-c again":
                            times["again"] = trio.current_time() - start
                            ctrl_c()

                if ending in ("outer cancel", "ctrl-c", "ctrl-c again"):
                    trio.lowlevel.spawn_system_task(provoke)
                try:
                    async with collector(BatchMetricsConfig(batch_size=3, buffer_size=3), sinks=[sink]) as metrics:
                        record(metrics, min(count, 3))
                        for _ in range(count // 3 - 1):
                            await trio.testing.wait_all_tasks_blocked()
                            record(metrics, 3)
                        if "arecord" in state:
                            await trio.testing.wait_all_tasks_blocked()
                            nursery.start_soon(arecord)
                        try:
                            if ending in ("normal exit", "body error"):
                                await trio.sleep(1)
                            else:
                                await trio.sleep_forever()
                        except BaseException as exc:
                            first.append(exc)
                            raise
                        finally:
                            times["left"] = trio.current_time() - start
                        if ending == "body error":
                            raise error
                finally:
                    times["out"] = trio.current_time() - start
                    assert metrics is not None

    try:
        trio.run(main, clock=MockClock(autojump_threshold=0))
    except BaseException as caught:  # noqa: BLE001, ASYNC103 - what came out is looked at here
        out = caught
        while isinstance(out, BaseExceptionGroup):  # of the nursery in this test
            out = cast("BaseExceptionGroup[BaseException]", out).exceptions[0]
        if ending == "body error":
            assert out is error
        elif ending == "ctrl-c":
            assert out is first[0]
        else:
            assert ending == "ctrl-c again"
            assert isinstance(out, KeyboardInterrupt)
            if leaving:
                assert out is not first[0]
                assert out.__context__ is first[0]
    else:
        assert ending in ("normal exit", "outer cancel", "deadline")
    assert times["left"] == 1
    assert metrics is not None
    stats = balanced(metrics.stats())
    if ending == "ctrl-c again" and leaving:
        assert times["out"] == times["again"] == 1.5
        assert stats.failed_events + stats.processed_events == count
        assert stats.processed_events == len(sink.events)
        assert stats.sinks[next(iter(stats.sinks))].failures["shutdown"] == stats.failed_events or "arecord" in state
    else:
        assert times["out"] == 1 + leaving
        assert stats.processed_events == len(sink.events) == count
        assert ids(sink.events) == [*range(1, min(count, 3) + 1), *[1, 2, 3] * (count // 3 - 1)]
        assert stats.failed_events == 0
    assert stats.pending_events == 0
    if "arecord" in state:
        cancelled = ending in ("outer cancel", "deadline")  # as its own task was
        assert stats.dropped == ({} if cancelled else {"closed": 1})
        assert closed == ([] if cancelled else [1])


@pytest.mark.parametrize("ending", ENDINGS[:4])
@pytest.mark.parametrize("timeout", [0, 2.5, 10])
async def test_a_stuck_sink_costs_exactly_shutdown_timeout_and_one_line(
    ending: str, timeout: float, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The good sink beside it has all at once; leaving takes the timeout to the second; one line tells the loss."""
    good, stuck = RecordingSink(), StuckSink()
    config = BatchMetricsConfig(batch_size=2, shutdown_timeout=timeout)
    metrics: BatchMetricsCollector | None = None
    left = -1.0
    with trio.CancelScope() as outer, pytest.raises(BodyError) if ending == "body error" else trio.CancelScope():
        if ending == "deadline":
            outer.deadline = trio.current_time() + 1
        async with collector(config, sinks=[stuck, good]) as metrics:
            record(metrics, 4)
            await trio.testing.wait_all_tasks_blocked()
            assert ids(good.events) == [1, 2, 3, 4]
            left = trio.current_time() + 1
            await trio.sleep(1)
            if ending == "body error":
                raise BodyError
            if ending == "outer cancel":
                outer.cancel()
                await trio.sleep_forever()
    assert metrics is not None
    assert trio.current_time() - left == timeout
    stats = balanced(metrics.stats())
    assert (stats.processed_events, stats.failed_events, stats.pending_events) == (0, 4, 0)
    assert stats.sinks["recording"].delivered == 4
    assert stats.sinks["stuck"].failures == {"shutdown": 4}
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert "lost 4 of 4 events" in lines[0]


async def test_without_time_there_is_no_further_attempt(autojump_clock: MockClock) -> None:
    """shutdown_timeout=0: what no attempt had delivered before is failed, at once, and nothing is tried."""
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(shutdown_timeout=0), sinks=[sink]) as metrics:
        record(metrics, 3)
        await trio.testing.wait_all_tasks_blocked()
        left = trio.current_time()
    assert trio.current_time() == left
    assert sink.attempts == 0
    assert balanced(metrics.stats()).failed_events == 3


async def test_retries_go_on_until_the_deadline(autojump_clock: MockClock) -> None:
    """A sink that comes back within the time has everything; the pauses start again at half a second."""
    sink = FlakySink(fail=6, backoff=0.5, max_backoff=30)
    async with collector(BatchMetricsConfig(batch_size=2, shutdown_timeout=60), sinks=[sink]) as metrics:
        record(metrics, 2)
        await trio.testing.wait_all_tasks_blocked()
        left = trio.current_time()
    stats = balanced(metrics.stats())
    assert stats.processed_events == 2
    assert stats.sinks["flaky"].retries == 6
    assert trio.current_time() - left <= 0.5 + 1 + 2 + 4 + 8 + 16


async def test_a_backoff_that_leaving_cuts_short_starts_again_at_the_shortest(autojump_clock: MockClock) -> None:
    """After minutes of pauses of up to 30 s: at once, then up to 0.5 s, 1 s, 2 s later."""

    class Down(RecordingSink):
        """Fails."""

        def __init__(self) -> None:
            """Note when."""
            super().__init__()
            self.times: list[float] = []

        async def send(self, payload: Payload[None]) -> Receipt | None:
            """Note the time, and fail."""
            self.times.append(trio.current_time())
            return Receipt(retry=True, error="down")

    sinks = [Down() for _ in range(MANY)]
    async with collector(BatchMetricsConfig(batch_size=2, shutdown_timeout=5), sinks=sinks) as metrics:
        record(metrics, 2)
        await trio.sleep(200)
        for sink in sinks:
            sink.times.clear()
        left = trio.current_time()
    assert {sink.times[0] for sink in sinks} == {left}
    for n, longest in enumerate([0.5, 1, 2]):
        assert_full_jitter([sink.times[n + 1] - sink.times[n] for sink in sinks], longest)
    assert balanced(metrics.stats()).failed_events == 2


async def test_what_the_deadline_cuts_off_is_failed_and_what_was_confirmed_is_not(autojump_clock: MockClock) -> None:
    """One second a batch, 3.5 s: three batches are delivered, the others failed."""
    sink = SlowSink(1)
    sink.max_events = 2
    async with collector(BatchMetricsConfig(batch_size=2, shutdown_timeout=3.5), sinks=[sink]) as metrics:
        record(metrics, 10)
        left = trio.current_time()
    assert trio.current_time() - left == 3.5
    stats = balanced(metrics.stats())
    assert stats.processed_events == len(sink.events) == 6
    assert stats.failed_events == 4


@pytest.mark.parametrize("error", [BodyError(), ExceptionGroup("g", [BodyError()]), KeyboardInterrupt(), SystemExit(3)])
@pytest.mark.parametrize("sinks", [[], [RecordingSink()], [StuckSink()]], ids=["none", "good", "stuck"])
def test_what_the_body_raises_comes_out_as_the_same_object(error: BaseException, sinks: list[Any]) -> None:
    """An exception, a group, KeyboardInterrupt, SystemExit: never wrapped, never lost."""

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
    """The error goes on, though the scope around is cancelled."""
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
    """The flush is shielded, and what follows the block runs until its next checkpoint."""
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


def test_a_ctrl_c_that_a_recorder_held_back_belongs_to_the_body() -> None:
    """It does not cut the flush short: all is delivered, then it leaves, with the body's error as its context."""
    sink = SlowSink(1)
    error = BodyError()
    stats: list[Any] = []

    async def main() -> None:
        metrics: BatchMetricsCollector | None = None
        try:
            async with collector(sinks=[sink]) as metrics:
                record(metrics, 2)
                ctrl_c()
                raise error
        finally:
            assert metrics is not None
            stats.append(metrics.stats())

    with pytest.raises(KeyboardInterrupt) as caught:
        trio.run(main, clock=MockClock(autojump_threshold=0))
    assert caught.value.__context__ is error
    assert balanced(stats[0]).processed_events == 2


def test_a_ctrl_c_in_the_flush_has_the_bodys_error_as_its_context() -> None:
    """A second of waiting, then an end at once."""
    error = BodyError()
    times: list[float] = []

    @trio.lowlevel.enable_ki_protection
    async def later() -> None:
        await trio.sleep(1)
        ctrl_c()

    async def main() -> None:
        start = trio.current_time()
        trio.lowlevel.spawn_system_task(later)
        metrics: BatchMetricsCollector | None = None
        try:
            async with collector(sinks=[StuckSink()]) as metrics:
                record(metrics, 2)
                raise error
        finally:
            times.append(trio.current_time() - start)
            assert metrics is not None
            assert balanced(metrics.stats()).failed_events == 2

    with pytest.raises(KeyboardInterrupt) as caught:
        trio.run(main, clock=MockClock(autojump_threshold=0))
    assert caught.value.__context__ is error
    assert times == [1]


class ExitingSink(EventSink[None]):
    """Raises something that is no Exception."""

    def __init__(self, error: BaseException) -> None:
        """Raise this."""
        super().__init__()
        self.error = error

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Raise it, once with a nursery around."""
        async with trio.open_nursery():
            raise self.error


@pytest.mark.parametrize("in_the_body", [True, False])
async def test_what_a_sink_raises_beside_exception_leaves_the_block_unwrapped(
    in_the_body: bool, autojump_clock: MockClock
) -> None:
    """SystemExit in a sink ends the body, if it still runs, and comes out as itself; the ledger balances."""
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


async def test_what_must_leave_the_block_leaves_it_also_where_a_sink_is_cut_off_with_it(
    autojump_clock: MockClock,
) -> None:
    """A SystemExit from one of a sink's tasks, beside the Cancelled of the others."""

    class Nested(RecordingSink):
        """Has a nursery, and a task that exits when it is cancelled."""

        async def send(self, payload: Payload[None]) -> Receipt | None:
            """Hang, and exit in the end."""
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
def test_what_a_sink_raises_leaves_the_block_also_where_nurseries_do_not_wrap() -> None:
    """Under the old option ``strict_exception_groups=False``, a nursery raises what its one task raised as it is."""
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


class GroupSink(EventSink[None]):
    """When its attempt is cut, its own nursery raises Cancelled together with an error of its own."""

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Wait; fail when cancelled."""

        async def fail_when_cancelled() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise BodyError("while being cancelled")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_when_cancelled)
            await trio.sleep_forever()
        return None


async def test_errors_of_a_sink_cut_off_by_the_deadline_stay_with_the_sink(autojump_clock: MockClock) -> None:
    """Nothing of them reaches the application; last_error has them."""
    async with collector(BatchMetricsConfig(shutdown_timeout=3), sinks=[GroupSink()]) as metrics:
        record(metrics, 2)
    stats = balanced(metrics.stats())
    assert stats.failed_events == 2
    assert "while being cancelled" in str(stats.sinks["group"].last_error)


@pytest.mark.parametrize("then", ["idle", "record", "flush", "arecord"])
async def test_a_crash_of_the_librarys_own_tasks_is_logged_and_the_application_goes_on(
    then: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything pending is failed, recorders count closed, nothing raises."""
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        sink.timeout = "soon"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
        record(metrics, 3)
        await trio.sleep(1)
        stats = balanced(metrics.stats())
        assert (stats.failed_events, stats.pending_events) == (3, 0)
        assert stats.sinks["recording"].failures == {"crash": 2}
        if then == "record":
            record(metrics, 2)
            assert metrics.stats().dropped == {"closed": 2}
        elif then == "arecord":
            await metrics.arecord(Counter("c", {}, 1))
            assert metrics.stats().dropped == {"closed": 1}
        elif then == "flush":
            assert (await metrics.flush()).ok
        await trio.sleep(100)
    assert trio.current_time() == 101
    crashes = [record for record in caplog.records if record.exc_info]
    assert len(crashes) == 1
    assert "crashed" in crashes[0].getMessage()
    balanced(metrics.stats())


async def test_a_flush_under_way_when_the_block_is_left_returns_when_the_exit_flush_has_ended(
    autojump_clock: MockClock,
) -> None:
    """Its sum is what was pending at its call."""
    reports: list[Any] = []

    async def flush(metrics: BatchMetricsCollector) -> None:
        reports.append(await metrics.flush())
        reports.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        async with collector(BatchMetricsConfig(shutdown_timeout=4), sinks=[StuckSink()]) as metrics:
            record(metrics, 3)
            nursery.start_soon(flush, metrics)  # noqa: ASYNC111 - it outlives the block: that is the test
            await trio.sleep(1)
    assert reports[0].failed == 3
    assert reports[1] == 5


async def test_a_collector_is_opened_once_and_several_at_a_time(autojump_clock: MockClock) -> None:
    """A second ``async with`` on the same manager is an error; two managers know nothing of each other."""
    one, two = RecordingSink(), RecordingSink()
    manager = collector(sinks=[one])
    async with manager as first, collector(sinks=[two]) as second:
        record(first, 2)
        record(second, 3)
        with pytest.raises(RuntimeError, match="opened once"):
            await manager.__aenter__()
    assert (len(one.events), len(two.events)) == (2, 3)


async def test_opening_is_no_checkpoint_and_leaving_is_one() -> None:
    """``async with`` starts without a wait; the end always lets others run."""
    with trio.testing.assert_no_checkpoints():
        manager = collector(sinks=[])
        await manager.__aenter__()
    with trio.testing.assert_checkpoints():
        await manager.__aexit__(None, None, None)


async def test_a_sinks_aclose_is_called_once_and_its_error_stays_inside(autojump_clock: MockClock) -> None:
    """After the last attempt; what it raises is last_error."""

    class Closing(RecordingSink):
        """Counts its closings."""

        closings = 0

        async def aclose(self) -> None:
            """Fail to close."""
            self.closings += 1
            raise OSError("cannot close")

    sink = Closing()
    async with collector(sinks=[sink]) as metrics:
        record(metrics, 2)
    assert sink.closings == 1
    stats = balanced(metrics.stats())
    assert stats.processed_events == 2
    assert "cannot close" in str(stats.sinks["closing"].last_error)


async def test_a_sink_is_closed_also_where_the_deadline_cuts_it_off(autojump_clock: MockClock) -> None:
    """Once; its checkpoints raise, so that it can only let go."""
    closed: list[float] = []

    class Closing(StuckSink):
        """Notes when it is closed."""

        async def aclose(self) -> None:
            """Try to wait."""
            closed.append(trio.current_time())
            with pytest.raises(trio.Cancelled):
                await trio.lowlevel.checkpoint()

    async with collector(BatchMetricsConfig(batch_size=2, shutdown_timeout=3), sinks=[Closing()]) as metrics:
        record(metrics, 2)
        await trio.sleep(1)
    assert closed == [4.0]


async def test_an_attempt_under_way_when_the_block_is_left_may_fail_and_is_soon_made_again(
    autojump_clock: MockClock,
) -> None:
    """However many have failed before: the pauses are short from then on, so the next attempt is within the time."""

    class Down(RecordingSink):
        """Fails twelve times, the twelfth time slowly."""

        async def send(self, payload: Payload[None]) -> Receipt | None:
            """Fail, or take the batch."""
            if self.attempts < 12:
                self.attempts += 1
                await trio.sleep(1 if self.attempts == 12 else 0)
                if self.attempts == 12:
                    twelfth.set()
                    await trio.sleep(1)
                raise OSError("no route")
            return await super().send(payload)

    twelfth = trio.Event()
    async with collector(BatchMetricsConfig(batch_size=2, shutdown_timeout=10), sinks=[Down()]) as metrics:
        record(metrics, 2)
        await twelfth.wait()
    assert balanced(metrics.stats()).processed_events == 2


class _Exits(logging.Handler):
    """A logging handler that ends the program."""

    def emit(self, record: logging.LogRecord) -> None:
        """Raise SystemExit."""
        raise SystemExit(3)


async def test_a_logging_handler_that_exits_ends_the_block_and_does_not_hang_it(autojump_clock: MockClock) -> None:
    """SystemExit from the closing line comes out, the books are closed."""
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


async def test_a_callback_that_would_exit_is_not_called_while_the_block_is_left(autojump_clock: MockClock) -> None:
    """It may read what the body has closed by then."""

    def callback() -> float:
        raise SystemExit(3)

    async with collector(sinks=[RecordingSink()]) as metrics:
        metrics.observable_gauge("g", callback)
        record(metrics, 2)
    assert balanced(metrics.stats()).processed_events == 2


async def test_an_aclose_cut_off_by_the_deadline_is_no_crash(autojump_clock: MockClock) -> None:
    """Its own errors stay inside, though its nursery raises them together with Cancelled."""

    class Closing(RecordingSink):
        """Cannot close in time."""

        async def aclose(self) -> None:
            """Fail when cancelled."""

            async def fail_when_cancelled() -> None:
                try:
                    await trio.sleep_forever()
                finally:
                    raise BodyError("while closing")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail_when_cancelled)
                await trio.sleep_forever()

    config = BatchMetricsConfig(batch_size=2, shutdown_timeout=1)
    async with collector(config, sinks=[Closing(), StuckSink()]) as metrics:
        record(metrics, 2)
    stats = balanced(metrics.stats())
    assert stats.sinks["stuck"].failures == {"shutdown": 2}
    assert "while closing" in str(stats.sinks["closing"].last_error)


async def test_a_sink_that_raises_a_cancelled_of_another_scope_has_failed_and_is_tried_again(
    autojump_clock: MockClock,
) -> None:
    """It stops neither its own later batches nor another sink's."""

    class Foreign(RecordingSink):
        """Raises, the first time, what it caught in a scope of its own."""

        async def send(self, payload: Payload[None]) -> Receipt | None:
            """Raise it, or take the batch."""
            if self.attempts:
                return await super().send(payload)
            self.attempts += 1
            saved: list[BaseException] = []
            with trio.CancelScope() as scope:
                scope.cancel()
                try:
                    await trio.sleep(1)
                except trio.Cancelled as exc:
                    saved.append(exc)
                    raise
            raise saved[0]

    good, foreign = RecordingSink(), Foreign()
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[foreign, good]) as metrics:
        record(metrics, 4)
        await metrics.flush()
        assert (len(good.events), len(foreign.events)) == (4, 4)
    assert balanced(metrics.stats()).processed_events == 4


@pytest.mark.parametrize("setting", ["timeout", "backoff", "max_backoff", "retry_budget", "max_events"])
@pytest.mark.parametrize("value", [0, -1, "3", True, float("nan")])
async def test_a_sink_whose_settings_cannot_work_is_refused_at_once(setting: str, value: object) -> None:
    """However they were set: as an attribute too."""
    sink = RecordingSink()
    setattr(sink, setting, value)
    with pytest.raises(ValueError, match=setting):
        collector(sinks=[RecordingSink(), sink])
