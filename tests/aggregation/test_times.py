"""An idle series expires in time, and each take begins where the last one ended."""

from __future__ import annotations

from itertools import pairwise

from tests.aggregation.streams import OVERFLOW, C, H, counters, value_of
from tests.tally import points
from trio_batchmetrics import Counter, Gauge, Histogram
from trio_batchmetrics.abc import Point, SeriesStore, SinkContext

G = ("g", "gauge", "")


def test_idle_series_expire_and_start_at_0_again() -> None:
    """Series with recent updates stay; the overflow series expires like any other."""
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


def test_a_series_updated_exactly_at_the_limit_does_not_expire() -> None:
    """``before`` is exclusive."""
    store = SeriesStore()
    store.merge(counters(1, 2))
    updated = points(store)[C][("n", "1"),].updated
    assert store.expire(updated) == 0
    assert store.expire(updated + 1) == 2


def test_an_instrument_whose_series_have_all_expired_is_not_in_the_snapshot() -> None:
    """A metric without points carries no information, and some back-ends refuse it."""
    store = SeriesStore()
    store.merge(counters(1, 2))
    store.expire(2**63)
    assert store.snapshot() == ()


def test_a_series_has_the_times_of_its_start_and_its_last_update() -> None:
    """Both are wall-clock times: the start stays, and the last update advances."""
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
    """Untouched series aren't in it, a gauge keeps its value, and times advance, however quickly takes follow."""
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
