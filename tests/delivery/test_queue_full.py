"""While a sink's queue is full, the collector evicts only as many events as make room."""

from __future__ import annotations

import logging

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.delivery.sinks import GatedEncodingSink, GatedSink, ScriptedSink, account, record, record_batches, upto
from tests.helpers import Policy, balanced, report_balanced
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.testing import RecordingSink, StuckSink


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
async def test_while_every_queue_is_full_the_buffer_fills_and_on_full_decides(
    policy: Policy, autojump_clock: MockClock
) -> None:
    """Two are in flight, six queued and six in the buffer; none fails, and the rest is dropped as configured."""
    one, two = GatedSink(name="one"), GatedSink(name="two")
    config = BatchMetricsConfig(batch_size=2, buffer_size=6, on_full=policy)
    async with collector(config, sinks=[one, two]) as metrics:
        await record_batches(metrics, 1, 14, 2)
        stats = balanced(metrics.stats())
        assert (stats.pending_events, stats.dropped_events) == (14, 0)
        assert stats.sinks["one"].pending == stats.sinks["two"].pending == 8
        await record_batches(metrics, 15, 19, 1)
        stats = balanced(metrics.stats())
        assert stats.dropped == {"buffer_full": 5}
        assert stats.pending_events == 14
        assert stats.sinks["one"].total == 8
        one.gate.set()
        two.gate.set()
        report = report_balanced(await metrics.flush(), 14)
        assert report.processed == 14
    for sink in (one, two):
        arrived = [event for payload in sink.payloads for event in payload]
        assert arrived == (upto(14) if policy == "drop_newest" else [*upto(8), *upto(19, 14)])
        assert sink.payloads[:2] == [[1, 2], upto(8, 3)]
    assert balanced(metrics.stats()).failed_events == 0


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 5])
async def test_where_only_some_queues_are_full_they_evict_their_oldest_events(
    batch_size: int, autojump_clock: MockClock
) -> None:
    """They evict as few as make room, none in flight; the good sink gets everything at once and loses nothing."""
    good, bad = ScriptedSink(name="good"), GatedSink(name="bad")
    async with collector(BatchMetricsConfig(batch_size=batch_size, buffer_size=5), sinks=[bad, good]) as metrics:
        for number in range(1, 61):  # a multiple of each size, so no batch is open at the end
            record(metrics, number, number)
            await wait_all_tasks_blocked()
            whole = number - number % batch_size
            assert [event for payload in good.payloads for event in payload] == upto(whole)
            stats = account(metrics, "bad")
            assert (stats.total, stats.failed) == (whole, max(whole - batch_size - 5, 0))
            assert balanced(metrics.stats()).failed_events == stats.failed
        bad.gate.set()
        await metrics.flush()
    stats = account(metrics, "bad")
    assert stats.failures == {"queue_full": 60 - batch_size - 5}
    assert bad.payloads[0] == upto(batch_size)
    assert bad.payloads[1] == upto(60, 56)
    assert account(metrics, "good").delivered == 60
    overall = balanced(metrics.stats())
    assert (overall.processed_events, overall.failed_events) == (batch_size + 5, 60 - batch_size - 5)
    assert set(good.times) == {0}


async def test_events_that_a_full_queue_evicts_are_reported(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A WARNING comes at once, and the number at the end."""
    sinks = [StuckSink(), RecordingSink()]
    async with collector(BatchMetricsConfig(batch_size=1, buffer_size=2, shutdown_timeout=0), sinks=sinks) as metrics:
        await record_batches(metrics, 1, 5, 1)
    lines = [line.getMessage() for line in caplog.records if line.levelno >= logging.WARNING]
    assert "stuck: failed 1 (queue_full)" in lines[0]
    assert "queue_full 2" in lines[-1]


async def test_room_in_the_queue_wakes_waiting_events_at_once(autojump_clock: MockClock) -> None:
    """The attempt ends at 10 s, the next one takes the queue, and the waiting events are queued at that instant."""
    sink = ScriptedSink(takes=10)
    async with collector(BatchMetricsConfig(batch_size=2, buffer_size=4), sinks=[sink]) as metrics:
        await record_batches(metrics, 1, 10, 2)
        assert (account(metrics).total, balanced(metrics.stats()).pending_events) == (6, 10)
        await trio.sleep(10)
        await wait_all_tasks_blocked()
        assert account(metrics).total == 10
        record(metrics, 11, 14)
        await metrics.flush()
    assert sink.payloads == [[1, 2], [3, 4, 5, 6], [7, 8, 9, 10], [11, 12, 13, 14]]
    assert sink.times == [0, 10, 20, 30]
    assert balanced(metrics.stats()).processed_events == 14


async def test_a_sink_that_encodes_reports_its_room_too(autojump_clock: MockClock) -> None:
    """Events that wait for room in its queue go on as soon as the sink takes the queue."""
    sink = GatedEncodingSink(name="scripted")
    async with collector(BatchMetricsConfig(batch_size=2, buffer_size=2), sinks=[sink]) as metrics:
        await record_batches(metrics, 1, 6, 2)  # a batch in flight, one in the queue, one that waits for room
        sink.gate.set()
        with trio.fail_after(1):
            assert (await metrics.flush()).processed == 6
    assert sink.payloads == [[1, 2], [3, 4], [5, 6]]


async def test_a_batch_that_waits_for_room_may_be_evicted_and_is_then_forgotten(autojump_clock: MockClock) -> None:
    """Later batches are handed over in its place."""
    sink = GatedSink(name="scripted")
    config = BatchMetricsConfig(batch_size=3, buffer_size=3, on_full="drop_oldest")
    async with collector(config, sinks=[sink]) as metrics:
        await record_batches(metrics, 1, 9, 3)
        assert account(metrics).total == 6
        await record_batches(metrics, 10, 12, 1)
        stats = balanced(metrics.stats())
        assert (stats.dropped, stats.pending_events, stats.batch_count) == ({"buffer_full": 3}, 9, 2)
        sink.gate.set()
        await metrics.flush()
    assert sink.payloads == [[1, 2, 3], [4, 5, 6], [10, 11, 12]]
    assert balanced(metrics.stats()).batch_count == 3


async def test_the_rest_of_a_batch_goes_as_soon_as_it_fits(autojump_clock: MockClock) -> None:
    """A queue is full while the next batch doesn't fit; once partly evicted, that may fit, and loses no more events."""
    sink = GatedSink(name="scripted")
    config = BatchMetricsConfig(batch_size=3, buffer_size=4, on_full="drop_oldest")
    async with collector(config, sinks=[sink]) as metrics:
        await record_batches(metrics, 1, 9, 3)
        assert account(metrics).total == 6  # 3 in flight, 3 of 4 places taken: 7 to 9 don't fit
        await record_batches(metrics, 10, 11, 1)  # evicts 7
        await record_batches(metrics, 12, 12, 1)  # evicts 8: the rest is 9, which fits
        assert account(metrics).total == 7
        await record_batches(metrics, 13, 13, 1)
        assert balanced(metrics.stats()).dropped == {"buffer_full": 2}
        sink.gate.set()
        await metrics.flush()
    assert [event for payload in sink.payloads for event in payload] == [*upto(6), *upto(13, 9)]
