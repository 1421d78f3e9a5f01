"""Series of bound instruments exist from the instrument's creation on, and never expire while the block is open."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from tests.helpers import interrupted_at
from trio_batchmetrics import Counter, Gauge, Histogram, HistogramPoint, MetricEvent
from trio_batchmetrics.abc import Kind, Limits, Measure, Metric, SeriesStore, SinkContext
from trio_batchmetrics.sinks import InfluxDBSeriesSink, PrometheusSink
from trio_batchmetrics.sinks._prometheus.page import Page

pytest.importorskip("httpx2")

Bound = list[tuple[Measure, Mapping[str, Any]]]

COUNTER = Measure("value", Kind.COUNTER, "jobs", "", "Jobs that ended.")
GAUGE = Measure("value", Kind.GAUGE, "depth")
HISTOGRAM = Measure("value", Kind.HISTOGRAM, "wait", "s", bounds=(1.0, 2.0))


def values(metrics: tuple[Metric, ...]) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Return values by name and labels."""
    return {each.name: {tuple(point.labels.items()): point.value for point in each.points} for each in metrics}


def test_counters_and_histograms_are_0_from_their_creation_and_gauges_come_with_their_value() -> None:
    """The next snapshot has them without an event, including later instruments, and additions start from there."""
    bound: Bound = [(COUNTER, {"queue": "a"}), (GAUGE, {}), (HISTOGRAM, {})]
    store = SeriesStore(SinkContext(bound=bound, static_labels={"host": "h"}))
    first = store.snapshot()
    assert values(first) == {"jobs": {(("host", "h"), ("queue", "a")): 0}, "wait": {(("host", "h"),): 0}}
    assert first[0].description == "Jobs that ended."
    assert first[1].points[0].counts == (0, 0, 0)
    bound.append((COUNTER, {"queue": 1}))
    store.merge([Gauge("depth", {}, 3), Counter("jobs", {"queue": "a"}, 2)])
    assert values(store.snapshot()) == {
        "jobs": {(("host", "h"), ("queue", "a")): 2, (("host", "h"), ("queue", "1")): 0},
        "depth": {(("host", "h"),): 3},
        "wait": {(("host", "h"),): 0},
    }


def test_a_series_that_was_there_before_its_instrument_keeps_its_value() -> None:
    """The instrument is another way to add to it."""
    bound: Bound = []
    store = SeriesStore(SinkContext(bound=bound))
    store.merge([Counter("jobs", {}, 5), Gauge("depth", {}, 2)])
    bound += [(COUNTER, {}), (GAUGE, {})]
    assert values(store.snapshot()) == {"jobs": {(): 5}, "depth": {(): 2}}


def test_bound_series_never_expire() -> None:
    """Other series of the same instrument do; a gauge without a value stays invisible."""
    now = 1000
    bound: Bound = [(COUNTER, {"n": 1}), (GAUGE, {}), (GAUGE, {"n": 2})]
    store = SeriesStore(SinkContext(bound=bound), clock=lambda: now)
    store.merge([Counter("jobs", {"n": 1}, 2), Counter("jobs", {"n": 3}, 1), Gauge("depth", {}, 7)])
    now = 9000
    assert store.expire(8000) == 1
    assert values(store.snapshot()) == {"jobs": {(("n", "1"),): 2}, "depth": {(): 7}}
    assert store.expire(8999) == 0
    store.merge([Counter("jobs", {"n": 1}, 3)])
    assert values(store.snapshot())["jobs"] == {(("n", "1"),): 5}


@pytest.mark.parametrize("openmetrics", [False, True])
def test_a_page_keeps_bound_series_though_others_expire(openmetrics: bool) -> None:
    """A gauge that was set once, and an untouched histogram and counter are tried."""
    now = 1_000
    bound: Bound = [(GAUGE, {"n": 1}), (HISTOGRAM, {}), (COUNTER, {})]
    page = Page(SinkContext(bound=bound), lambda: now, 100)
    page.merge([Gauge("depth", {"n": 1}, 4), Gauge("depth", {"n": 2}, 5), Histogram("other", {}, 1)])
    for now in (1_050, 5_000, 50_000):
        text = page.write(openmetrics=openmetrics)
        assert b'depth{n="1"} 4.0\n' in text
        assert b"jobs_total 0.0\n" in text
        assert b"wait_seconds_count 0\n" in text
        assert (b'depth{n="2"}' in text) is (now == 1_050)
        assert (b"other" in text) is (now == 1_050)
        page.merge([])


def test_a_gauge_that_was_set_once_is_in_every_write_of_series() -> None:
    """The write to InfluxDB has its own time."""
    sink = InfluxDBSeriesSink("http://127.0.0.1:1", database="db")
    sink.bind(SinkContext(bound=[(GAUGE, {}), (COUNTER, {})]))
    sink.merge([Gauge("depth", {}, 4)])
    writes = [b"".join(sink.snapshot()).decode().splitlines() for _ in range(3)]
    assert [sorted(line.rpartition(" ")[0] for line in lines) for lines in writes] == [
        ["depth value=4.0", "jobs value=0.0"]
    ] * 3
    assert len({lines[0].rpartition(" ")[2] for lines in writes}) == 3


def test_bound_series_count_towards_the_cap_and_are_refused_like_events() -> None:
    """A label set beyond the cap joins the overflow series; one that the back-end can't take has none."""
    bound: Bound = [(COUNTER, {"n": n}) for n in range(3)]
    store = SeriesStore(SinkContext(bound=bound, max_series=2))
    assert [*values(store.snapshot())["jobs"]] == [(("n", "0"),), (("n", "1"),), (("otel.metric.overflow", "true"),)]
    sink = PrometheusSink(limits=Limits(label_value_bytes=3))
    sink.bind(SinkContext(bound=[(COUNTER, {"n": "long"}), (COUNTER, {"n": "ok"}), (GAUGE, {}), (HISTOGRAM, {"n": 1})]))
    events: list[MetricEvent] = [Counter("jobs", {"n": "long"}, 1), Counter("jobs", {"n": "ok"}, 1)]
    assert sink.merge(events) == {0: "limits"}
    assert b'jobs_total{n="ok"} 1.0\n' in sink.render()[0]
    assert b"long" not in sink.render()[0]


def test_a_delta_has_a_0_for_each_new_bound_series() -> None:
    """Only the first delta has this 0."""
    bound: Bound = [(COUNTER, {})]
    store = SeriesStore(SinkContext(bound=bound))
    assert values(store.take()) == {"jobs": {(): 0}}
    assert store.take() == ()
    store.merge([Counter("jobs", {}, 2)])
    assert values(store.take()) == {"jobs": {(): 2}}


def test_another_thread_adopts_no_series_and_still_sees_the_existing_ones() -> None:
    """Only Trio's thread adds series."""
    bound: Bound = [(COUNTER, {"n": 1})]
    sink = PrometheusSink()
    sink.bind(SinkContext(bound=bound))
    assert b"jobs_total" in sink.render()[0]
    bound.append((COUNTER, {"n": 2}))
    pages: list[bytes] = []
    thread = threading.Thread(target=lambda: pages.append(sink.render()[0]))
    thread.start()
    thread.join()
    assert b'jobs_total{n="1"} 0.0\n' in pages[0]
    assert b'n="2"' not in pages[0]
    assert b'jobs_total{n="2"} 0.0\n' in sink.render()[0]


def test_a_signal_handler_that_renders_the_page_disturbs_nothing() -> None:
    """Any place of a merge that adds, expires and adopts series is tried."""
    point, passed = 0, 1
    while point < passed:
        times = [1_000]
        bound: Bound = [(COUNTER, {"n": n}) for n in range(3)]
        page = Page(SinkContext(bound=bound), partial(times.__getitem__, 0), 100)
        page.merge([Counter("c", {"n": n}, 1) for n in range(5)])
        times[0] = 2_000
        bound += [(COUNTER, {"n": n}) for n in range(3, 6)]

        def look(page: Page = page) -> None:
            page.write(openmetrics=False)
            page.store.snapshot()

        with interrupted_at(point, look) as counted:
            page.merge(
                [Counter("jobs", {"n": n}, 1) for n in range(8)] + [HistogramPoint("h", {}, 1, 1.0, (1.0,), (1, 0))]
            )
        passed = counted[0]
        told = values(page.store.snapshot())
        assert told["jobs"] == {(("n", str(n)),): 1 for n in range(8)}
        assert "c" not in told
        point += 7
    assert passed > 100
