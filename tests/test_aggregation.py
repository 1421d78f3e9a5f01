"""Events to series: what a ``SeriesStore`` says is what plain counting says, whatever the labels are made of."""

from __future__ import annotations

import copy
import enum
import logging
import random
from collections.abc import Callable
from http import HTTPStatus
from itertools import pairwise
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.bad_values import NOT_COUNTS, NOT_DURATIONS, NOT_LABELS, NOT_NAMES
from tests.fakes import StoreSink
from tests.helpers import balanced
from tests.tally import DEFAULT, Job, Tally, bucket, points
from trio_batchmetrics import (
    BackendRequest,
    BatchMetricsCollector,
    BatchMetricsConfig,
    CacheMetric,
    Counter,
    Gauge,
    HealthCheck,
    Histogram,
    HistogramPoint,
    HttpRequest,
    MetricEvent,
    collector,
    measure,
    metric_event,
)
from trio_batchmetrics._events.validation import valid
from trio_batchmetrics.abc import Kind, Measure, Point, SeriesStore, SinkContext

OVERFLOW = (("otel.metric.overflow", "true"),)
C = ("c", "counter", "")
H = ("h", "histogram", "")
G = ("g", "gauge", "")


class Colour(enum.Enum):
    """Is no str."""

    RED = 1


class Fruit(enum.StrEnum):
    """Is a str."""

    PEAR = "pear"


class Number(enum.IntEnum):
    """Is an int."""

    ONE = 1


class Loud(str):
    """A str that prints as something else; a label's text is its characters."""

    __slots__ = ()

    def __str__(self) -> str:
        """Shout."""
        return self.upper() + "!"


class Lonely(str):
    """A str that equals nothing, not even itself, and has no hash."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

    def __eq__(self, other: object) -> bool:
        """Differ."""
        return False


ALIKE: list[Any] = [
    *(True, 1, 1.0, "1", "1.0", "true", "True", Number.ONE, Loud("1"), Lonely("1")),
    *(False, 0, 0.0, -0.0, "0", "0.0", "-0.0", "false"),
    *(None, "None", ""),
    *(HTTPStatus.OK, 200, "200", 2**70, str(2**70)),
    *("\ud800", "\udfff", "\ufffd", "\ud83d\ude00", "\U0001f600", "\ude00\ud83d"),
    *(Colour.RED, "Colour.RED", Fruit.PEAR, "pear", Loud("pear")),
]
"""Label values of which some are equal and differ in text, some differ and are equal in text."""

LABEL: st.SearchStrategy[Any] = st.sampled_from(ALIKE) | st.sampled_from([True, 1, "1", "true", 0, False, None])
NAMES: st.SearchStrategy[Any] = st.sampled_from(["a", "b", Loud("a"), "\ud800"])
LABELS = st.lists(
    st.tuples(st.sampled_from(["x", "y", "queue", 1, "\udfff", Loud("x")]), LABEL),
    max_size=3,
    unique_by=lambda pair: pair[0],
).map(dict[Any, Any])
DURATIONS = st.sampled_from([0, 0.005, 0.01, 0.02, 0.1, 0.10000001, 1, 1.28, 10.0, 10.5, 81.92, 82, 2**40])
COUNTS = st.sampled_from([0, 1, 2, 3, 0.5, 10**6])
ANY = st.sampled_from([*DEFAULT, -1, 0.25, 0.5, 1, 2, 3, 5.000001, 10_001, -0.0])
EVENTS: st.SearchStrategy[MetricEvent] = st.one_of(
    st.builds(HttpRequest, LABEL, LABEL, LABEL, DURATIONS),
    st.builds(BackendRequest, LABEL, LABEL, LABEL, DURATIONS, LABEL),
    st.builds(HealthCheck, LABEL, st.sampled_from([True, False, 1, 0, 0.5]), DURATIONS),
    st.builds(CacheMetric, LABEL, LABEL),
    st.builds(Counter, NAMES, LABELS, COUNTS),
    st.builds(Histogram, NAMES, LABELS, ANY),
    st.builds(Gauge, NAMES, LABELS, ANY),
    st.builds(Job, LABEL, ANY, COUNTS, ANY, DURATIONS, LABEL, LABEL),
)
STREAMS = st.lists(EVENTS, max_size=40)
STATICS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(["x", "queue", "region"]), LABEL, max_size=2
)


def record_as_row(metrics: BatchMetricsCollector, event: Any) -> None:
    """Record what an event says by the recorder that makes a row of it."""
    recorders: dict[type, Callable[..., None]] = {
        HttpRequest: metrics.record_http_request,
        BackendRequest: metrics.record_backend_request,
        HealthCheck: metrics.record_health_check,
        CacheMetric: metrics.record_cache_metric,
        Counter: metrics.record_counter,
        Histogram: metrics.record_histogram,
        Gauge: metrics.record_gauge,
        Job: metrics.make_recorder(Job),
    }
    recorders[type(event)](*(getattr(event, name) for name in event.__metric_schema__.fields))


def context_of(static: dict[str, Any], **settings: Any) -> SinkContext:
    """Make a context with static labels, as text; one whose value is None is as good as not there."""
    tally = Tally(static)
    tally.add(Counter("c", {}, 1))
    ((labels, _),) = tally.series[C].items()
    return SinkContext(static_labels=dict(labels), **settings)


def counters(first: int, last: int, value: float = 1) -> list[MetricEvent]:
    """Make events of as many series."""
    return [Counter("c", {"n": n}, value) for n in range(first, last + 1)]


def value_of(store: SeriesStore, instrument: tuple[str, str, str], **labels: str) -> float:
    """Return a series's value."""
    return points(store)[instrument][tuple(sorted(labels.items()))].value


# -- any stream


@given(stream=STREAMS, static=STATICS, batch_size=st.integers(1, 9), dice=st.randoms(use_true_random=False))
def test_rows_of_a_collector_are_added_up_as_counted_by_hand(
    stream: list[MetricEvent], static: dict[str, Any], batch_size: int, dice: random.Random
) -> None:
    """Recorded by recorders or as events, in batches of any size."""
    sink = StoreSink()

    async def main() -> None:
        config = BatchMetricsConfig(batch_size=batch_size, static_labels=static)
        async with collector(config, sinks=[sink]) as metrics:
            for event in stream:
                if dice.random() < 0.7:
                    record_as_row(metrics, event)
                else:
                    metrics.record(event)
                if dice.random() < 0.1:
                    await metrics.flush()
        assert balanced(metrics.stats()).processed_events == len(stream)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    tally = Tally(static)
    for event in stream:
        tally.add(event)
    tally.assert_told_by(sink.store.snapshot())
    assert len(sink.store) == sum(map(len, tally.series.values()))


@given(stream=STREAMS, static=STATICS, size=st.integers(1, 50))
def test_a_list_of_events_is_added_up_as_counted_by_hand(
    stream: list[MetricEvent], static: dict[str, Any], size: int
) -> None:
    """A store by itself, given plain lists."""
    store = SeriesStore(context_of(static))
    tally = Tally(static)
    for start in range(0, len(stream), size):
        store.merge(stream[start : start + size])
        for event in stream[start : start + size]:
            tally.add(event)
        tally.assert_told_by(store.snapshot())


@given(stream=STREAMS, sizes=st.lists(st.integers(1, 12), min_size=40, max_size=40))
def test_what_is_taken_adds_up_to_all_there_is(stream: list[MetricEvent], sizes: list[int]) -> None:
    """Delta: each take has what came since the last, in the series that it came to, and no other series."""
    store, rest = SeriesStore(), [*stream]
    sums: dict[Any, float] = {}
    buckets: dict[Any, tuple[int, ...]] = {}
    lasts: dict[Any, float] = {}
    for size in sizes:
        part, rest = rest[:size], rest[size:]
        store.merge(part)
        taken = store.take()
        tally = Tally()
        for event in part:
            tally.add(event)
        tally.assert_told_by(taken)
        for instrument, family in points(taken).items():
            for labels, point in family.items():
                key = instrument, labels
                lasts[key] = point.value
                sums[key] = sums.get(key, 0) + point.value
                buckets[key] = tuple(
                    map(sum, zip(buckets.get(key, [0] * len(point.counts)), point.counts, strict=True))
                )
    whole = Tally()
    for event in stream:
        whole.add(event)
    for instrument, counted in whole.series.items():
        for labels, expected in counted.items():
            told = lasts if instrument[1] == "gauge" else sums
            assert told[instrument, labels] == pytest.approx(
                float(expected.last if instrument[1] == "gauge" else expected.total), rel=1e-9
            )
            assert buckets[instrument, labels] == tuple(expected.counts)
    assert sum(map(len, whole.series.values())) == len(sums)


def test_values_on_a_bound_belong_to_its_bucket_at_every_bound() -> None:
    """And one step above it, to the next."""
    store = SeriesStore(SinkContext(bounds={"h": (-1.0, 0.0, 2.5)}))
    store.merge([Histogram("h", {}, value) for value in (-1, -1.0, -0.5, -0.0, 0, 5e-324, 2.5, 2.5000000000000004, 9)])
    (metric,) = store.snapshot()
    assert metric.bounds == (-1.0, 0.0, 2.5)
    assert metric.points[0].counts == (2, 3, 2, 2)
    assert metric.points[0].count == 9


def test_the_last_value_of_a_gauge_is_the_last_recorded() -> None:
    """A bool is 1 or 0."""
    store = SeriesStore()
    store.merge([HealthCheck("b", healthy, 0.1) for healthy in (False, True, False, True)])
    assert value_of(store, ("backend.health", "gauge", ""), backend="b") == 1
    store.merge([HealthCheck("b", False, 0.1)])
    assert value_of(store, ("backend.health", "gauge", ""), backend="b") == 0


@metric_event
class Opened(MetricEvent):
    """A connection more."""

    active: int = measure(Gauge, "pool.active")


@metric_event
class Closed(MetricEvent):
    """A connection less."""

    active: int = measure(Gauge, "pool.active")


@given(order=st.lists(st.sampled_from([Opened, Closed, Gauge]), min_size=1, max_size=6))
def test_a_gauge_that_several_classes_measure_has_the_last_value_recorded(order: list[type[MetricEvent]]) -> None:
    """Whichever of them it came with."""
    events: list[MetricEvent] = []
    for value, kind in enumerate(order):
        make: Any = kind
        events.append(Gauge("pool.active", {}, value) if kind is Gauge else make(value))
    store = SeriesStore()
    store.merge(events)
    assert value_of(store, ("pool.active", "gauge", "")) == len(order) - 1


def test_classes_that_share_an_instrument_share_its_series() -> None:
    """One metric of that name, and sums of both."""

    @metric_event
    class Sent(MetricEvent):
        """Bytes out."""

        size: int = measure(Counter, "io", unit="By")

    @metric_event
    class Received(MetricEvent):
        """Bytes in, twice."""

        size: int = measure(Counter, "io", unit="By")
        again: int = measure(Counter, "io", unit="By")

    store = SeriesStore()
    store.merge([Sent(1), Received(20, 300), Sent(4000)])
    assert value_of(store, ("io", "counter", "By")) == 4321


def test_instruments_of_one_name_that_differ_in_kind_or_unit_do_not_mix() -> None:
    """Four of one name, each with its own sum."""

    @metric_event
    class In(MetricEvent):
        """In bytes."""

        size: int = measure(Counter, "x", unit="By")

    @metric_event
    class Took(MetricEvent):
        """In seconds."""

        time: float = measure(Histogram, "x", unit="s")

    store = SeriesStore()
    store.merge(
        [In(3), Took(0.5), Counter("x", {}, 7), Gauge("x", {}, 11), In(4), Histogram("x", {}, 2), Counter("x", {}, 1)]
    )
    assert {key: family[()].value for key, family in points(store).items()} == {
        ("x", "counter", "By"): 7,
        ("x", "histogram", "s"): 0.5,
        ("x", "counter", ""): 8,
        ("x", "gauge", ""): 11,
        ("x", "histogram", ""): 2,
    }


def test_what_is_invalid_is_passed_over() -> None:
    """In a plain list; the rest of it is merged."""
    store = SeriesStore()
    request: Any = HttpRequest
    counter: Any = Counter
    bad: list[Any] = [
        *(counter("c", {}, value) for value in NOT_COUNTS),
        *(Counter("c", labels, 1) for labels in NOT_LABELS),
        *(Counter(name, {}, 1) for name in NOT_NAMES),
        *(request("GET", "/", 200, value) for value in NOT_DURATIONS),
        *(MetricEvent(), "no event", None, 3, object(), Counter),
        *(counter("c", {}, 1, timestamp=stamp) for stamp in (True, 1.0, None)),
    ]
    dice = random.Random(3)
    dice.shuffle(bad)
    for event in bad:
        store.merge([Counter("c", {}, 1), event, Counter("c", {}, 1)])
    store.merge([*bad, Counter("c", {}, 1)])
    assert value_of(store, C) == 2 * len(bad) + 1
    assert len(store) == 1


@pytest.mark.parametrize("taken", [False, True])
def test_sums_of_huge_ints_do_not_stop_a_series(taken: bool) -> None:
    """Each is valid by itself; nor do they where the sums have begun anew."""
    store = SeriesStore()
    huge = int(1.7e308)
    if taken:
        store.merge([Counter("c", {}, 1), Counter("other", {}, 1), Histogram("h", {}, 1)])
        store.take()
    for value in (huge, huge, 0.5):
        store.merge([Counter("c", {}, value), Counter("other", {}, 1), Histogram("h", {}, value)])
    assert value_of(store, ("other", "counter", "")) == 3
    assert float(value_of(store, C)) >= 1.7e308
    assert points(store)[H][()].count == 3


def test_of_label_names_with_one_text_the_last_that_has_a_value_counts() -> None:
    """As ``labels_of`` has it; None is as good as not there."""
    store = SeriesStore()
    store.merge([Counter("c", {1: "a", "1": None}, 1)])  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    assert [*points(store)[C]] == [(("1", "a"),)]


def test_an_empty_store_has_no_series() -> None:
    """And merging nothing adds none."""
    store = SeriesStore()
    store.merge([])
    assert (store.snapshot(), store.take(), len(store), store.expire(2**63)) == ((), (), 0, 0)


# -- labels


def test_static_labels_are_added_and_an_events_own_wins() -> None:
    """None is no label of the event's own."""
    store = SeriesStore(SinkContext(static_labels={"queue": "static", "region": "eu"}))
    store.merge([Counter("c", {}, 1), Counter("c", {"queue": "q"}, 2), Counter("c", {"region": None}, 4)])
    store.merge([Job("q", 1, 1, 1, 1), Job(None, 1, 2, 1, 1)])
    assert value_of(store, C, queue="static", region="eu") == 5
    assert value_of(store, C, queue="q", region="eu") == 2
    retries = points(store)["job.retries", "counter", ""]
    assert {dict(labels)["queue"]: point.value for labels, point in retries.items()} == {"q": 1, "static": 2}
    assert all(dict(labels)["region"] == "eu" for labels in retries)


def test_the_order_of_labels_makes_no_series() -> None:
    """Nor does a None among them, or the type of a value."""
    store = SeriesStore()
    store.merge(
        [
            Counter("c", {"a": 1, "b": "2"}, 1),
            Counter("c", {"b": 2, "a": "1"}, 10),
            Counter("c", {"b": 2, "none": None, "a": Number.ONE}, 100),
        ]
    )
    assert {labels: point.value for labels, point in points(store)[C].items()} == {(("a", "1"), ("b", "2")): 111}


# -- max_series


@given(
    labels=st.lists(st.integers(0, 12), max_size=60),
    most=st.integers(1, 8),
    size=st.integers(1, 20),
    static=st.sampled_from([{}, {"region": "eu"}]),
)
def test_label_sets_beyond_the_cap_share_one_series_and_nothing_is_lost(
    labels: list[int], most: int, size: int, static: dict[str, str]
) -> None:
    """The first ones have their own, for each instrument anew."""
    store = SeriesStore(SinkContext(max_series=most, static_labels=static))
    expected: dict[Any, int] = {}
    first: list[int] = []
    for place, number in enumerate(labels, start=1):
        if number not in first and len(first) < most:
            first.append(number)
        own = {"n": str(number)} if number in first else dict(OVERFLOW)
        key = tuple(sorted({**static, **own}.items()))
        expected[key] = expected.get(key, 0) + place
    numbered = [(place, number) for place, number in enumerate(labels, start=1)]
    for start in range(0, len(labels), size):
        part = numbered[start : start + size]
        store.merge([Counter("c", {"n": number}, place) for place, number in part])
        store.merge([Histogram("h", {"n": number}, place) for place, number in part])
    told = points(store)
    for instrument in (C, H) if labels else ():
        assert {key: point.value for key, point in told[instrument].items()} == expected
    assert len(store) == 2 * len(expected)
    assert len(expected) <= most + 1


async def test_a_bound_instruments_own_overflow_meets_the_same_series(autojump_clock: MockClock) -> None:
    """Whether it is there first or last; one series, and nothing lost."""
    sink = StoreSink()
    config = BatchMetricsConfig(max_series=3, static_labels={"region": "eu"})
    async with collector(config, sinks=[sink]) as metrics:
        for n in range(7):
            metrics.counter("c", labels={"n": n}).add(10**n)
        await metrics.flush()
        for n in range(7, 9):
            metrics.record_counter("c", {"n": n}, 10**n)
        metrics.record_counter("c", {"otel.metric.overflow": True}, 10**9)
    told = {labels: point.value for labels, point in points(sink.store)[C].items()}
    overflow = (("otel.metric.overflow", "true"), ("region", "eu"))
    assert told == {
        **{(("n", str(n)), ("region", "eu")): 10**n for n in range(3)},
        overflow: sum(10**n for n in range(3, 10)),
    }


def test_overflow_that_comes_first_is_no_series_of_the_cap() -> None:
    """It leaves room for as many as if it had come last."""
    store = SeriesStore(SinkContext(max_series=2))
    store.merge([Counter("c", {"otel.metric.overflow": "true"}, 1), *counters(1, 3)])
    assert set(points(store)[C]) == {(("n", "1"),), (("n", "2"),), OVERFLOW}
    assert value_of(store, C, **dict(OVERFLOW)) == 2


def test_two_hundred_thousand_label_sets_leave_the_store_bounded() -> None:
    """Its series, and what it remembers of labels, by whatever way they come; nothing is lost."""
    most, each = 100, 50_000
    store = SeriesStore(SinkContext(max_series=most))
    largest = 0
    for start in range(0, each, 500):
        numbers = range(start, start + 500)
        store.merge(valid([(Counter, 1, "c", {"n": n}, 1) for n in numbers]))
        store.merge(valid([(Counter, 1, "c", {"n": float(n), "m": None}, 1) for n in numbers]))
        store.merge(valid([(CacheMetric, 1, "redis", str(n)) for n in numbers]))
        store.merge(valid([(Job, 1, n, 1, 1, 1, 1, True, n) for n in numbers]))
        known = [column.known for column in store._named.values()]
        known += [column.known for reader in store._readers.values() for column in reader.columns]
        largest = max(largest, *map(len, known))
    assert largest <= 4 * most + 1000 + 500
    told = points(store)
    assert all(len(family) == most + 1 for family in told.values())
    assert len(store) == (most + 1) * len(told)
    assert sum(point.value for point in told[C].values()) == 2 * each
    assert sum(point.value for point in told["cache.operations", "counter", "{event}"].values()) == each
    assert sum(point.count for point in told["job.size", "histogram", "By"].values()) == each


def test_one_label_set_in_many_orders_leaves_the_store_bounded() -> None:
    """Orders are remembered too."""
    store = SeriesStore(SinkContext(max_series=1))
    dice = random.Random(5)
    names = [*"abcdefgh"]
    for _ in range(20):
        store.merge([Counter("c", dict.fromkeys(dice.sample(names, 8), 1), 1) for _ in range(500)])
        assert all(len(column.known) <= 4 + 1000 + 500 for column in store._named.values())
    assert value_of(store, C, **dict.fromkeys(names, "1")) == 10_000
    assert len(store) == 1


# -- time


def test_idle_series_are_forgotten_and_begin_at_0_again() -> None:
    """Those that something was added to stay; the overflow is a series like others."""
    store = SeriesStore(SinkContext(max_series=2))
    store.merge([*counters(1, 4, 10), Histogram("h", {}, 3), Gauge("g", {}, 5)])
    between = max(point.updated for family in points(store).values() for point in family.values()) + 1
    while not any(point.updated >= between for point in points(store)[C].values()):
        store.merge(counters(1, 1))
    before = value_of(store, C, n="1")
    assert before > 10
    assert store.expire(between) == 4
    assert len(store) == 1
    assert store.expire(between) == 0
    assert value_of(store, C, n="1") == before
    store.merge([*counters(1, 1), *counters(4, 4), *counters(3, 3), Histogram("h", {}, 7), Gauge("g", {}, 9)])
    told = points(store)
    assert {labels: point.value for labels, point in told[C].items()} == {
        (("n", "1"),): before + 1,
        (("n", "4"),): 1,
        OVERFLOW: 1,
    }
    assert (told[H][()].value, told[H][()].count, told[G][()].value) == (7, 1, 9)
    assert told[C][("n", "4"),].started > told[C][("n", "1"),].started


def test_what_was_updated_then_is_no_older() -> None:
    """``before`` is exclusive."""
    store = SeriesStore()
    store.merge(counters(1, 2))
    updated = points(store)[C][("n", "1"),].updated
    assert store.expire(updated) == 0
    assert store.expire(updated + 1) == 2


def test_an_instrument_whose_series_are_all_forgotten_is_not_in_the_snapshot() -> None:
    """A metric without points says nothing, and some back-ends refuse it."""
    store = SeriesStore()
    store.merge(counters(1, 2))
    store.expire(2**63)
    assert store.snapshot() == ()


def test_a_series_tells_when_it_began_and_when_it_was_last_added_to() -> None:
    """Both are wall-clock time; the former stays, the latter rises."""
    store = SeriesStore()
    stamps: list[Point] = []
    for _ in range(5):
        store.merge(counters(1, 1))
        stamps.append(points(store)[C][("n", "1"),])
    first = Counter("c", {}, 1).timestamp
    assert {point.started for point in stamps} == {stamps[0].started}
    assert 0 <= first - stamps[0].started < 60e9
    assert all(one.updated <= two.updated for one, two in pairwise(stamps))
    assert stamps[0].started <= stamps[0].updated


def test_each_take_begins_where_the_last_ended() -> None:
    """Untouched series are not in it; a gauge keeps its value; times rise, however fast takes follow each other."""
    store = SeriesStore()
    store.merge([*counters(1, 2), Gauge("g", {}, 5), Histogram("h", {}, 1)])
    first = points(store.take())
    assert set(first) == {C, G, H}
    assert store.take() == ()
    ends = [first[C][("n", "1"),]]
    for n in range(1, 2000):
        store.merge(counters(1, 1, n))
        taken = points(store.take())
        assert {key: [*family] for key, family in taken.items()} == {C: [(("n", "1"),)]}
        ends.append(taken[C][("n", "1"),])
        assert ends[-1].value == n
    assert all(one.updated < two.updated for one, two in pairwise(ends))
    assert all(two.started == one.updated for one, two in pairwise(ends))
    assert value_of(store, G) == 5
    store.merge([Histogram("h", {}, 7)])
    (metric,) = store.take()
    assert (metric.points[0].value, metric.points[0].count) == (7, 1)


# -- points of bound histograms


@given(values=st.lists(ANY, min_size=1, max_size=30), bounds=st.lists(ANY, min_size=1, max_size=6, unique=True))
def test_points_with_the_same_bounds_are_exact(values: list[float], bounds: list[float]) -> None:
    """As if each value had come by itself, to the same series."""
    rising = tuple(sorted({float(bound) for bound in bounds}))
    store = SeriesStore(SinkContext(bounds={"h": rising}))
    alone = SeriesStore(SinkContext(bounds={"h": rising}))
    alone.merge([Histogram("h", {"a": 1}, value) for value in values])
    for part in (values[::2], values[1::2]):
        counts = [0] * (len(rising) + 1)
        for value in part:
            counts[bucket(rising, value)] += 1
        store.merge([HistogramPoint("h", {"a": "1"}, len(part), sum(part), rising, tuple(counts))])
    one, two = (points(each)[H][("a", "1"),] for each in (store, alone))
    assert one.counts == two.counts
    assert one.value == pytest.approx(two.value, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    "foreign", [(0.5, 1, 1.5, 2, 3, 4, 5, 6), (2.0,), (1.5, 3.0), (-3, -2), (9.0, 10.0), ()], ids=str
)
def test_points_with_other_bounds_are_counted_by_their_upper_bound_with_one_warning(
    foreign: tuple[float, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """Finer, coarser or elsewhere: no value is lost, none counts below where it may lie, and the sum is exact."""
    own = (1.0, 2.0, 5.0)
    store = SeriesStore(SinkContext(bounds={"h": own}))
    counts = tuple(range(1, len(foreign) + 2))
    with caplog.at_level(logging.WARNING, logger="trio_batchmetrics"):
        for _ in range(3):
            store.merge([HistogramPoint("h", {}, sum(counts), 12.5, foreign, counts)] * 2)
    expected = [0] * 4
    for bound, count in zip((*foreign, float("inf")), counts, strict=True):
        expected[bucket(own, bound)] += 6 * count
    point = points(store)[H][()]
    assert point.counts == tuple(expected)
    assert point.value == 75
    assert len(caplog.records) == 1
    assert "'h' comes with other bucket bounds" in caplog.text


def test_a_points_bounds_are_the_instruments_where_nothing_else_says() -> None:
    """The first that comes; single values go by them too."""
    store = SeriesStore()
    store.merge([HistogramPoint("h", {}, 3, 6.0, (1.0, 2.0), (1, 1, 1))])
    store.merge([Histogram("h", {}, 1.5)])
    (metric,) = store.snapshot()
    assert metric.bounds == (1.0, 2.0)
    assert metric.points[0].counts == (1, 2, 1)


# -- what is declared, and what is configured


def test_bounds_of_the_configuration_win() -> None:
    """Over those of a class, of a bound histogram, of the points that come and of the unit."""
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
async def test_what_a_bound_instrument_declares_is_seen_in_its_series(
    configured: bool, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Unit, description and bounds; recorded values of the same name and kind meet them."""
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


async def test_what_a_bound_instrument_declares_is_seen_also_if_it_comes_later(autojump_clock: MockClock) -> None:
    """Its own points have its bounds and unit; what was recorded before stays what it was."""
    sink = StoreSink()
    async with collector(sinks=[sink]) as metrics:
        metrics.record_histogram("h", {}, 3)
        await metrics.flush()
        metrics.histogram("h", unit="By", bounds=[1, 2]).observe(1.5)
    found = {metric.unit: metric for metric in sink.store.snapshot()}
    assert found["By"].bounds == (1, 2)
    assert found["By"].points[0].counts == (0, 1, 0)


def test_a_metric_tells_what_was_declared() -> None:
    """Kind, unit and description of each instrument of a class."""
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


# -- snapshots


@given(stream=STREAMS, more=STREAMS)
@settings(max_examples=30)
def test_later_merges_do_not_change_a_snapshot(stream: list[MetricEvent], more: list[MetricEvent]) -> None:
    """Nor does a take, or an expiry."""
    store = SeriesStore()
    store.merge(stream)
    snapshot = store.snapshot()
    kept = copy.deepcopy(snapshot)
    store.merge([*more, *stream])
    taken = store.take()
    taken_then = copy.deepcopy(taken)
    store.merge(stream)
    store.expire(2**63)
    store.merge(more)
    assert snapshot == kept
    assert taken == taken_then


def test_points_and_metrics_are_frozen() -> None:
    """They may be handed to another thread."""
    store = SeriesStore()
    store.merge([Histogram("h", {"a": 1}, 3)])
    metric = store.snapshot()[0]
    for thing, name in ((metric, "points"), (metric.points[0], "value"), (metric.points[0], "counts")):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(thing, name, ())
