"""A series has the bounds, unit and description that were configured or declared."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from tests.aggregation.streams import H
from tests.fakes import StoreSink
from tests.tally import DEFAULT, Job, points
from trio_batchmetrics import BatchMetricsConfig, Histogram, HistogramPoint, HttpRequest, collector
from trio_batchmetrics.abc import Kind, Measure, SeriesStore, SinkContext


def test_bounds_of_the_configuration_win() -> None:
    """They win over the bounds of a class, of a bound histogram, of incoming points and of the unit."""
    wanted = (3.0, 4.0)
    names = ["job.size", "job.waited", "h", "bound"]
    declared = {"bound": Measure(None, Kind.HISTOGRAM, "bound", bounds=(7.0,))}
    store = SeriesStore(SinkContext(bounds=dict.fromkeys(names, wanted), declared=declared))
    store.merge([Job("q", 3, 1, 1, 4), Histogram("h", {}, 3.5), HistogramPoint("bound", {}, 1, 3, wanted, (1, 0, 0))])
    assert {metric.name: metric.bounds for metric in store.snapshot() if metric.kind is Kind.HISTOGRAM} == (
        dict.fromkeys(names, wanted)
    )
    told = points(store)
    assert told["job.size", "histogram", "By"][("job.done", "false"), ("queue", "q")].counts == (1, 0, 0)
    assert told["job.waited", "histogram", "s"][("job.done", "false"), ("queue", "q")].counts == (0, 1, 0)
    assert told[H][()].counts == (0, 1, 0)


@pytest.mark.parametrize("configured", [False, True])
async def test_a_bound_instruments_series_have_what_it_declares(
    configured: bool, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The series have its unit, description and bounds; recorded values of the same name and kind join them."""
    sink = StoreSink()
    config = BatchMetricsConfig(bounds={"h": [7, 8]} if configured else {})
    async with collector(config, sinks=[sink]) as metrics:
        histogram = metrics.histogram("h", unit="By", description="How large.", bounds=[1, 2])
        counter = metrics.counter("c", unit="{token}", description="How many.")
        gauge = metrics.gauge("g", unit="Cel", description="How warm.")
        for value in (1, 2, 7.5):
            histogram.observe(value)
        metrics.record_histogram("h", {}, 2)
        counter.add(2)
        metrics.record_counter("c", {}, 3)
        gauge.set(4)
        metrics.record_histogram("g", {}, 5)
    found = {(metric.name, metric.kind): metric for metric in sink.store.snapshot()}
    sizes, tokens = found["h", Kind.HISTOGRAM], found["c", Kind.COUNTER]
    assert (sizes.unit, sizes.description) == ("By", "How large.")
    assert sizes.bounds == ((7, 8) if configured else (1, 2))
    assert [point.counts for point in sizes.points] == [(3, 1, 0) if configured else (1, 2, 1)]
    assert sizes.points[0].value == 12.5
    assert (tokens.unit, tokens.description, tokens.points[0].value) == ("{token}", "How many.", 5)
    assert found["g", Kind.GAUGE].unit == "Cel"
    assert (found["g", Kind.HISTOGRAM].unit, found["g", Kind.HISTOGRAM].bounds) == ("", DEFAULT)
    assert caplog.records == []


async def test_a_bound_instrument_that_comes_later_declares_its_series_too(autojump_clock: MockClock) -> None:
    """Its own points have its bounds and unit; series of earlier events stay as they were."""
    sink = StoreSink()
    async with collector(sinks=[sink]) as metrics:
        metrics.record_histogram("h", {}, 3)
        await metrics.flush()
        metrics.histogram("h", unit="By", bounds=[1, 2]).observe(1.5)
    found = {metric.unit: metric for metric in sink.store.snapshot()}
    assert found["By"].bounds == (1, 2)
    assert found["By"].points[0].counts == (0, 1, 0)


def test_a_metric_has_the_declared_kind_unit_and_description() -> None:
    """The snapshot has the kind, unit and description of each instrument of a class."""
    store = SeriesStore()
    store.merge([Job("q", 1, 1, 1, 1), HttpRequest("GET", "/", 200, 1)])
    told = {metric.name: (metric.kind, metric.unit, metric.description) for metric in store.snapshot()}
    assert told == {
        "job.size": (Kind.HISTOGRAM, "By", "How large."),
        "job.retries": (Kind.COUNTER, "", ""),
        "job.depth": (Kind.GAUGE, "{job}", ""),
        "job.waited": (Kind.HISTOGRAM, "s", ""),
        "job.runs": (Kind.COUNTER, "{event}", ""),
        "http.server.request.duration": (Kind.HISTOGRAM, "s", "Duration of HTTP server requests."),
    }
