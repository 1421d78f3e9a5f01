"""A page, snapshot or collection is consistent at every point of a merge in another thread."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.helpers import interrupted_at
from tests.sinks.prometheus.pages import client
from tests.sinks.prometheus_parsing import OPENMETRICS, parsed_registry
from tests.threads import restless
from trio_batchmetrics import Batch, Counter, Gauge, Histogram, HistogramPoint, MetricEvent
from trio_batchmetrics.abc import SeriesStore, SinkContext
from trio_batchmetrics.sinks import PrometheusSink
from trio_batchmetrics.sinks._prometheus.families import Lines

BOUNDS = (1.0, 2.0, 4.0)
VALUES = (1.0, 2.0, 4.0, 8.0)
"""One value per bucket, so that the sum determines the count in each bucket."""


def assert_consistent(buckets: list[int], count: float | None, total: float) -> None:
    """Check a histogram's cumulative buckets against its count and sum."""
    counts = [now - before for before, now in zip([0, *buckets], buckets, strict=False)]
    assert min(counts) >= 0
    assert count in (None, buckets[-1])
    assert sum(number * value for number, value in zip(counts, VALUES, strict=True)) == total


def look_at_page(sink: PrometheusSink, accept: str | None) -> None:
    """Check every series of a page."""
    text = sink.render(accept)[0].decode()
    buckets: dict[str, list[int]] = {}
    for number, value in re.findall(r'^h_bucket{n="(\d+)",le="[^"]*"} (\d+)$', text, re.MULTILINE):
        buckets.setdefault(number, []).append(int(value))
    counts = dict(re.findall(r'^h_count{n="(\d+)"} (\d+)$', text, re.MULTILINE))
    sums = dict(re.findall(r'^h_sum{n="(\d+)"} (\S+)$', text, re.MULTILINE))
    assert set(buckets) == set(counts) == set(sums)
    for number, cumulative in buckets.items():
        assert_consistent(cumulative, float(counts[number]), float(sums[number]))
    gauges = re.findall(r'^g{n="\d+"} (\S+)$', text, re.MULTILINE)
    assert set(gauges) <= {"42.0"}


def look_at_snapshot(store: SeriesStore) -> None:
    """Check every series of a snapshot."""
    for metric in store.snapshot():
        for point in metric.points:
            if metric.name == "h":
                buckets = [sum(point.counts[: place + 1]) for place in range(len(point.counts))]
                assert_consistent(buckets, None, point.value)
            elif metric.name == "g":
                assert point.value == 42


def look_at_registry(registry: Any) -> None:
    """Check every series that a registry collects."""
    found = parsed_registry(registry.collect())
    for labels, total in found.of("h_sum").items():
        bounds = [*map(str, BOUNDS), "+Inf"]
        buckets = [int(found.of("h_bucket")[labels | {("le", bound)}]) for bound in bounds]
        assert_consistent(buckets, found.of("h_count")[labels], total)
    assert set(found.of("g").values()) <= {42}


def batch(turn: int) -> list[MetricEvent]:
    """Return events of all kinds for old and new series, in every form."""
    numbers = [turn % 7, turn % 50, turn]
    events: list[MetricEvent] = [Histogram("h", {"n": n}, value) for n in numbers for value in VALUES]
    events += [HistogramPoint("h", {"n": n}, 4, 15.0, BOUNDS, (1, 1, 1, 1)) for n in numbers]
    events += [HistogramPoint("h", {"n": n}, 4, 15.0, (1.0, 2.0, 4.0, 9.0), (1, 1, 1, 1, 0)) for n in numbers]
    return [*events, *(Gauge("g", {"n": n}, 42) for n in numbers), *(Counter("c", {"n": n}, 1) for n in numbers)]


class Looked:
    """A sink in a registry, and all ways to read it."""

    def __init__(self) -> None:
        self.registry = client.CollectorRegistry()
        self.sink = PrometheusSink(self.registry)
        self.sink.bind(SinkContext(bounds={"h": BOUNDS}, max_series=100_000))
        self.store = self.sink.store
        self.ways: list[Callable[[], None]] = [
            lambda: look_at_page(self.sink, None),
            lambda: look_at_page(self.sink, OPENMETRICS),
            lambda: look_at_snapshot(self.store),
            lambda: look_at_registry(self.registry),
        ]

    def look(self) -> None:
        """Read it in every way."""
        for way in self.ways:
            way()

    def assert_nothing_stale(self) -> None:
        """Assert that cached parts of earlier pages don't change the page."""
        pages = [self.sink.render(accept)[0] for accept in (None, OPENMETRICS)]
        for family in self.store.families():
            for series in family.series:
                lines: Lines = series.slot
                lines.cached = (0, b"", b"")
                vars(lines.family).pop("_written", None)
        assert [self.sink.render(accept)[0] for accept in (None, OPENMETRICS)] == pages


def test_reading_at_any_point_of_a_merge_sees_consistent_series() -> None:
    """The reader runs where CPython may switch threads, and caches nothing that the rest of the merge makes stale."""
    first = [Histogram("h", {"n": 1}, 8.0), Gauge("g", {"n": 1}, 42), Counter("c", {"n": 1}, 1)]
    second: list[MetricEvent] = [
        *(Histogram("h", {"n": 1}, 1.0), Histogram("h", {"n": 2}, 2.0), Histogram("h", {"n": 1}, 4.0)),
        HistogramPoint("h", {"n": 1}, 4, 15.0, BOUNDS, (1, 1, 1, 1)),
        HistogramPoint("h", {"n": 1}, 4, 15.0, (1.0, 2.0, 4.0, 9.0), (1, 1, 1, 1, 0)),
        *(Gauge("g", {"n": 1}, 42), Gauge("g", {"n": 2}, 42), Gauge("new", {}, 42)),
        *(Counter("c", {"n": 1}, 1), Counter("c", {"n": 2}, 1), Counter("c", {"n": 1}, 1)),
    ]
    checked = Batch(second)
    checked.columns()
    point = passed = 0
    while point <= passed:
        looked = Looked()
        looked.sink.merge(first)
        with interrupted_at(point, looked.look) as places:
            looked.sink.merge(checked)
        looked.look()
        looked.assert_nothing_stale()
        passed, point = places[0], point + 1
    assert passed > 100


@pytest.mark.parametrize("way", range(4))
def test_merging_at_any_point_of_a_read_keeps_the_read_consistent(way: int) -> None:
    """Series are created and expire meanwhile."""
    point = passed = 0
    while point <= passed:
        looked = Looked()
        for number in range(3):
            looked.sink.merge([Histogram("h", {"n": number}, 8.0), Gauge("g", {"n": number}, 42)])

        def merge(looked: Looked = looked) -> None:
            looked.sink.merge([Histogram("h", {"n": 1}, 1.0), Histogram("h", {"n": 7}, 2.0), Gauge("g", {"n": 7}, 42)])
            looked.store.expire(looked.store.generation - 1)
            looked.sink.merge([Counter("new", {}, 1), Histogram("h", {"n": 1}, 2.0)])

        with interrupted_at(point, merge) as places:
            looked.ways[way]()
        looked.look()
        looked.assert_nothing_stale()
        passed, point = places[0], point + 1
    assert passed > 20


def test_pages_snapshots_and_collections_are_consistent_while_another_thread_merges() -> None:
    """Each series is consistent while others are created and expire, and nothing stale is left at the end."""
    looked = Looked()
    failures: list[BaseException] = []
    looks = [0] * len(looked.ways)
    stopping = threading.Event()

    def keep_looking(place: int) -> None:
        try:
            while not stopping.is_set():
                looked.ways[place]()
                looks[place] += 1
        except Exception as exc:  # noqa: BLE001 - the test raises it
            failures.append(exc)

    threads = [threading.Thread(target=keep_looking, args=(place,)) for place in range(len(looks))]
    turns = forgotten = 0
    with restless():
        for thread in threads:
            thread.start()
        while not failures and (turns < 300 or min(looks) < 5):
            looked.sink.merge(batch(turns))
            turns += 1
            if turns % 20 == 0:
                forgotten += looked.store.expire(looked.store.generation - 10)
        stopping.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    assert forgotten > 0
    looked.look()
    looked.assert_nothing_stale()
