"""`describe()`: the meaning of a name for the recorders that take a name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.fakes import StoreSink
from trio_batchmetrics import BatchMetricsCollector, BatchMetricsConfig, collector
from trio_batchmetrics.abc import Kind, Measure


async def test_a_described_histogram_has_its_unit_its_description_and_suitable_bounds(
    autojump_clock: MockClock,
) -> None:
    """0.25 s is in a bucket of a quarter of a second, not in one of 5 s."""
    sink = StoreSink()
    async with collector(sinks=[sink]) as metrics:
        metrics.describe("job.duration", unit="s", description="How long jobs take.")
        metrics.record_histogram("job.duration", {"queue": "mail"}, 0.25)
    metric = sink.metric("job.duration")
    assert (metric.kind, metric.unit, metric.description) == (Kind.HISTOGRAM, "s", "How long jobs take.")
    assert metric.bounds == (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
    (point,) = metric.points
    assert [bound for bound, count in zip(metric.bounds, point.counts, strict=False) if count] == [0.25]


async def test_a_described_histogram_has_the_bounds_of_its_description_or_the_configurations(
    autojump_clock: MockClock,
) -> None:
    """The configuration's bounds win."""
    sink = StoreSink()
    config = BatchMetricsConfig(bounds={"configured": [7]})
    async with collector(config, sinks=[sink]) as metrics:
        for name in ("configured", "described"):
            metrics.describe(name, unit="By", bounds=[1, 2])
            metrics.record_histogram(name, {}, 1.5)
    assert sink.metric("configured").bounds == (7,)
    assert sink.metric("described").bounds == (1, 2)
    assert sink.metric("described").points[0].counts == (0, 1, 0)


async def test_a_description_fits_counters_and_gauges_too(autojump_clock: MockClock) -> None:
    """The description applies to every recorder that takes the name."""
    sink = StoreSink()
    async with collector(sinks=[sink]) as metrics:
        metrics.describe("bytes", unit="By", description="Bytes.")
        metrics.describe("temperature", unit="Cel", description="Degrees.")
        for _ in range(3):
            metrics.record_counter("bytes", {}, 2)
            metrics.record_gauge("temperature", {}, 20)
            await metrics.flush()
    counter, gauge = sink.metric("bytes"), sink.metric("temperature")
    assert (counter.kind, counter.unit, counter.description) == (Kind.COUNTER, "By", "Bytes.")
    assert (gauge.kind, gauge.unit, gauge.description) == (Kind.GAUGE, "Cel", "Degrees.")
    assert [point.value for point in counter.points] == [6]


async def test_a_description_may_come_before_or_after_an_instrument_that_agrees(autojump_clock: MockClock) -> None:
    """An instrument without bounds of its own takes the described ones."""
    sink = StoreSink()
    async with collector(sinks=[sink]) as metrics:
        metrics.describe("before", unit="By", bounds=[1, 2], description="From describe().")
        assert metrics.histogram("before", unit="By", description="Later.").bounds == (1, 2)
        metrics.histogram("before", unit="By").observe(1)
        metrics.histogram("after", unit="By", bounds=[3, 4]).observe(1)
        metrics.describe("after", unit="By", bounds=[3, 4], description="From describe().")
        metrics.describe("after", unit="By")
        metrics.describe("later", unit="By")
        metrics.describe("later", unit="By", bounds=[5, 6])  # adds to the description without contradicting it
        assert metrics.histogram("later", unit="By").bounds == (5, 6)
    assert sink.metric("before").description == "From describe()."
    assert sink.metric("after").description == "From describe()."


Call = Callable[[BatchMetricsCollector], object]

CONTRADICTIONS: dict[str, tuple[Call, Call, str]] = {
    "another unit": (
        lambda metrics: metrics.describe("n", unit="s"),
        lambda metrics: metrics.describe("n", unit="ms"),
        r"'n' is described in 's' already \(asked for a description in 'ms'\)",
    ),
    "no unit": (
        lambda metrics: metrics.describe("n", unit="s"),
        lambda metrics: metrics.describe("n"),
        r"'n' is described in 's' already \(asked for a description in ''\)",
    ),
    "other bounds": (
        lambda metrics: metrics.describe("n", bounds=[1, 2]),
        lambda metrics: metrics.describe("n", bounds=[1, 3]),
        r"'n' has other bounds already \(\(1.0, 2.0\)\)",
    ),
    "an instrument with another unit": (
        lambda metrics: metrics.counter("n", unit="s"),
        lambda metrics: metrics.describe("n", unit="By"),
        r"'n' is a counter in 's' already \(asked for a description in 'By'\)",
    ),
    "an instrument with other bounds": (
        lambda metrics: metrics.histogram("n", bounds=[1]),
        lambda metrics: metrics.describe("n", bounds=[2]),
        r"'n' has other bounds already \(\(1.0,\)\)",
    ),
    "an instrument with the bounds of its unit": (
        lambda metrics: metrics.histogram("n", unit="s"),
        lambda metrics: metrics.describe("n", unit="s", bounds=[2]),
        r"'n' has other bounds already \(\(0.005, ",
    ),
    "bounds for a counter": (
        lambda metrics: metrics.counter("n"),
        lambda metrics: metrics.describe("n", bounds=[2]),
        r"'n' cannot be a counter and have bucket bounds",
    ),
    "a gauge with bounds": (
        lambda metrics: metrics.describe("n", bounds=[2]),
        lambda metrics: metrics.observable_gauge("n", lambda: 1),
        r"'n' cannot be a gauge and have bucket bounds",
    ),
    "a later instrument with another unit": (
        lambda metrics: metrics.describe("n", unit="s"),
        lambda metrics: metrics.gauge("n"),
        r"'n' is described in 's' already \(asked for a gauge in ''\)",
    ),
    "a later instrument with other bounds": (
        lambda metrics: metrics.describe("n", bounds=[1]),
        lambda metrics: metrics.histogram("n", bounds=[2]),
        r"'n' has other bounds already \(\(1.0,\)\)",
    ),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
async def test_a_contradiction_raises_an_error_that_names_both_and_changes_nothing(
    case: str, autojump_clock: MockClock
) -> None:
    """Two descriptions, or a description and an instrument, are tried in either order."""
    first, second, message = CONTRADICTIONS[case]
    sink = StoreSink()
    async with collector(sinks=[sink]) as metrics:
        first(metrics)
        before = sink.context.declared["n"]
        for _ in range(2):
            with pytest.raises(ValueError, match=message):
                second(metrics)
        assert sink.context.declared["n"] == before
        first(metrics)


async def test_an_illegal_name_unit_description_or_bounds_raise_at_once(autojump_clock: MockClock) -> None:
    """The checks are the same as for instruments, and nothing is left behind."""
    nothing: Any = None
    async with collector(sinks=[]) as metrics:
        with pytest.raises(ValueError, match="name must be a non-empty str"):
            metrics.describe("")
        with pytest.raises(ValueError, match="unit and description must be str"):
            metrics.describe("n", unit=nothing)
        with pytest.raises(ValueError, match="unit and description must be str"):
            metrics.describe("n", description=nothing)
        with pytest.raises(ValueError, match="bounds must be finite numbers, strictly increasing"):
            metrics.describe("n", bounds=[2, 1])
        metrics.describe("n", unit="By")


async def test_a_name_may_be_described_in_any_thread_and_after_the_block(autojump_clock: MockClock) -> None:
    """Describing is like creating an instrument; it also works where the collector isn't enabled."""
    for enabled in (True, False):
        sink = StoreSink()
        async with collector(BatchMetricsConfig(enabled=enabled), sinks=[sink]) as metrics:
            metrics.describe("here", unit="s")
        metrics.describe("late", unit="s")
    async with collector(sinks=[StoreSink()]) as metrics:
        await trio.to_thread.run_sync(lambda: metrics.describe("there", unit="s"))
        with pytest.raises(ValueError, match="'there' is described in 's' already"):
            metrics.describe("there", unit="ms")


async def test_a_bound_histogram_of_a_described_name_takes_durations(autojump_clock: MockClock) -> None:
    """The histogram states its own unit, which must agree."""
    sink = StoreSink()
    async with collector(sinks=[sink]) as metrics:
        metrics.describe("n", unit="s", bounds=[1, 2])
        duration: Any = timedelta(seconds=1.5)
        metrics.histogram("n", unit="s").observe(duration)
    assert sink.metric("n").points[0].counts == (0, 1, 0)


def test_a_measure_can_be_viewed_as_an_instrument_of_a_given_kind() -> None:
    """A described name fits any kind and has bounds only as a histogram; an instrument's name fits one kind."""
    described = Measure(None, Kind.HISTOGRAM, "n", "s", "Text.", (1.0,), any_kind=True)
    assert described.of_kind(Kind.HISTOGRAM) == Measure(None, Kind.HISTOGRAM, "n", "s", "Text.", (1.0,))
    assert described.of_kind(Kind.COUNTER) == Measure(None, Kind.COUNTER, "n", "s", "Text.")
    instrument = Measure(None, Kind.GAUGE, "n")
    assert instrument.of_kind(Kind.GAUGE) is instrument
    assert instrument.of_kind(Kind.COUNTER) is None


async def test_the_context_lists_bound_instruments_as_they_are_created(autojump_clock: MockClock) -> None:
    """Each is listed once with its measure and labels; observable gauges and descriptions aren't bound."""
    sink = StoreSink()
    async with collector(BatchMetricsConfig(max_series=2, bounds={"h": [7]}), sinks=[sink]) as metrics:
        bound = sink.context.bound
        assert list(bound) == []
        for _ in range(2):
            metrics.counter("c", labels={"a": 1}, unit="By", description="Bytes.")
            metrics.histogram("h", bounds=[1])
            metrics.gauge("g")
        metrics.observable_gauge("o", lambda: 1)
        metrics.describe("d", unit="s")
        for number in (2, 3, 4):
            metrics.counter("c", labels={"a": number}, unit="By")
        counter = Measure(None, Kind.COUNTER, "c", "By", "Bytes.")
        assert list(bound) == [
            (counter, {"a": 1}),
            (Measure(None, Kind.HISTOGRAM, "h", bounds=(7.0,)), {}),
            (Measure(None, Kind.GAUGE, "g"), {}),
            (counter, {"a": 2}),
            (counter, {"otel.metric.overflow": "true"}),
        ]
