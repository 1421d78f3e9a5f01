"""An invalid event is counted, and costs no other event of its batch."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.bad_values import (
    EVIL,
    NOT_COUNTS,
    NOT_DURATIONS,
    NOT_LABELS,
    NOT_NAMES,
    NOT_VALUES,
    EvilClass,
    Unprintable,
    shown,
)
from tests.fakes import GatedSink, numbered, numbers
from tests.helpers import balanced
from tests.recording.examples import PARAMETERS, call, timeless
from trio_batchmetrics import BatchMetricsConfig, CacheMetric, HistogramPoint, MetricEvent, Recorder, collector
from trio_batchmetrics.testing import RecordingSink

BAD: dict[str, tuple[str, tuple[Any, ...], int, list[Any]]] = {
    "duration of a request": ("record_http_request", ("GET", "/", 200, 0.5), 3, NOT_DURATIONS),
    "latency": ("record_backend_request", ("openai", "gpt-4", True, 0.5, None), 3, NOT_DURATIONS),
    "duration of a check": ("record_health_check", ("backend-1", True, 0.5), 2, NOT_DURATIONS),
    "health": (
        "record_health_check",
        ("backend-1", True, 0.5),
        1,
        [value for value in NOT_VALUES if not isinstance(value, bool)],
    ),
    "counter": ("record_counter", ("name", {}, 1), 2, NOT_COUNTS),
    "histogram": ("record_histogram", ("name", {}, 1), 2, NOT_VALUES),
    "gauge": ("record_gauge", ("name", {}, 1), 2, NOT_VALUES),
    "name of a counter": ("record_counter", ("name", {}, 1), 0, NOT_NAMES),
    "name of a histogram": ("record_histogram", ("name", {}, 1), 0, NOT_NAMES),
    "name of a gauge": ("record_gauge", ("name", {}, 1), 0, NOT_NAMES),
    "labels of a counter": ("record_counter", ("name", {}, 1), 1, NOT_LABELS),
    "labels of a histogram": ("record_histogram", ("name", {}, 1), 1, NOT_LABELS),
    "labels of a gauge": ("record_gauge", ("name", {}, 1), 1, NOT_LABELS),
    "label of a cache": ("record_cache_metric", ("redis", "hit"), 1, [Unprintable()]),
    "label of a backend": ("record_backend_request", ("openai", "gpt-4", True, 0.5, None), 1, [Unprintable()]),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("elsewhere", [False, True], ids=["recorder", "from_thread"])
async def test_each_invalid_event_is_counted_and_nothing_else_is_lost(
    what: str, elsewhere: bool, autojump_clock: MockClock
) -> None:
    """Good events before, between and after the bad ones arrive in order, and the call raises nothing."""
    name, good, position, bad = BAD[what]
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        recorder: Recorder = metrics.from_thread() if elsewhere else metrics
        for number, value in enumerate(bad):
            recorder.record(numbered(number))
            call(recorder, name, *good[:position], value, *good[position + 1 :])
        call(recorder, name, *good)
        assert balanced(metrics.stats()).total_events == 2 * len(bad) + 1
        assert (await metrics.flush()).dropped == len(bad)
    assert numbers(sink.events[:-1]) == list(range(len(bad)))
    assert timeless(sink.events[-1:]) == [(type(sink.events[-1]), dict(zip(PARAMETERS[name], good, strict=True)))]
    stats = balanced(metrics.stats())
    assert stats.dropped == {"invalid": len(bad)}
    assert stats.processed_events == len(bad) + 1


# Deviation reported: the value's own exception ends the flush task, and with it the collector: everything is lost.
@pytest.mark.parametrize("make", EVIL, ids=["int", "float", "class"])
async def test_a_value_that_raises_when_it_is_looked_at_takes_nothing_with_it(
    make: Callable[[], Any], autojump_clock: MockClock
) -> None:
    """A bad event never takes the rest of its batch with it."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        metrics.record(numbered(1))
        metrics.record_health_check("backend-1", True, make())
        metrics.record_counter("name", {}, make())
        metrics.record(numbered(2))
        await metrics.flush()
        metrics.record(numbered(3))
    assert numbers(sink.events) == [1, 2, 3]
    assert balanced(metrics.stats()).dropped == {"invalid": 2}


# Deviation reported: `isinstance(labels, Mapping)` and `isinstance(event, MetricEvent)` let the object's own error out.
async def test_recorders_do_not_raise_for_objects_that_raise_when_asked_for_their_class(
    autojump_clock: MockClock,
) -> None:
    """Lazy proxies raise when they have lost the object they stand for, for example."""
    evil: Any = EvilClass()
    async with collector(sinks=[]) as metrics:
        metrics.record_counter("name", evil, 1)
        metrics.record(evil)
        await metrics.arecord(evil)
        metrics.from_thread().record(evil)
    assert balanced(metrics.stats()).dropped == {"invalid": 4}


# Deviation reported: a point with this bound takes the collector with it.
async def test_a_points_bound_that_no_float_can_hold_takes_nothing_with_it(autojump_clock: MockClock) -> None:
    """Users may record a point themselves."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        metrics.record(numbered(1))
        metrics.record(HistogramPoint("size", {}, 1, 1.0, (10**400,), (1, 0)))
        metrics.record(numbered(2))
    assert numbers(sink.events) == [1, 2]
    assert balanced(metrics.stats()).dropped == {"invalid": 1}


@pytest.mark.parametrize("event", [None, "hit", 3, {"kind": "CacheMetric"}, object(), CacheMetric], ids=shown)
async def test_an_object_that_is_not_an_event_counts_as_invalid(event: Any, autojump_clock: MockClock) -> None:
    """It counts whichever way it is recorded, and doesn't wait for room either."""
    sink = GatedSink()
    async with collector(BatchMetricsConfig(buffer_size=1, shutdown_timeout=0), sinks=[sink]) as metrics:
        for number in range(3):
            metrics.record(numbered(number))
            await trio.testing.wait_all_tasks_blocked()
        metrics.record(event)
        metrics.from_thread().record(event)
        with trio.fail_after(1), trio.testing.assert_checkpoints():
            await metrics.arecord(event)
        assert balanced(metrics.stats()).dropped == {"invalid": 3}


async def test_an_event_of_an_undeclared_class_is_invalid(autojump_clock: MockClock) -> None:
    """It contains nothing that a sink could use."""

    class Forgotten(MetricEvent):
        """A class that lacks the decorator."""

    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        metrics.record(Forgotten())
        metrics.record(numbered(1))
        metrics.record(MetricEvent())
    assert numbers(sink.events) == [1]
    assert balanced(metrics.stats()).dropped == {"invalid": 2}


async def test_a_batch_that_validation_empties_is_neither_sent_nor_counted(autojump_clock: MockClock) -> None:
    """No sink sees the batch, and it doesn't count."""
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        for _ in range(4):
            metrics.record_counter("", {}, 1)
        await metrics.flush()
        stats = balanced(metrics.stats())
        assert (stats.batch_count, stats.last_flush_time, stats.time_since_last_flush) == (0, None, None)
        assert stats.dropped == {"invalid": 4}
    assert sink.attempts == 0


async def test_invalid_events_are_pending_until_their_batch_is_formed(autojump_clock: MockClock) -> None:
    """They count at that moment at the latest."""
    async with collector(BatchMetricsConfig(flush_interval=10), sinks=[]) as metrics:
        metrics.record_counter("", {}, 1)
        metrics.record_counter("a", {}, -1)
        stats = balanced(metrics.stats())
        assert stats.pending_events + stats.dropped_events == 2
        await trio.sleep(10.5)
        assert metrics.stats().dropped == {"invalid": 2}
        assert metrics.stats().pending_events == 0


async def test_checking_a_long_batch_does_not_hold_the_run_loop(autojump_clock: MockClock) -> None:
    """Other tasks run in between, because a turn of the flush task takes about a millisecond."""
    rounds = 0

    async def count() -> None:
        nonlocal rounds
        while True:
            await trio.lowlevel.checkpoint()
            rounds += 1

    async with collector(BatchMetricsConfig(batch_size=10_000), sinks=[]) as metrics, trio.open_nursery() as nursery:
        for number in range(9_500):
            metrics.record(numbered(number))
        nursery.start_soon(count)
        assert (await metrics.flush()).processed == 9_500
        nursery.cancel_scope.cancel()
    assert rounds >= 1
