"""A sink gets the same rows whichever way events come, and a store takes every valid one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given, settings
from trio.testing import MockClock

from tests.compiled.classes import Empty
from tests.compiled.rows import NAMED, ROWS, handed_over, is_valid, rows_of
from tests.helpers import examples
from tests.tally import Job, as_text
from trio_batchmetrics import BackendRequest, Batch, BatchMetricsConfig, CacheMetric, HttpRequest, collector
from trio_batchmetrics._events.batch import is_plain, rows_and_groups
from trio_batchmetrics._events.validation import plain_rows, valid
from trio_batchmetrics.abc import SeriesStore


@given(drawn=ROWS)
@settings(max_examples=examples(200))
def test_sinks_get_the_same_plain_rows_whichever_way_events_come(drawn: list[tuple[Any, ...]]) -> None:
    """They arrive as a payload of rows, and as the sorted rows of a merge."""
    batch = valid(rows_of(drawn))
    rows, groups = rows_and_groups(batch)
    as_sorted = {row[1]: row for group in (groups or {}).values() for row in group}
    handed = handed_over(rows, is_plain(batch))
    for row in plain_rows(handed):
        wanted = as_sorted[row[1]]
        assert row[:2] == wanted[:2]
        for one, other in zip(row[2:], wanted[2:], strict=True):
            if row[0] in NAMED and one is row[3]:
                texts = [{as_text(name): as_text(value) for name, value in each.items()} for each in (one, other)]
                assert texts[0] == texts[1]
            else:
                assert as_text(one) == as_text(other)


@given(drawn=ROWS)
@settings(max_examples=examples(100))
def test_a_store_takes_every_valid_event(drawn: list[tuple[Any, ...]]) -> None:
    """Each event is merged once: no event that passes validation makes a merge raise."""
    # Sums of these ints are tested by test_sums_of_huge_ints_do_not_stop_a_series, in aggregation/test_sums.py.
    assume(not any(isinstance(value, int) and abs(value) > 2**1000 for row in drawn for value in row))
    store = SeriesStore()
    rows = rows_of(drawn)
    store.merge(valid([*rows]))
    kinds = [row[0] if isinstance(row, tuple) else type(row) for row in rows if is_valid(row)]
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
    """A batch is checked in chunks of 500 events; a sink gets all of them as one payload."""
    paths: list[str] = []

    async def sink(batch: Batch) -> None:
        paths.extend(row[3] for row in plain_rows(batch))

    async with collector(BatchMetricsConfig(batch_size=1000), sinks=[sink]) as metrics:
        for number in range(600):
            path: Any = Decimal("1.5") if number == unusual else "/"
            metrics.record_http_request("GET", path, 200, 0.1)
    assert paths == ["1.5" if number == unusual else "/" for number in range(600)]
