"""Label sets beyond `max_series` share one series, so the store is bounded and no event is lost."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.aggregation.streams import OVERFLOW, C, H, counters, value_of
from tests.fakes import StoreSink
from tests.tally import Job, points
from trio_batchmetrics import Batch, BatchMetricsConfig, CacheMetric, Counter, Histogram, collector
from trio_batchmetrics.abc import SeriesStore, SinkContext


@given(
    labels=st.lists(st.integers(0, 12), max_size=60),
    most=st.integers(1, 8),
    size=st.integers(1, 20),
    static=st.sampled_from([{}, {"region": "eu"}]),
)
def test_label_sets_beyond_the_cap_share_one_series_and_nothing_is_lost(
    labels: list[int], most: int, size: int, static: dict[str, str]
) -> None:
    """The first label sets have series of their own, and each instrument counts its label sets separately."""
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


async def test_a_bound_instruments_own_overflow_goes_to_the_same_series(autojump_clock: MockClock) -> None:
    """The overflow of both is one series and loses nothing, whichever comes first."""
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


def test_overflow_that_comes_first_does_not_count_towards_the_cap() -> None:
    """As many label sets have series of their own as if the overflow had come last."""
    store = SeriesStore(SinkContext(max_series=2))
    store.merge([Counter("c", {"otel.metric.overflow": "true"}, 1), *counters(1, 3)])
    assert set(points(store)[C]) == {(("n", "1"),), (("n", "2"),), OVERFLOW}
    assert value_of(store, C, **dict(OVERFLOW)) == 2


def test_two_hundred_thousand_label_sets_leave_the_store_bounded() -> None:
    """The series and the remembered labels are bounded, however the events come, and nothing is lost."""
    most, each = 100, 50_000
    store = SeriesStore(SinkContext(max_series=most))
    largest = 0
    for start in range(0, each, 500):
        numbers = range(start, start + 500)
        store.merge(Batch([(Counter, 1, "c", {"n": n}, 1) for n in numbers]))
        store.merge(Batch([(Counter, 1, "c", {"n": float(n), "m": None}, 1) for n in numbers]))
        store.merge(Batch([(CacheMetric, 1, "redis", str(n)) for n in numbers]))
        store.merge(Batch([(Job, 1, n, 1, 1, 1, 1, True, n) for n in numbers]))
        largest = max(largest, store.remembered)
    assert largest <= 7 * (4 * most + 1000 + 500)  # as many instruments
    told = points(store)
    assert all(len(family) == most + 1 for family in told.values())
    assert len(store) == (most + 1) * len(told)
    assert sum(point.value for point in told[C].values()) == 2 * each
    assert sum(point.value for point in told["cache.operations", "counter", "{event}"].values()) == each
    assert sum(point.count for point in told["job.size", "histogram", "By"].values()) == each


def test_one_label_set_in_many_orders_leaves_the_store_bounded() -> None:
    """The store remembers orders of labels too, and their number is bounded as well."""
    store = SeriesStore(SinkContext(max_series=1))
    dice = random.Random(5)
    names = [*"abcdefgh"]
    for _ in range(20):
        store.merge([Counter("c", dict.fromkeys(dice.sample(names, 8), 1), 1) for _ in range(500)])
        assert store.remembered <= 4 + 1000 + 500
    assert value_of(store, C, **dict.fromkeys(names, "1")) == 10_000
    assert len(store) == 1
