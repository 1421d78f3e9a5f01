"""Names beyond `max_instruments` have instruments that can be used, and whose updates are dropped and counted."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.helpers import balanced, interrupted_at
from tests.threads import in_threads
from trio_batchmetrics import BatchMetricsConfig, Counter, Gauge, collector
from trio_batchmetrics.sinks import PrometheusSink
from trio_batchmetrics.testing import RecordingSink


async def test_updates_of_further_names_are_dropped_and_never_raise(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Each update counts once, whatever it is, and one WARNING names the first such name."""
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(max_instruments=2), sinks=[sink]) as metrics:
        metrics.counter("a", labels={"n": 1}).add()
        metrics.gauge("b").set(1)
        metrics.counter("a", labels={"n": 2}).add()  # no new name
        counter, gauge, histogram = metrics.counter("c"), metrics.gauge("d"), metrics.histogram("e", unit="s")
        assert (counter.name, dict(counter.labels), gauge.name, histogram.name) == ("c", {}, "d", "e")
        counter.add()
        counter.add(1.5)
        counter.add("bad")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        gauge.set(1)
        gauge.set(1.5)
        gauge.inc()
        gauge.dec(0.5)
        with gauge.track():
            pass
        histogram.observe(1)
        histogram.observe(1.5)
        with histogram.time():
            pass
        dropped = 3 + 6 + 3
        assert balanced(metrics.stats()).dropped == {"too_many_instruments": dropped}
        metrics.describe("f", unit="By")
        metrics.observable_gauge("g", lambda: 1).close()
        with pytest.raises(ValueError, match="must be a non-empty str"):
            metrics.counter("")
        await metrics.flush()
    assert {event.name for event in sink.events if isinstance(event, Counter | Gauge)} == {"a", "b"}
    counter.add()
    stats = balanced(metrics.stats())
    assert stats.dropped == {"closed": 1, "too_many_instruments": dropped}
    assert stats.total_events == 3 + dropped + 1
    [line] = [message for message in caplog.messages if "max_instruments" in message]
    assert line == "metrics: 'c' and further names are more than max_instruments; their updates are dropped"


async def test_names_that_differ_only_in_threads_have_as_many_places(autojump_clock: MockClock) -> None:
    """If threads create the same names at once, none of the places is lost."""
    names = [f"n{number}" for number in range(100)]
    async with collector(BatchMetricsConfig(max_instruments=100), sinks=[]) as metrics:

        def create() -> None:
            for name in names:
                metrics.counter(name).add()

        await trio.to_thread.run_sync(in_threads, [create] * 8)
        made = {metrics.counter(name) for name in names}
        for instrument in made:
            instrument.add()
        assert len(made) == 100
        dropped = metrics.stats().dropped.get("too_many_instruments", 0)
        assert all(metrics.counter(name) is metrics.counter(name) for name in names)
        metrics.counter("one more").add()
        assert metrics.stats().dropped["too_many_instruments"] == dropped + 1


async def test_a_name_that_is_refused_takes_no_place(autojump_clock: MockClock) -> None:
    """A ValueError at the first use leaves room for others."""
    async with collector(BatchMetricsConfig(max_instruments=1), sinks=[]) as metrics:
        with pytest.raises(ValueError, match="strictly increasing"):
            metrics.histogram("h", bounds=[2, 1])
        metrics.counter("c").add()
        await metrics.flush()
    assert (metrics.stats().processed_events, metrics.stats().dropped) == (1, {})


async def test_series_sinks_reject_events_of_further_names(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Each sink has its own places; another sink gets the events all the same."""
    prometheus, recording = PrometheusSink(), RecordingSink()
    async with collector(BatchMetricsConfig(max_instruments=2), sinks=[prometheus, recording]) as metrics:
        for number in range(5):
            for _ in range(3):
                metrics.record(Counter(f"c.{number}", {}, 1))
        await metrics.flush()
    stats = balanced(metrics.stats())
    assert (stats.sinks["prometheus"].delivered, stats.sinks["prometheus"].rejected) == (6, 9)
    assert "too_many_instruments" in str(stats.sinks["prometheus"].last_error)
    assert stats.sinks["recording"].delivered == 15
    assert (stats.processed_events, stats.failed_events) == (6, 9)
    assert prometheus.render()[0].count(b"# TYPE") == 2
    [line] = [message for message in caplog.messages if "max_instruments=2" in message]
    assert "'c.2'" in line


async def test_a_name_that_two_callers_create_at_once_takes_one_place(autojump_clock: MockClock) -> None:
    """A signal handler creates the same name at every point of its creation; a second name still has its place."""
    point = passed = 0
    while point <= passed:
        async with collector(BatchMetricsConfig(max_instruments=2), sinks=[]) as metrics:
            with interrupted_at(point, lambda metrics=metrics: metrics.counter("a")) as places:  # type: ignore[misc]
                first = metrics.counter("a")
            first.add()
            metrics.counter("b").add()
            assert metrics.counter("a") is first
            assert metrics.stats().dropped == {}
            metrics.counter("c").add()
            assert metrics.stats().dropped == {"too_many_instruments": 1}
        passed, point = places[0], point + 1
    assert passed > 20
