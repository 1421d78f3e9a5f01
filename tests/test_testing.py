"""The four sinks of `trio_batchmetrics.testing`, as a user's own tests use them."""

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.fakes import numbered, numbers
from tests.helpers import balanced
from trio_batchmetrics import Batch, BatchMetricsConfig, Counter, collector
from trio_batchmetrics.abc import EventSink, Payload, Receipt
from trio_batchmetrics.testing import FlakySink, PartialSink, RecordingSink, StuckSink

ALL: list[type[RecordingSink]] = [RecordingSink, FlakySink, StuckSink]
CONFIG = BatchMetricsConfig(batch_size=3)


def make(kind: type[RecordingSink], **settings: object) -> RecordingSink:
    """Create one of them, with the arguments it needs."""
    return PartialSink(lambda _: False, **settings) if kind is PartialSink else kind(**settings)


@pytest.mark.parametrize("kind", [*ALL, PartialSink])
def test_each_testing_sink_is_a_recording_sink_and_starts_empty(kind: type[RecordingSink]) -> None:
    """Two of them share nothing."""
    one, other = make(kind), make(kind)
    assert isinstance(one, RecordingSink)
    assert isinstance(one, EventSink)
    assert (one.events, one.batches, one.attempts) == ([], [], 0)
    one.batches.append(Batch([numbered(1)]))
    assert (other.events, other.batches) == ([], [])


@pytest.mark.parametrize("kind", [*ALL, PartialSink])
async def test_each_testing_sink_takes_a_name_and_delivery_settings(
    kind: type[RecordingSink], autojump_clock: MockClock
) -> None:
    """By default the name is the class's."""
    sinks = [make(kind), make(kind), make(kind, name="mine", timeout=1, retry_budget=2, backoff=3, max_events=4)]
    assert (sinks[2].timeout, sinks[2].retry_budget, sinks[2].backoff, sinks[2].max_events) == (1, 2, 3, 4)
    async with collector(sinks=sinks) as metrics:
        base = kind.__name__.removesuffix("Sink").lower()
        assert list(metrics.stats().sinks) == [base, f"{base}2", "mine"]
    with pytest.raises(ValueError, match=r"timeout must be a finite number of seconds > 0, or a timedelta \(got 0\)"):
        make(kind, timeout=0)


async def test_a_recording_sink_keeps_batches_and_events_in_order(autojump_clock: MockClock) -> None:
    """It gets each batch by itself, because it keeps up."""
    sink = RecordingSink()
    async with collector(CONFIG, sinks=[sink]) as metrics:
        for number in range(7):
            metrics.record(numbered(number))
        await metrics.flush()
        assert [numbers(list(batch)) for batch in sink.batches] == [[0, 1, 2], [3, 4, 5], [6]]
        assert all(type(batch) is Batch for batch in sink.batches)
        assert numbers(sink.events) == list(range(7))
        assert sink.attempts == 3
    assert balanced(metrics.stats()).sinks["recording"].delivered == 7


async def test_a_recording_sink_takes_a_batch_with_no_checkpoint_before_it_settles(autojump_clock: MockClock) -> None:
    """Events that are visible in the sink are therefore processed, too, at every instant."""
    sink = RecordingSink()
    async with collector(CONFIG, sinks=[sink]) as metrics:

        async def watch() -> None:
            while True:
                assert len(sink.events) == balanced(metrics.stats()).processed_events
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            for number in range(100):
                metrics.record(numbered(number))
                await trio.lowlevel.checkpoint()
            assert (await metrics.flush()).ok
            nursery.cancel_scope.cancel()
    assert len(sink.events) == 100


async def test_a_recording_sinks_send_never_checkpoints() -> None:
    """It can be called directly, too."""
    sink = RecordingSink()
    payload = Payload[None](Batch([numbered(1), numbered(2)]), (), "key")
    with trio.testing.assert_no_checkpoints():
        assert await sink.send(payload) is None
    assert numbers(sink.events) == [1, 2]


@pytest.mark.parametrize("fail", [0, 1, 2, 5])
async def test_a_flaky_sink_fails_a_given_number_of_times_and_then_takes_everything(
    fail: int, autojump_clock: MockClock
) -> None:
    """Each failed attempt is retried, and nothing arrives twice."""
    sink = FlakySink(fail=fail)
    async with collector(CONFIG, sinks=[sink]) as metrics:
        for number in range(5):
            metrics.record(numbered(number))
        assert (await metrics.flush()).ok
        stats = balanced(metrics.stats()).sinks["flaky"]
        assert (stats.delivered, stats.failed, stats.retries) == (5, 0, fail)
        assert sink.attempts >= fail + 1
        if fail:
            assert trio.current_time() > 0
            assert stats.last_error == f"ConnectionError: deliberate failure {fail} of {fail}"
        else:
            assert trio.current_time() == 0
            assert stats.last_error is None
    assert numbers(sink.events) == list(range(5))


async def test_a_flaky_sink_fails_once_by_default(autojump_clock: MockClock) -> None:
    """One failure is enough to see a retry."""
    sink = FlakySink()
    async with collector(sinks=[sink]) as metrics:
        metrics.record(numbered(1))
        metrics.record(numbered(2))
    assert (sink.attempts, numbers(sink.events)) == (2, [1, 2])
    assert metrics.stats().sinks["flaky"].retries == 1


async def test_a_stuck_sink_never_responds(autojump_clock: MockClock) -> None:
    """Leaving takes exactly the shutdown timeout; its events have failed, and a sink alongside it gets everything."""
    stuck, good = StuckSink(), RecordingSink()
    async with collector(BatchMetricsConfig(batch_size=3, shutdown_timeout=4), sinks=[stuck, good]) as metrics:
        for number in range(7):
            metrics.record(numbered(number))
        await trio.sleep(10)
        assert numbers(good.events) == list(range(7))
        assert balanced(metrics.stats()).pending_events == 7
    assert trio.current_time() == 14.0
    assert stuck.events == []
    assert stuck.attempts == 1
    assert balanced(metrics.stats()).failed_events == 7
    assert metrics.stats().sinks["stuck"].failures == {"shutdown": 7}


async def test_a_stuck_sink_is_tried_again_after_its_timeout(autojump_clock: MockClock) -> None:
    """An attempt whose outcome is unknown is repeated."""
    sink = StuckSink(timeout=10, backoff=1e-9, max_backoff=1e-9)
    async with collector(BatchMetricsConfig(shutdown_timeout=0), sinks=[sink]) as metrics:
        metrics.record(numbered(1))
        metrics.record(numbered(2))
        with trio.move_on_after(35):
            await metrics.flush()
        assert sink.attempts == 4
        assert metrics.stats().sinks["stuck"].last_error == "no answer within 10 s"
    assert balanced(metrics.stats()).failed_events == 2


async def test_a_partial_sink_rejects_some_events_and_takes_the_others(autojump_clock: MockClock) -> None:
    """They arrive in order, each once, and the rejected ones can be inspected."""
    sink = PartialSink(lambda event: int(event.operation) % 3 == 0)
    async with collector(BatchMetricsConfig(batch_size=4), sinks=[sink]) as metrics:
        for number in range(10):
            metrics.record(numbered(number))
        report = await metrics.flush()
        assert (report.processed, report.failed) == (6, 4)
        assert numbers(sink.events) == [1, 2, 4, 5, 7, 8]
        assert numbers(sink.rejected) == [0, 3, 6, 9]
        assert sink.attempts == 3
    stats = balanced(metrics.stats()).sinks["partial"]
    assert (stats.delivered, stats.rejected, stats.failed, stats.retries) == (6, 4, 0, 0)
    assert stats.last_error is not None
    assert "refused" in stats.last_error


async def test_a_partial_sink_may_refuse_everything_or_nothing(autojump_clock: MockClock) -> None:
    """Both extremes are tried."""
    everything, nothing = PartialSink(lambda _: True), PartialSink(lambda _: False)
    async with collector(sinks=[everything, nothing]) as metrics:
        for number in range(3):
            metrics.record(numbered(number))
    assert everything.events == []
    assert numbers(everything.rejected) == [0, 1, 2]
    assert numbers(nothing.events) == [0, 1, 2]
    assert nothing.rejected == []
    assert balanced(metrics.stats()).failed_events == 3


async def test_a_predicate_that_raises_takes_nothing_twice(autojump_clock: MockClock) -> None:
    """The attempt has failed: it is retried, and has neither taken nor refused an event."""
    calls = [0]

    def reject(event: Counter) -> bool:
        calls[0] += 1
        if calls[0] == 2:
            raise RuntimeError("predicate")
        return event.value == 0

    sink = PartialSink(reject)
    async with collector(sinks=[sink]) as metrics:
        for value in (0, 1, 2):
            metrics.record(Counter("a", {}, value))
        await metrics.flush()
    assert [event.value for event in sink.events if isinstance(event, Counter)] == [1, 2]
    assert [event.value for event in sink.rejected if isinstance(event, Counter)] == [0]
    assert balanced(metrics.stats()).sinks["partial"].rejected == 1


async def test_the_testing_sinks_can_be_subclassed(autojump_clock: MockClock) -> None:
    """A subclass may keep something more, for example."""

    class Slow(RecordingSink):
        """A sink that takes some time."""

        async def send(self, payload: Payload[None]) -> Receipt | None:
            """Wait, then take the batch."""
            await trio.sleep(0.1)
            return await super().send(payload)

    sink = Slow()
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        for number in range(6):
            metrics.record(numbered(number))
            await trio.testing.wait_all_tasks_blocked()
        await metrics.flush()
        # While the first payload is in flight the other two batches queue, and go together.
        assert [len(batch) for batch in sink.batches] == [2, 4]
        assert trio.current_time() == pytest.approx(0.2)
    assert list(metrics.stats().sinks) == ["slow"]
