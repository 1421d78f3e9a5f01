"""A snapshot never changes."""

from __future__ import annotations

import copy

import attrs
import pytest
from hypothesis import given, settings

from tests.aggregation.streams import STREAMS
from tests.helpers import examples
from trio_batchmetrics import Histogram, MetricEvent
from trio_batchmetrics.abc import SeriesStore


@given(stream=STREAMS, more=STREAMS)
@settings(max_examples=examples(30))
def test_later_merges_do_not_change_a_snapshot(stream: list[MetricEvent], more: list[MetricEvent]) -> None:
    """Merges, takes and expiries leave a snapshot as it was."""
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
    """So they may be handed to another thread."""
    store = SeriesStore()
    store.merge([Histogram("h", {"a": 1}, 3)])
    metric = store.snapshot()[0]
    for thing, name in ((metric, "points"), (metric.points[0], "value"), (metric.points[0], "counts")):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(thing, name, ())
