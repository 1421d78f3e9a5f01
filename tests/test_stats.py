"""Snapshots: one line for a log, and a flush's report."""

import sys
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.fakes import GatedSink, numbered
from tests.helpers import balanced, examples, report_balanced
from trio_batchmetrics import BatchMetricsConfig, BatchMetricsStats, Counter, FlushReport, SinkStats, collector
from trio_batchmetrics.testing import FlakySink, PartialSink, RecordingSink, StuckSink

COUNT = st.integers(0, 3)


# -- BatchMetricsStats and SinkStats


def test_stats_print_on_one_line() -> None:
    """Every count has its name, reasons are in brackets, and sinks come after bars."""
    stats = BatchMetricsStats(
        total_events=30,
        processed_events=10,
        dropped_events=6,
        failed_events=5,
        spooled_events=2,
        pending_events=7,
        batch_count=3,
        dropped={"buffer_full": 4, "invalid": 2},
        sinks={
            "sqlite": SinkStats(
                total=24,
                delivered=10,
                rejected=1,
                failed=4,
                spooled=2,
                pending=7,
                retries=9,
                failures={"queue_full": 4},
            ),
            "logging": SinkStats(total=24, delivered=24),
        },
    )
    assert str(stats) == (
        "total=30 processed=10 dropped=6 (buffer_full 4, invalid 2) failed=5 spooled=2 pending=7 batches=3"
        " | sqlite: total=24 delivered=10 rejected=1 failed=4 (queue_full 4) spooled=2 pending=7 retries=9"
        " | logging: total=24 delivered=24 rejected=0 failed=0 spooled=0 pending=0 retries=0"
    )


def test_stats_of_nothing_print_too() -> None:
    """Zeros are data."""
    assert str(BatchMetricsStats()) == "total=0 processed=0 dropped=0 failed=0 spooled=0 pending=0 batches=0"


@pytest.mark.parametrize("kind", [BatchMetricsStats, SinkStats, FlushReport])
def test_snapshots_are_frozen_and_begin_at_zero(kind: Any) -> None:
    """A snapshot that was read never changes."""
    snapshot = kind()
    for field in attrs.fields(kind):
        assert getattr(snapshot, field.name) in (0, None, {})
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(snapshot, field.name, 1)
    assert kind() == snapshot
    with pytest.raises(TypeError, match="positional"):
        kind(1)


async def test_a_snapshot_does_not_change_with_later_events(autojump_clock: MockClock) -> None:
    """Its mappings are included, and changing them doesn't change the ledger either."""
    sink = FlakySink(fail=1)
    async with collector(BatchMetricsConfig(buffer_size=2), sinks=[sink]) as metrics:
        for number in range(4):
            metrics.record(numbered(number))
        early = metrics.stats()
        shown = str(early)
        await metrics.flush()
        metrics.record_counter("", {}, 1)
        await metrics.flush()
        assert str(early) == shown
        assert early.dropped == {"buffer_full": 2}
        assert early.sinks["flaky"].retries == 0
        late: Any = metrics.stats()
        late.dropped.clear()
        late.sinks.clear()
        assert metrics.stats().dropped == {"buffer_full": 2, "invalid": 1}
        assert metrics.stats().sinks["flaky"].delivered == 2


async def test_each_time_comes_from_the_clock_that_suits_it(autojump_clock: MockClock) -> None:
    """Timestamps are aware and from the wall clock; an age uses Trio's clock, and grows after the block."""
    before = datetime.now(UTC)
    async with collector(BatchMetricsConfig(flush_interval=10), sinks=[RecordingSink()]) as metrics:
        stats = metrics.stats()
        assert (stats.last_flush_time, stats.time_since_last_flush) == (None, None)
        assert stats.sinks["recording"].last_success is None
        metrics.record(numbered(1))
        await trio.sleep(17)
        stats = metrics.stats()
        assert stats.time_since_last_flush == 7.0
        for moment in (stats.last_flush_time, stats.sinks["recording"].last_success):
            assert moment is not None
            assert moment.tzinfo is UTC
            assert before <= moment <= datetime.now(UTC)
    await trio.sleep(3)
    assert metrics.stats().time_since_last_flush == 10.0


async def test_stats_and_their_line_are_available_at_any_time(autojump_clock: MockClock) -> None:
    """They work before anything happened, in the block, and after it."""
    async with collector(sinks=[StuckSink(), RecordingSink(), RecordingSink()]) as metrics:
        assert list(metrics.stats().sinks) == ["stuck", "recording", "recording2"]
        metrics.record(numbered(1))
        metrics.record(numbered(2))
        await trio.sleep(6)
        assert str(balanced(metrics.stats())) == (
            "total=2 processed=0 dropped=0 failed=0 spooled=0 pending=2 batches=1"
            " | stuck: total=2 delivered=0 rejected=0 failed=0 spooled=0 pending=2 retries=0"
            " | recording: total=2 delivered=2 rejected=0 failed=0 spooled=0 pending=0 retries=0"
            " | recording2: total=2 delivered=2 rejected=0 failed=0 spooled=0 pending=0 retries=0"
        )
    assert str(balanced(metrics.stats())) == (
        "total=2 processed=0 dropped=0 failed=2 spooled=0 pending=0 batches=1"
        " | stuck: total=2 delivered=0 rejected=0 failed=2 (shutdown 2) spooled=0 pending=0 retries=0"
        " | recording: total=2 delivered=2 rejected=0 failed=0 spooled=0 pending=0 retries=0"
        " | recording2: total=2 delivered=2 rejected=0 failed=0 spooled=0 pending=0 retries=0"
    )


# -- FlushReport


@given(processed=COUNT, failed=COUNT, spooled=COUNT, dropped=COUNT, pending=COUNT)
def test_a_report_is_ok_if_and_only_if_nothing_was_lost_or_left(
    processed: int, failed: int, spooled: int, dropped: int, pending: int
) -> None:
    """A spooled event isn't lost."""
    report = FlushReport(processed=processed, failed=failed, spooled=spooled, dropped=dropped, pending=pending)
    assert report.ok is (failed == 0 and dropped == 0 and pending == 0)


def test_a_report_of_nothing_is_ok() -> None:
    """Nothing was pending, and nothing was lost."""
    assert FlushReport().ok


STEPS = st.lists(st.sampled_from(["good", "bad", "count", "gauge", "flush", "wait"]), max_size=20)


@settings(deadline=None, max_examples=examples(60))
@given(steps=STEPS, sinks=st.sets(st.sampled_from(["recording", "flaky", "partial"])), buffer_size=st.integers(1, 6))
def test_a_flush_accounts_for_exactly_what_was_pending(steps: list[str], sinks: set[str], buffer_size: int) -> None:
    """Events were recorded, collected, lost and retried before, and nothing is pending when it returns."""

    async def main() -> None:
        made = {
            "recording": RecordingSink(),
            "flaky": FlakySink(fail=2),
            "partial": PartialSink(lambda event: getattr(event, "operation", "") == "1"),
        }
        config = BatchMetricsConfig(batch_size=3, buffer_size=buffer_size)
        async with collector(config, sinks=[made[name] for name in sorted(sinks)]) as metrics:
            touched: set[str] = set()
            for number, step in enumerate([*steps, "flush"]):
                if step == "good":
                    metrics.record(numbered(number % 2))
                elif step == "bad":
                    metrics.record_counter("", {}, 1)
                elif step == "count":
                    metrics.counter("c").add()
                    touched.add("c")
                elif step == "gauge":
                    metrics.gauge("g").inc()
                    touched.add("g")
                elif step == "wait":
                    await trio.testing.wait_all_tasks_blocked()
                else:
                    before = balanced(metrics.stats())
                    report = report_balanced(await metrics.flush(), before.pending_events + len(touched))
                    touched.clear()
                    after = balanced(metrics.stats())
                    assert after.pending_events == 0
                    assert report.pending == report.spooled == 0
                    assert report.processed == after.processed_events - before.processed_events
                    assert report.failed == after.failed_events - before.failed_events
                    assert report.dropped == after.dropped_events - before.dropped_events

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_a_flush_with_nothing_to_do_reports_nothing_and_checkpoints(autojump_clock: MockClock) -> None:
    """A flush before anything was recorded, and one after everything has settled are tried."""
    async with collector(sinks=[RecordingSink()]) as metrics:
        for _ in range(2):
            with trio.testing.assert_checkpoints():
                assert await metrics.flush() == FlushReport()
            metrics.record(numbered(1))
            metrics.record(numbered(2))
            assert await metrics.flush() == FlushReport(processed=2)
    assert trio.current_time() == 0


async def test_a_flush_does_not_wait_for_events_recorded_after_the_call(autojump_clock: MockClock) -> None:
    """The report doesn't count those events either."""
    sink = GatedSink()
    reports: list[FlushReport] = []
    async with collector(BatchMetricsConfig(flush_interval=1000), sinks=[sink]) as metrics:

        async def flush() -> None:
            reports.append(await metrics.flush())

        metrics.record(numbered(1))
        metrics.record(numbered(2))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flush)
            await trio.testing.wait_all_tasks_blocked()
            metrics.record(numbered(3))
            sink.gate.set()
        assert reports == [FlushReport(processed=2)]
        assert metrics.stats().pending_events == 1
    assert trio.current_time() == 0


async def test_a_flush_distinguishes_failed_events_from_dropped_ones(autojump_clock: MockClock) -> None:
    """An event that a sink refuses has failed; one that validation refuses is dropped."""
    partial = PartialSink(lambda event: event.operation == "1")
    async with collector(sinks=[RecordingSink(), partial]) as metrics:
        for number in (0, 1, 1, 2, 3):
            metrics.record(numbered(number))
        for _ in range(4):
            metrics.record(Counter("", {}, 1))
        report = await metrics.flush()
        assert report == FlushReport(processed=3, failed=2, dropped=4)
        assert not report.ok


async def test_a_flush_that_is_cancelled_loses_nothing(autojump_clock: MockClock) -> None:
    """The caller's scope is the timeout, and the events it waited for are delivered all the same."""
    sink = GatedSink()
    async with collector(sinks=[sink]) as metrics:
        metrics.record(numbered(1))
        metrics.record(numbered(2))
        with trio.move_on_after(3) as scope:
            await metrics.flush()
        assert scope.cancelled_caught
        assert trio.current_time() == 3.0
        assert balanced(metrics.stats()).pending_events == 2
        sink.gate.set()
        assert await metrics.flush() == FlushReport(processed=2)
    assert len(sink.events) == 2


async def test_a_flush_under_way_when_the_block_is_left_returns_when_the_exit_flush_has_ended(
    autojump_clock: MockClock,
) -> None:
    """It reports the outcome, and nothing is pending then."""
    reports: list[tuple[float, FlushReport]] = []
    async with trio.open_nursery() as nursery:
        async with collector(BatchMetricsConfig(shutdown_timeout=7), sinks=[StuckSink(), RecordingSink()]) as metrics:

            async def flush() -> None:
                reports.append((trio.current_time(), await metrics.flush()))
                reports.append((trio.current_time(), reports[0][1]))

            metrics.record(numbered(1))
            metrics.record(numbered(2))
            nursery.start_soon(flush)
            await trio.sleep(2)
            assert reports == []
        assert trio.current_time() == 9.0
    assert [time for time, _ in reports] == [0.0, 9.0]
    assert reports[0][1] == FlushReport(failed=2)
    assert await metrics.flush() == FlushReport()


def test_a_flush_in_a_later_run_returns_at_once() -> None:
    """Everything has settled with the block, so there is nothing to wait for, whichever run asks."""

    async def record() -> Any:
        async with collector(sinks=[]) as metrics:
            metrics.record_cache_metric("redis", "hit")
        return metrics

    async def flush(metrics: Any) -> FlushReport:
        with trio.fail_after(5):
            report: FlushReport = await metrics.flush()
            return report

    metrics = trio.run(record)
    assert trio.run(flush, metrics) == FlushReport()
    assert balanced(metrics.stats()).processed_events == 1


def calls_of_flushes(count: int, *, apart: bool) -> int:
    """Return how many calls the given number of flushes make that all wait at the same time."""
    calls = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    async def main() -> None:
        gate = trio.Event()

        async def sink(_batch: object) -> None:
            await gate.wait()

        reports: list[FlushReport] = []
        async with collector(BatchMetricsConfig(buffer_size=count + 1), sinks=[sink]) as metrics:

            async def flush() -> None:
                reports.append(await metrics.flush())

            metrics.record_cache_metric("redis", "hit")
            sys.setprofile(note)
            async with trio.open_nursery() as nursery:
                for _ in range(count):
                    if apart:
                        metrics.record_cache_metric("redis", "hit")
                    nursery.start_soon(flush)
                    if apart:
                        await trio.testing.wait_all_tasks_blocked()
                await trio.testing.wait_all_tasks_blocked()
                gate.set()
            sys.setprofile(None)
        expected = range(2, count + 2) if apart else [1] * count
        assert sorted(report.processed for report in reports) == [*expected]

    trio.run(main, clock=MockClock(autojump_threshold=0))
    return calls


@pytest.mark.parametrize("apart", [False, True], ids=["at once", "one batch apart"])
def test_flushes_that_wait_together_cost_no_more_each_than_one_alone(apart: bool) -> None:
    """The cost is the number of calls: ten times as many flushes make ten times as many."""
    few, many = calls_of_flushes(30, apart=apart), calls_of_flushes(300, apart=apart)
    assert many < 12 * few
