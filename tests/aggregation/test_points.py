"""A point of a bound histogram loses no value, whatever its bounds are."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.aggregation.streams import ANY, H
from tests.tally import bucket, points
from trio_batchmetrics import Histogram, HistogramPoint
from trio_batchmetrics.abc import SeriesStore, SinkContext


@given(values=st.lists(ANY, min_size=1, max_size=30), bounds=st.lists(ANY, min_size=1, max_size=6, unique=True))
def test_points_with_the_same_bounds_are_exact(values: list[float], bounds: list[float]) -> None:
    """The sum is the same as if each value had come by itself, to the same series."""
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
    """Whether the bounds are finer, coarser or shifted, no value is lost or counts too low, and the sum is exact."""
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


def test_a_points_bounds_become_the_instruments_where_no_others_are_set() -> None:
    """The bounds of the first point apply, to single values as well."""
    store = SeriesStore()
    store.merge([HistogramPoint("h", {}, 3, 6.0, (1.0, 2.0), (1, 1, 1))])
    store.merge([Histogram("h", {}, 1.5)])
    (metric,) = store.snapshot()
    assert metric.bounds == (1.0, 2.0)
    assert metric.points[0].counts == (1, 2, 1)
