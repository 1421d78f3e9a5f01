"""Recorders that interrupt each other.

Signal handlers, ``__del__``, logging handlers and labels that record while they are read cause this.

A signal handler runs between two bytecodes, anywhere in the library's code or in Trio's own. The first half tries every
such place in turn; the second half uses real signals.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.helpers import Policy, balanced, ids, interrupted_at, report_balanced, run_at_every_point
from trio_batchmetrics import Batch, BatchMetricsCollector, BatchMetricsConfig, Counter, collector
from trio_batchmetrics.testing import FlakySink, RecordingSink, StuckSink


class Numbered:
    """A source of events numbered from 1 on, which checks the ledger at each event."""

    def __init__(self, metrics: BatchMetricsCollector) -> None:
        """Create a source that uses this collector."""
        self.metrics = metrics
        self.count = 0

    def record(self) -> None:
        """Record one event."""
        self.count += 1
        self.metrics.record_counter("c", {"id": self.count}, 1)
        balanced(self.metrics.stats())

    def burst(self) -> None:
        """Record more than a batch."""
        for _ in range(4):
            self.record()


STRIDE = int(os.environ.get("POINTS_STRIDE", "11"))

TRIO = str(Path(trio.__file__).parent)


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
@pytest.mark.parametrize("before", range(7))
@pytest.mark.parametrize("action", ["record", "burst"])
def test_a_record_in_the_middle_of_a_record_is_counted_and_never_overfills_the_buffer(
    policy: Policy, before: int, action: str
) -> None:
    """At each place nothing is lost or doubled, the limit is exact, and under drop_oldest the newest events survive."""

    async def play(point: int) -> int:
        sink = RecordingSink()
        config = BatchMetricsConfig(batch_size=3, buffer_size=5, on_full=policy)
        async with collector(config, sinks=[sink]) as metrics:
            numbered = Numbered(metrics)
            for _ in range(before):
                numbered.record()
            with interrupted_at(point, getattr(numbered, action)) as passed:
                numbered.record()
            stats = balanced(metrics.stats())
            assert stats.total_events == numbered.count
            assert stats.pending_events == min(numbered.count, 5)
            assert stats.dropped.get("buffer_full", 0) == max(numbered.count - 5, 0)
        assert balanced(metrics.stats()).processed_events == min(numbered.count, 5)
        arrived = ids(sink.events)
        assert len(set(arrived)) == len(arrived) == min(numbered.count, 5)
        if policy == "drop_newest":
            assert set(range(1, min(before, 5) + 1)) <= set(arrived), "events that already waited stay"
        return passed[0]

    run_at_every_point(play, least=1)


def test_a_record_in_the_middle_of_one_that_follows_a_threads_record_is_not_refused() -> None:
    """A thread has shut the gate; the handler opens it before the interrupted record has looked for the reason."""

    async def play(point: int) -> int:
        sink = RecordingSink()
        async with collector(BatchMetricsConfig(batch_size=3, buffer_size=9), sinks=[sink]) as metrics:
            numbered = Numbered(metrics)
            thread = threading.Thread(target=numbered.record)
            thread.start()
            thread.join()
            with interrupted_at(point, numbered.record) as passed:
                numbered.record()
            numbered.record()
        stats = balanced(metrics.stats())
        assert stats.dropped == {}
        assert stats.total_events == numbered.count == len(sink.events)
        return passed[0]

    run_at_every_point(play, least=12)


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
def test_an_event_recorded_in_the_middle_of_a_record_is_counted_at_once(policy: Policy) -> None:
    """At each place, the counts grow by one at once, even when read inside the handler."""

    async def play(point: int) -> int:
        config = BatchMetricsConfig(batch_size=2, buffer_size=6, on_full=policy)
        async with collector(config, sinks=[RecordingSink()]) as metrics:
            numbered = Numbered(metrics)

            def record_and_count() -> None:
                before = balanced(metrics.stats()).total_events
                numbered.record()
                assert balanced(metrics.stats()).total_events == before + 1

            numbered.record()
            with interrupted_at(point, record_and_count) as passed:
                metrics.record_counter("c", {"id": 99}, 1)  # fills a batch
        assert balanced(metrics.stats()).total_events == (3 if passed[0] > point else 2)
        return passed[0]

    run_at_every_point(play, least=11)


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
def test_a_record_in_the_middle_of_a_flush_is_counted(policy: Policy) -> None:
    """At each place of a hand-over with a collection, everything is counted once, and arrives."""

    async def play(point: int) -> int:
        sink, flaky = RecordingSink(), FlakySink(fail=1)
        config = BatchMetricsConfig(batch_size=2, buffer_size=6, on_full=policy, flush_interval=5)
        async with collector(config, sinks=[sink, flaky]) as metrics:
            numbered = Numbered(metrics)
            counter = metrics.counter("n")
            counter.add(2)
            for _ in range(3):
                numbered.record()
            metrics.record_counter("bad", {}, -1)
            with interrupted_at(point, numbered.burst) as passed:
                report = await metrics.flush()
            assert report.processed >= 4 - report.dropped
            assert report.dropped >= 1
        stats = balanced(metrics.stats())
        assert stats.total_events == numbered.count + 2
        assert stats.pending_events == stats.failed_events == 0
        assert len(sink.events) == stats.processed_events == numbered.count + 2 - stats.dropped_events
        assert stats.dropped["invalid"] == 1
        return passed[0]

    run_at_every_point(play, least=200, stride=STRIDE)


def test_a_record_in_the_middle_of_opening_idling_and_leaving_is_counted() -> None:
    """At each place of a collector's life, an event is either delivered or refused as closed."""

    async def play(point: int) -> int:
        sink = RecordingSink()
        numbered: Numbered | None = None

        def record() -> None:
            if numbered is not None:
                numbered.burst()

        with interrupted_at(point, record) as passed:
            async with collector(BatchMetricsConfig(batch_size=3, flush_interval=1), sinks=[sink]) as metrics:
                numbered = Numbered(metrics)
                numbered.record()
                await trio.sleep(1.5)
                numbered.record()
        stats = balanced(metrics.stats())
        assert stats.total_events == numbered.count
        assert stats.processed_events == len(sink.events) == numbered.count - stats.dropped.get("closed", 0)
        return passed[0]

    run_at_every_point(play, least=200, stride=STRIDE)


def test_a_record_in_the_middle_of_waiting_for_room_is_counted() -> None:
    """At each place of arecord and of the code that lets it in, the order is kept, and no event is recorded twice."""

    async def play(point: int) -> int:
        sink = RecordingSink()
        async with collector(BatchMetricsConfig(batch_size=1, buffer_size=1), sinks=[sink]) as metrics:
            numbered = Numbered(metrics)
            numbered.record()
            with interrupted_at(point, numbered.record) as passed:
                async with trio.open_nursery() as nursery:
                    for number in (101, 102, 103):
                        nursery.start_soon(metrics.arecord, Counter("c", {"id": number}, 1))
                        await trio.testing.wait_all_tasks_blocked()
        stats = balanced(metrics.stats())
        assert stats.total_events == numbered.count + 3
        assert stats.processed_events == len(sink.events) == stats.total_events - stats.dropped_events
        assert [event_id for event_id in ids(sink.events) if event_id > 100] == [101, 102, 103]
        return passed[0]

    run_at_every_point(play, least=50, stride=STRIDE)


def test_updates_of_an_instrument_in_the_middle_of_an_update_all_count() -> None:
    """At each place of add, observe and the collection, the sums are exact."""

    async def play(point: int) -> int:
        sink = RecordingSink()
        async with collector(sinks=[sink]) as metrics:
            counter, histogram = metrics.counter("n"), metrics.histogram("h", bounds=[1, 2])

            def update() -> None:
                counter.add(10)
                histogram.observe(1.5)

            with interrupted_at(point, update) as passed:
                counter.add(1)
                histogram.observe(3)
                await metrics.flush()
        points: list[Any] = sink.events
        updated = passed[0] > point
        assert sum(one.value for one in points if one.name == "n") == (11 if updated else 1)
        counts = [sum(column) for column in zip(*(one.counts for one in points if one.name == "h"), strict=True)]
        assert counts == [0, 1 if updated else 0, 1]
        assert sum(one.sum for one in points if one.name == "h") == (4.5 if updated else 3)
        return passed[0]

    run_at_every_point(play, least=100)


class _Recording(logging.Handler):
    """A logging handler that records an event for each line."""

    def __init__(self, numbered: Numbered) -> None:
        super().__init__()
        self.numbered = numbered

    def emit(self, record: logging.LogRecord) -> None:
        self.numbered.record()


@contextmanager
def logging_to(handler: logging.Handler) -> Generator[None, None, None]:
    """Attach a handler to the library's logger inside the block."""
    logger = logging.getLogger("trio_batchmetrics")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


async def test_a_logging_handler_may_record_what_the_library_logs(autojump_clock: MockClock) -> None:
    """The line about a full buffer is itself recorded, and refused, without a loop or a wrong count."""
    async with collector(BatchMetricsConfig(buffer_size=2), sinks=[StuckSink()]) as metrics:
        numbered = Numbered(metrics)
        with logging_to(_Recording(numbered)):
            for _ in range(3):
                numbered.burst()
                await trio.sleep(70)
            assert numbered.count > 12, "nothing was logged"
            assert balanced(metrics.stats()).total_events == numbered.count


class _RecordsWhenRead(Mapping[str, str]):
    """Labels that record while they are read."""

    def __init__(self, numbered: Numbered) -> None:
        self.numbered = numbered

    def __getitem__(self, key: str) -> str:
        self.numbered.record()
        return "v"

    def __iter__(self) -> Iterator[str]:
        self.numbered.record()
        return iter(["k"])

    def __len__(self) -> int:
        return 1


async def test_labels_may_record_while_they_are_read(autojump_clock: MockClock) -> None:
    """Both the outer and the inner events arrive."""
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        numbered = Numbered(metrics)
        for _ in range(3):
            metrics.record_histogram("h", _RecordsWhenRead(numbered), 1.0)
    assert numbered.count >= 6
    assert len(sink.events) == numbered.count + 3


class _Dying:
    """An object that records when it is collected."""

    def __init__(self, numbered: Numbered) -> None:
        self.numbered = numbered
        self.cycle = self

    def __del__(self) -> None:
        self.numbered.record()


@contextmanager
def every(seconds: float, handler: Callable[[], None]) -> Generator[None, None, None]:
    """Run a real signal handler again and again inside the block."""
    before = signal.signal(signal.SIGALRM, lambda _signum, _frame: handler())
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


async def test_a_hundred_thousand_records_are_counted_while_everything_else_records_too() -> None:
    """Real signals, finalizers and a logging handler interrupt 100 000 calls: each call counts, and none raises."""
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(batch_size=7, buffer_size=50), sinks=[sink]) as metrics:
        numbered = Numbered(metrics)
        others = Numbered(metrics)
        with logging_to(_Recording(others)), every(0.0005, others.record):
            for number in range(100_000):
                numbered.count += 1
                metrics.record_counter("c", {"id": number}, 1)
                if number % 100 == 0:
                    _Dying(others)
                if number % 5000 == 0:
                    gc.collect()
                    await trio.lowlevel.checkpoint()
            gc.collect()
        assert others.count > 1000
        assert balanced(metrics.stats()).total_events == numbered.count + others.count
    stats = balanced(metrics.stats())
    assert stats.processed_events == len(sink.events) == stats.total_events - stats.dropped_events
    assert set(stats.dropped) == {"buffer_full"}


async def test_events_that_a_signal_handler_records_while_trio_runs_its_loop_are_delivered_without_help() -> None:
    """Handlers interrupt Trio's loop thousands of times, asleep and halfway through a round: no wake-up is lost."""
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(batch_size=1), sinks=[sink]) as metrics:
        numbered = Numbered(metrics)

        async def spin() -> None:
            while True:
                await trio.lowlevel.checkpoint()

        def record() -> None:  # not in the middle of itself: then a later number may rightly come first
            if not inside:
                inside.append(True)
                numbered.record()
                inside.clear()

        inside: list[bool] = []
        with every(0.0002, record):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(spin)
                await trio.sleep(0.7)
                nursery.cancel_scope.cancel()
            await trio.sleep(0.3)  # the loop is asleep, and only handlers wake it
        with trio.fail_after(10):
            while len(sink.events) < numbered.count:  # noqa: ASYNC110 - a sink sets no event, and nothing else may wake Trio
                await trio.sleep(0.001)
        assert numbered.count > 500
        assert ids(sink.events) == list(range(1, numbered.count + 1))


def test_a_record_in_the_middle_of_trios_own_code_is_delivered_without_help() -> None:
    """A handler may interrupt the flush task while Trio puts it to sleep or wakes it."""

    async def play(point: int) -> int:
        sink = RecordingSink()
        async with collector(BatchMetricsConfig(batch_size=1), sinks=[sink]) as metrics:
            numbered = Numbered(metrics)
            await trio.testing.wait_all_tasks_blocked()
            with interrupted_at(point, numbered.record, within=TRIO) as passed:
                numbered.record()
                for _ in range(4):
                    await trio.lowlevel.checkpoint()
            await trio.sleep(1)
            assert sorted(ids(sink.events)) == list(range(1, numbered.count + 1))
        return passed[0]

    run_at_every_point(play, least=101)


def test_a_handler_that_evicts_the_events_a_flush_waits_for_wakes_it() -> None:
    """Wherever in Trio's own code the handler runs, the flush returns without help."""

    async def play(point: int) -> int:
        config = BatchMetricsConfig(batch_size=1, buffer_size=1, on_full="drop_oldest")
        async with collector(config, sinks=[RecordingSink()]) as metrics:
            numbered = Numbered(metrics)
            await trio.testing.wait_all_tasks_blocked()
            numbered.record()
            with trio.fail_after(1), interrupted_at(point, numbered.record, within=TRIO) as passed:
                report = await metrics.flush()
            pushed_out.append(report.dropped)
            report_balanced(report, 1)
            assert report.pending == 0
        return passed[0]

    pushed_out: list[int] = []
    run_at_every_point(play, least=101)
    assert 0 < sum(pushed_out) < len(pushed_out)


def test_a_loss_in_the_middle_of_the_reporters_own_wait_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """A handler whose event is lost may interrupt the reporter while it goes to sleep."""

    async def play(point: int) -> int:
        caplog.clear()
        async with collector(sinks=[]) as metrics:
            with interrupted_at(point, lambda: metrics.record("no event"), within=TRIO) as passed:
                await trio.testing.wait_all_tasks_blocked()
            await trio.sleep(1)
            said = any("dropped 1 (invalid)" in line.getMessage() for line in caplog.records)
            assert said == (passed[0] > point)
        return passed[0]

    run_at_every_point(play, least=101)


class _InTheLoop(trio.abc.Instrument):
    """An instrument that records once at a given moment of Trio's own loop."""

    def __init__(self, moment: str, numbered: Numbered) -> None:
        self.moment = moment
        self.numbered = numbered

    def _at(self, moment: str) -> None:
        if moment == self.moment and self.numbered.count == 0:
            self.numbered.record()

    def before_io_wait(self, timeout: float) -> None:
        self._at("before_io_wait")

    def after_io_wait(self, timeout: float) -> None:
        self._at("after_io_wait")

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._at("before_task_step")

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._at("after_task_step")

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        self._at("task_scheduled")


@pytest.mark.parametrize(
    "moment", ["before_io_wait", "after_io_wait", "before_task_step", "after_task_step", "task_scheduled"]
)
async def test_an_event_recorded_inside_trios_loop_leaves_when_it_is_due(
    moment: str, autojump_clock: MockClock
) -> None:
    """Even as Trio goes to sleep, the event arrives exactly flush_interval later."""
    arrived: list[float] = []

    async def sink(batch: Batch) -> None:
        arrived.append(trio.current_time() - start)

    async with collector(BatchMetricsConfig(flush_interval=7), sinks=[sink]) as metrics:
        numbered = Numbered(metrics)
        await trio.testing.wait_all_tasks_blocked()
        start = trio.current_time()
        instrument = _InTheLoop(moment, numbered)
        trio.lowlevel.add_instrument(instrument)
        await trio.lowlevel.checkpoint()
        await trio.sleep(20)
        assert numbered.count == 1
        assert arrived == [7.0]
        trio.lowlevel.remove_instrument(instrument)


@pytest.mark.parametrize("before", [1, 2, 3])
def test_a_record_in_the_middle_of_a_record_is_safe_while_the_flush_task_waits_for_the_open_batch(before: int) -> None:
    """The flush task has taken the batch; events added by re-entry are taken back from there, and nothing raises."""

    async def play(point: int) -> int:
        config = BatchMetricsConfig(batch_size=3, buffer_size=3, flush_interval=100)
        async with collector(config, sinks=[]) as metrics:
            numbered = Numbered(metrics)
            for _ in range(before):
                numbered.record()
            await trio.testing.wait_all_tasks_blocked()
            with interrupted_at(point, numbered.burst) as passed:
                numbered.record()
            stats = balanced(metrics.stats())
            assert stats.total_events == numbered.count
            assert stats.pending_events == min(numbered.count - stats.processed_events, 3)
        assert balanced(metrics.stats()).failed_events == 0
        return passed[0]

    run_at_every_point(play, least=5)


def test_a_record_in_the_middle_of_leaving_does_not_hold_it_up() -> None:
    """At each place it is delivered at once or refused as closed, without waiting for the long flush_interval."""

    async def play(point: int) -> int:
        sink = RecordingSink()
        manager = collector(BatchMetricsConfig(batch_size=3, flush_interval=100, shutdown_timeout=5), sinks=[sink])
        metrics = await manager.__aenter__()
        numbered = Numbered(metrics)
        await trio.sleep(1)
        with interrupted_at(point, numbered.record) as passed:
            await manager.__aexit__(None, None, None)
        assert trio.current_time() == 1
        stats = balanced(metrics.stats())
        assert stats.failed_events == 0
        assert len(sink.events) == stats.processed_events == numbered.count - stats.dropped.get("closed", 0)
        return passed[0]

    run_at_every_point(play, least=100)


def test_recording_needs_no_clock_tick() -> None:
    """The timestamp is the wall-clock time in ns at the call."""

    async def main() -> list[int]:
        sink = RecordingSink()
        async with collector(sinks=[sink]) as metrics:
            before = time.time_ns()
            metrics.record_cache_metric("redis", "hit")
            after = time.time_ns()
        return [before, sink.events[0].timestamp, after]

    stamps = trio.run(main)
    assert stamps == sorted(stamps)
