"""`arecord` waits for room in turn; if it is cancelled, it has recorded nothing."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.fakes import GatedSink, numbered, numbers
from tests.helpers import Policy, balanced
from tests.recording.examples import POLICIES, full
from trio_batchmetrics import BatchMetricsConfig, Counter, collector
from trio_batchmetrics.testing import RecordingSink

SMALL = {policy: BatchMetricsConfig(buffer_size=2, on_full=policy, shutdown_timeout=100) for policy in POLICIES}


async def started(nursery: trio.Nursery, call: Callable[..., Awaitable[object]], *args: object) -> None:
    """Start a task and let it run until it waits."""
    nursery.start_soon(call, *args)
    await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize("policy", POLICIES)
async def test_arecord_waits_for_room_instead_of_dropping(policy: Policy, autojump_clock: MockClock) -> None:
    """Calls wait in the order in which they came, under either policy."""
    sink = GatedSink()
    done: list[int] = []
    async with collector(SMALL[policy], sinks=[sink]) as metrics:

        async def record(number: int) -> None:
            await metrics.arecord(numbered(number))
            done.append(number)

        count = await full(metrics, batch=2, buffer=2)
        async with trio.open_nursery() as nursery:
            for number in range(count, count + 9):
                await started(nursery, record, number)
            await trio.sleep(50)
            assert done == []
            assert balanced(metrics.stats()).total_events == count
            sink.gate.set()
        assert sorted(done) == list(range(count, count + 9))
        assert trio.current_time() == 50
    assert numbers(sink.events) == list(range(count + 9))
    assert balanced(metrics.stats()).dropped_events == 0


@pytest.mark.parametrize("policy", POLICIES)
async def test_arecord_does_not_wait_where_there_is_room(policy: Policy, autojump_clock: MockClock) -> None:
    """It checkpoints all the same; the event is recorded before that checkpoint lets other tasks run."""
    sink = RecordingSink()
    async with collector(SMALL[policy], sinks=[sink]) as metrics:
        for number in range(20):
            with trio.testing.assert_checkpoints():
                await metrics.arecord(numbered(number))
            assert metrics.stats().total_events == number + 1
    assert trio.current_time() == 0
    assert numbers(sink.events) == list(range(20))
    assert metrics.stats().dropped_events == 0


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_recorder_does_not_overtake_waiting_events(policy: Policy, autojump_clock: MockClock) -> None:
    """While an event waits the buffer is full: the policy applies to the recorder's event, not to a waiting one."""
    sink = GatedSink()
    async with collector(SMALL[policy], sinks=[sink]) as metrics:
        count = await full(metrics, batch=2, buffer=2)
        async with trio.open_nursery() as nursery:
            for number in (100, 101, 102):
                await started(nursery, metrics.arecord, numbered(number))
            metrics.record(numbered(200))
            await trio.testing.wait_all_tasks_blocked()
            assert balanced(metrics.stats()).dropped == {"buffer_full": 1}
            assert metrics.stats().total_events == count + 1
            sink.gate.set()
    events = numbers(sink.events)
    if policy == "drop_newest":
        assert events == [*range(count), 100, 101, 102]
    else:
        assert events == [0, 1, 2, 3, 5, 200, 100, 101, 102]
    assert balanced(metrics.stats()).dropped == {"buffer_full": 1}


@pytest.mark.parametrize("policy", POLICIES)
async def test_an_arecord_that_is_cancelled_has_recorded_nothing(policy: Policy, autojump_clock: MockClock) -> None:
    """The caller's scope limits the wait, to the second; the others keep their turn."""
    sink = GatedSink()
    async with collector(SMALL[policy], sinks=[sink]) as metrics:
        count = await full(metrics, batch=2, buffer=2)
        cut: list[tuple[int, float]] = []

        async def bounded(number: int, seconds: float) -> None:
            with trio.move_on_after(seconds) as scope:
                await metrics.arecord(numbered(number))
            if scope.cancelled_caught:
                cut.append((number, trio.current_time()))

        async with trio.open_nursery() as nursery:
            for number, seconds in [(100, 3.0), (101, 9.0), (102, 5.0), (103, 9.0)]:
                await started(nursery, bounded, number, seconds)
            await trio.sleep(7)
            assert balanced(metrics.stats()).total_events == count
            sink.gate.set()
        assert cut == [(100, 3.0), (102, 5.0)]
        assert trio.current_time() == 7.0
    assert numbers(sink.events) == [*range(count), 101, 103]
    assert balanced(metrics.stats()).dropped_events == 0


async def test_an_arecord_that_is_cancelled_once_it_has_recorded_returns(autojump_clock: MockClock) -> None:
    """Cancelled means that it has recorded nothing, whatever the order of tasks."""
    returned = 0

    async def cancel(scope: trio.CancelScope) -> None:
        scope.cancel()

    async with collector(sinks=[]) as metrics:
        for number in range(40):  # Trio shuffles the tasks of a round
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cancel, scope)
                    await metrics.arecord(numbered(number))
                    returned += 1
        assert balanced(metrics.stats()).total_events == returned


@pytest.mark.parametrize("state", ["room", "full", "closed", "disabled", "invalid"])
async def test_arecord_in_a_cancelled_scope_raises_and_records_nothing(state: str, autojump_clock: MockClock) -> None:
    """A cancelled scope has this effect whether the call would have waited or not."""
    config = BatchMetricsConfig(buffer_size=2, enabled=state != "disabled", shutdown_timeout=0)
    event: Any = None if state == "invalid" else numbered(1)
    async with collector(config, sinks=[GatedSink()]) as metrics:
        if state == "full":
            await full(metrics, batch=2, buffer=2)
        if state != "closed":
            before = metrics.stats().total_events
            with trio.move_on_after(0) as scope, trio.testing.assert_checkpoints():
                await metrics.arecord(event)
            assert scope.cancelled_caught
            assert metrics.stats().total_events == before
    if state == "closed":
        with trio.move_on_after(0) as scope, trio.testing.assert_checkpoints():
            await metrics.arecord(event)
        assert scope.cancelled_caught
        assert metrics.stats().total_events == 0


@pytest.mark.parametrize("policy", POLICIES)
async def test_events_that_wait_when_the_block_is_left_count_as_closed(
    policy: Policy, autojump_clock: MockClock
) -> None:
    """Each call returns at once, without an exception, although the flush goes on."""
    sink = GatedSink()
    returned: list[float] = []
    count = 0
    async with trio.open_nursery() as nursery:
        async with collector(SMALL[policy], sinks=[sink]) as metrics:

            async def record(number: int) -> None:
                await metrics.arecord(numbered(number))
                returned.append(trio.current_time())

            count = await full(metrics, batch=2, buffer=2)
            for number in range(3):
                await started(nursery, record, 100 + number)
            await trio.sleep(5)

            async def open_later() -> None:
                await trio.sleep(20)
                sink.gate.set()

            nursery.start_soon(open_later)
        assert trio.current_time() == 25.0
        assert returned == [5.0] * 3
    assert numbers(sink.events) == list(range(count))
    stats = balanced(metrics.stats())
    assert stats.dropped == {"closed": 3}
    assert stats.total_events == count + 3


async def test_one_freed_place_lets_one_waiter_through(autojump_clock: MockClock) -> None:
    """The other callers still wait, so the buffer is never overfilled."""
    sink = RecordingSink(max_events=1)
    config = BatchMetricsConfig(buffer_size=1, flush_interval=10)
    async with collector(config, sinks=[sink]) as metrics:
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(metrics.arecord, numbered(number))
            for _ in range(50):
                await trio.lowlevel.checkpoint()
                stats = balanced(metrics.stats())
                # One is in the buffer, one in the queue, and one in flight.
                assert stats.pending_events <= 3
        assert trio.current_time() == 0
    assert sorted(numbers(sink.events)) == list(range(10))
    assert balanced(metrics.stats()).processed_events == 10


@pytest.mark.parametrize("policy", POLICIES)
async def test_arecord_counts_a_bad_event_like_record(policy: Policy, autojump_clock: MockClock) -> None:
    """It counts when its batch is formed, and raises nothing."""
    sink = RecordingSink()
    async with collector(SMALL[policy], sinks=[sink]) as metrics:
        for number in range(3):
            await metrics.arecord(numbered(number))
            await metrics.arecord(Counter("a", {}, -1))
    assert numbers(sink.events) == [0, 1, 2]
    assert balanced(metrics.stats()).dropped == {"invalid": 3}
