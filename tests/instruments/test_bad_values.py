"""A bad value counts as one invalid event, raises nothing and leaves the sum alone."""

from collections.abc import Callable
from typing import Any

import pytest
from trio.testing import MockClock

from tests.bad_values import EVIL, NOT_COUNTS, NOT_DURATIONS, NOT_VALUES
from tests.helpers import balanced
from tests.instruments.points import plain
from trio_batchmetrics import BatchMetricsCollector, HistogramPoint, collector
from trio_batchmetrics.testing import RecordingSink

Update = Callable[[BatchMetricsCollector, Any], object]

UPDATES: dict[str, tuple[Update, list[Any]]] = {
    "counter.add": (lambda metrics, value: metrics.counter("c").add(value), NOT_COUNTS),
    "gauge.set": (lambda metrics, value: metrics.gauge("g").set(value), NOT_VALUES),
    "gauge.inc": (lambda metrics, value: metrics.gauge("g").inc(value), NOT_VALUES),
    "gauge.dec": (lambda metrics, value: metrics.gauge("g").dec(value), NOT_VALUES),
    "histogram.observe": (lambda metrics, value: metrics.histogram("h").observe(value), NOT_VALUES),
    "timer.observe": (lambda metrics, value: metrics.histogram("t", unit="s").observe(value), NOT_DURATIONS),
}


@pytest.mark.parametrize("update", UPDATES)
async def test_a_bad_value_counts_as_one_invalid_event_and_leaves_the_sum_alone(
    update: str, autojump_clock: MockClock
) -> None:
    """Each bad value counts at once, and never raises."""
    call, bad = UPDATES[update]
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        call(metrics, 2)
        for count, value in enumerate(bad, start=1):
            call(metrics, value)
            assert metrics.stats().dropped == {"invalid": count}
        call(metrics, 3)
        assert balanced(metrics.stats()).total_events == len(bad)
    (event,) = sink.events
    value = event.sum if isinstance(event, HistogramPoint) else plain(event)[3]
    assert value == {"gauge.set": 3, "gauge.dec": -5}.get(update, 5)
    if isinstance(event, HistogramPoint):
        assert event.count == 2


async def test_only_bad_values_leave_an_instrument_untouched(autojump_clock: MockClock) -> None:
    """It hands on no point."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        for call, bad in UPDATES.values():
            call(metrics, bad[0])
    assert sink.events == []
    assert metrics.stats().dropped == {"invalid": len(UPDATES)}


# Deviation reported: the value's own exception leaves the update.
@pytest.mark.parametrize("make", EVIL, ids=["int", "float", "class"])
@pytest.mark.parametrize("update", UPDATES)
async def test_a_value_that_raises_when_it_is_looked_at_counts_as_invalid(
    update: str, make: Callable[[], Any], autojump_clock: MockClock
) -> None:
    """An update never raises for a bad value."""
    async with collector(sinks=[]) as metrics:
        UPDATES[update][0](metrics, make())
        assert metrics.stats().dropped == {"invalid": 1}


# Deviation reported: the sum becomes infinite, the point invalid, and every value added before is lost with it.
async def test_a_sum_that_no_float_can_hold_loses_only_the_value_that_made_it_too_large(
    autojump_clock: MockClock,
) -> None:
    """Each value is valid by itself; one that can't be added is a bad value and leaves the sum alone."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        counter, histogram, gauge = metrics.counter("c"), metrics.histogram("h", bounds=[1]), metrics.gauge("g")
        for update in (counter.add, histogram.observe, gauge.inc):
            update(1e308)
            update(1e308)
    assert metrics.stats().dropped == {"invalid": 3}
    assert len(sink.events) == 3
    assert sorted(map(plain, sink.events), key=str) == [
        ("counter", "c", {}, 1e308),
        ("gauge", "g", {}, 1e308),
        ("histogram", "h", {}, 1, 1e308, (0, 1)),
    ]


async def test_a_sum_of_huge_ints_stays_what_a_float_can_hold(autojump_clock: MockClock) -> None:
    """The value that would exceed it is invalid; earlier values stay, and nothing raises."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        counter = metrics.counter("c")
        counter.add(5)
        counter.add(2**1023)
        counter.add(2**1023)
        counter.add(0.5)
    assert balanced(metrics.stats()).dropped == {"invalid": 1}
    (event,) = sink.events
    assert plain(event)[3] == 5 + 2**1023 + 0.5
