"""Sinks get the same columns whichever way events come, and a store takes every valid event."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given, settings
from trio.testing import MockClock

from tests.compiled.classes import Empty
from tests.compiled.rows import ROWS, batch_from, class_from, event_from, is_valid, rows_of, unwrapped
from tests.helpers import examples
from tests.tally import Job, as_text
from trio_batchmetrics import BackendRequest, Batch, BatchMetricsConfig, CacheMetric, HttpRequest, collector
from trio_batchmetrics.abc import Columns, SeriesStore


def contents(columns: Columns) -> dict[str, Any]:
    """Return everything that columns have, as plain lists: labels as text, in the order of their names."""
    schema = columns.schema
    labels = [
        sorted((name, as_text(value)) for name, value in dict(schema.label_pairs(key)).items() if value is not None)
        for key in columns.label_sets
    ]
    return {
        "class": schema.event_class,
        "positions": [*columns.positions],
        "ids": [*columns.ids],
        "timestamps": [*columns.timestamps],
        "names": [*map(as_text, columns.labels[0])] if schema.named else None,
        "labels": labels,
        "values": [*map(list, columns.values)],
    }


def by_class(batch: Batch) -> dict[Any, dict[str, Any]]:
    """Return the contents of a batch's columns, by class."""
    return {columns.schema.event_class: contents(columns) for columns in batch.columns()}


@given(drawn=ROWS)
@settings(max_examples=examples(200))
def test_sinks_get_the_same_columns_whichever_way_events_come(drawn: list[tuple[Any, ...]]) -> None:
    """The ways are rows with their class or its number, unusual rows, events, and events of a list of the user's."""
    drawn = [each for each in drawn if is_valid(rows_of([each])[0])]
    batch = batch_from(rows_of(drawn))
    wanted = by_class(batch)
    assert by_class(batch_from(rows_of(drawn, numbers=True))) == wanted
    as_events: list[Any] = [event_from(unwrapped(row)) for row in rows_of(drawn)]
    assert by_class(batch_from(as_events)) == wanted
    by_user = by_class(Batch(as_events))
    for kind, found in by_user.items():
        assert {**found, "ids": wanted[kind]["ids"]} == wanted[kind]
        assert found["ids"] == [f":{at}" for at in found["positions"]]
    assert by_user.keys() == wanted.keys()


@given(drawn=ROWS)
@settings(max_examples=examples(100))
def test_a_store_takes_every_valid_event(drawn: list[tuple[Any, ...]]) -> None:
    """Each event is merged once: no event that passes validation makes a merge raise."""
    # Sums of these ints are tested by test_sums_of_huge_ints_do_not_stop_a_series, in aggregation/test_sums.py.
    assume(not any(isinstance(value, int) and abs(value) > 2**1000 for row in drawn for value in row))
    store = SeriesStore()
    rows = rows_of(drawn)
    store.merge(batch_from(rows))
    kinds = [class_from(row) for row in rows if is_valid(row)]
    metrics = {metric.name: metric for metric in store.snapshot()}
    counted: list[tuple[Any, str]] = [(CacheMetric, "cache.operations"), (Empty, "empty"), (Job, "job.runs")]
    timed: list[tuple[Any, str]] = [
        (HttpRequest, "http.server.request.duration"),
        (BackendRequest, "backend.request.duration"),
    ]
    for kind, name in timed:
        found = sum(point.count for point in metrics[name].points) if name in metrics else 0
        assert found == kinds.count(kind)
    for kind, name in counted:
        total = sum(point.value for point in metrics[name].points) if name in metrics else 0
        assert total == kinds.count(kind)


@pytest.mark.parametrize("unusual", [3, 555])
async def test_an_unusual_label_is_normalized_wherever_it_is_in_a_large_batch(
    unusual: int, autojump_clock: MockClock
) -> None:
    """A batch is checked in chunks of at most 500 events; a sink gets all of them as one payload."""
    paths: list[str] = []

    async def sink(batch: Batch) -> None:
        (columns,) = batch.columns()
        paths.extend(columns.labels[1])

    async with collector(BatchMetricsConfig(batch_size=1000), sinks=[sink]) as metrics:
        for number in range(600):
            path: Any = Decimal("1.5") if number == unusual else "/"
            metrics.record_http_request("GET", path, 200, 0.1)
    assert paths == ["1.5" if number == unusual else "/" for number in range(600)]
