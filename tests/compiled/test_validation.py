"""A batch keeps exactly those rows that are valid by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings

from tests.compiled.classes import Empty, Plain, named
from tests.compiled.rows import (
    ROWS,
    STRANGE,
    Sticky,
    as_recorded,
    batch_from,
    class_from,
    is_valid,
    kept_of,
    rows_of,
    stamp_of,
)
from tests.helpers import examples
from tests.tally import Job
from trio_batchmetrics import (
    BackendRequest,
    CacheMetric,
    Counter,
    Gauge,
    HealthCheck,
    Histogram,
    HistogramPoint,
    HttpRequest,
    MetricEvent,
)
from trio_batchmetrics._events.rows import Row, UnusualRow
from trio_batchmetrics.abc import SeriesStore


@given(drawn=ROWS)
@settings(max_examples=examples(400))
def test_a_batch_keeps_just_the_rows_that_are_valid_by_themselves(drawn: list[tuple[Any, ...]]) -> None:
    """They stay in order, also when sorted by class, and nothing is raised, whatever objects they hold."""
    rows = rows_of(drawn)
    expected = [row for row in rows if is_valid(row)]
    kept, found = kept_of(rows)
    assert [stamp_of(row) for row in kept] == [stamp_of(row) for row in expected]
    by_class: dict[Any, list[object]] = {}
    for row in expected:
        by_class.setdefault(class_from(row), []).append(stamp_of(row))
    assert not any(type(row) is UnusualRow for row in kept)
    assert {columns.schema.event_class: [*columns.timestamps] for columns in found} == by_class
    assert sorted(at for columns in found for at in columns.positions) == [*range(len(kept))]


USUAL_VALUES: dict[type[MetricEvent], tuple[Any, ...]] = {
    HttpRequest: ("GET", "/", 200, 0.1),
    BackendRequest: ("p", "m", True, 0.1, None),
    HealthCheck: ("b", True, 0.1),
    CacheMetric: ("redis", "hit"),
    Counter: ("c", {"a": 1}, 1),
    Histogram: ("h", {"a": 1}, 1),
    Gauge: ("g", {"a": 1}, 1),
    HistogramPoint: ("h", {"a": 1}, 1, 0.5, (1.0,), (1, 0)),
    Job: ("q", 1, 1, 1, 1, True, 3),
    Plain: (1, "l", "d", "n", "s", "p", True, 2),
    Empty: (),
}


def one_strange(kind: type[MetricEvent]) -> Iterator[tuple[Any, ...]]:
    """Yield a class's values, one of which is strange, labels included."""
    usual = USUAL_VALUES[kind]
    for at in range(len(usual)):
        for strange in STRANGE:
            yield (*usual[:at], strange, *usual[at + 1 :])
            if usual[at] == {"a": 1}:
                yield (*usual[:at], {"a": strange}, *usual[at + 1 :])


@pytest.mark.parametrize("kind", USUAL_VALUES, ids=named)
def test_a_row_with_one_strange_value_is_kept_if_it_is_valid_by_itself(kind: Any) -> None:
    """The row is tried alongside a usual one, as a row and as an event; a store takes every row that is kept."""
    good = USUAL_VALUES[kind]
    for values in one_strange(kind):
        rows: list[Row] = [as_recorded((kind, stamp, *each)) for stamp, each in enumerate((good, values, good))]
        by_itself = is_valid(rows[1])
        batches = [rows]
        try:
            batches.append([rows[0], kind(*values, timestamp=1), rows[2]])
        except RuntimeError:
            assert not by_itself
        for batch in batches:
            kept = batch_from(batch)
            assert len(kept) == 2 + by_itself
            store = SeriesStore()
            store.merge(kept)
            for metric in store.snapshot():
                if kind is HttpRequest:
                    assert sum(point.count for point in metric.points) == len(kept)
                elif kind is CacheMetric:
                    assert sum(point.value for point in metric.points) == len(kept)


def test_a_point_of_numbers_that_cannot_be_added_costs_no_other_event() -> None:
    """The point is invalid, or merged as plain numbers."""
    store = SeriesStore()
    for total in (0.5, Sticky(0.5), 0.5):
        store.merge([HistogramPoint("h", {}, 1, total, (1.0,), (1, 0)), Counter("c", {}, 1)])
    assert [metric.points[0].value for metric in store.snapshot() if metric.name == "c"] == [3]
