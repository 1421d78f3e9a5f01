"""Batch: a sequence of events in recording order, which are created on access."""

from collections import Counter as Multiset
from collections.abc import Sequence
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_events import EVENTS
from trio_batchmetrics import Batch, CacheMetric, Counter, HealthCheck, MetricEvent
from trio_batchmetrics._events.rows import Row, event_of


def as_row(event: MetricEvent) -> Row:
    """Return the row that a recorder would have left."""
    schema = event.__metric_schema__
    assert schema is not None
    return (type(event), event.timestamp, *(getattr(event, field) for field in schema.fields))


BATCHES = st.lists(EVENTS, max_size=8)
SMALL = [CacheMetric("redis", operation, timestamp=at) for at, operation in enumerate(["hit", "miss", "eviction"])]


@given(events=BATCHES, data=st.data())
def test_a_batch_is_the_sequence_of_its_events(events: list[MetricEvent], data: st.DataObject) -> None:
    """Len, iteration, indexing and slicing work as for a list, whether events were recorded as rows or as objects."""
    rows = [as_row(event) if data.draw(st.booleans()) else event for event in events]
    batch = Batch(rows)
    assert len(batch) == len(events)
    assert list(batch) == events
    assert list(reversed(batch)) == events[::-1]
    assert [batch[at] for at in range(-len(events), len(events))] == [*events, *events]
    part = data.draw(st.slices(len(events)))
    assert list(batch[part]) == events[part]
    assert isinstance(batch[part], Batch)
    assert all(event in batch for event in events)


@given(events=BATCHES)
def test_kinds_counts_the_events_by_the_names_of_their_classes(events: list[MetricEvent]) -> None:
    """The names are sorted, and accessing the events changes nothing."""
    batch = Batch([as_row(event) for event in events])
    expected = Multiset(type(event).__name__ for event in events)
    assert batch.kinds() == expected
    list(batch)
    assert batch.kinds() == expected
    assert list(batch.kinds()) == sorted(expected)


@given(event=EVENTS)
def test_a_row_stands_for_its_event(event: MetricEvent) -> None:
    """The timestamp is included."""
    assert event_of(as_row(event), {}) == event
    numbered = cast("tuple[Any, ...]", as_row(event))
    assert event_of((7, *numbered[1:]), {7: type(event)}) == event
    assert event_of(event, {}) is event


def test_an_event_is_made_once() -> None:
    """The event is created once, however often and in whichever way it is accessed."""
    batch = Batch([as_row(event) for event in SMALL])
    assert batch[1] is batch[1]
    assert batch[-2] is batch[1]
    assert list(batch)[1] is batch[1]
    assert batch[:2][1] is batch[1]


def test_an_event_that_the_application_made_is_the_one_in_the_batch() -> None:
    """The batch has the same object, not a copy."""
    assert Batch(SMALL)[1] is SMALL[1]


def test_counting_makes_no_event() -> None:
    """The default sink never accesses an event."""

    class Unmakeable(CacheMetric):
        """An event that can't be created."""

        def __init__(self, *_: Any, **__: Any) -> None:
            """Raise an error."""
            raise AssertionError("an event was created")

    batch = Batch([(Unmakeable, 1, "redis", "hit"), (Unmakeable, 2, "redis", "miss")])
    assert batch.kinds() == {"Unmakeable": 2}
    assert len(batch) == 2
    assert repr(batch) == "<Batch of 2: 2 Unmakeable>"
    with pytest.raises(AssertionError, match="an event was created"):
        batch[0]


def test_an_index_beyond_the_end_raises_as_for_any_sequence() -> None:
    """Iteration by index ends because of this."""
    batch = Batch(SMALL)
    for index in (3, -4):
        with pytest.raises(IndexError):
            batch[index]
    with pytest.raises(IndexError):
        Batch([])[0]


def test_a_batch_prints_how_many_of_each_kind_it_holds() -> None:
    """An empty batch prints as empty."""
    assert repr(Batch([*SMALL, HealthCheck("b", True, 1)])) == "<Batch of 4: 3 CacheMetric, 1 HealthCheck>"
    assert repr(Batch([])) == "<Batch of 0>"


def test_batches_compare_by_their_events() -> None:
    """They compare with lists and tuples, too, and with nothing else."""
    assert Batch([as_row(event) for event in SMALL]) == Batch(SMALL)
    assert Batch(SMALL) == SMALL
    assert Batch(SMALL) == tuple(SMALL)
    assert Batch(SMALL) != SMALL[:2]
    assert Batch(SMALL) != SMALL[::-1]
    assert Batch(SMALL) != Batch([])
    assert Batch([]) != "" and Batch([]) != set[int]()  # noqa: PT018 - one thought
    with pytest.raises(TypeError, match="unhashable"):
        hash(Batch(SMALL))


def test_a_batch_is_a_sequence_that_cannot_be_changed() -> None:
    """No operation adds or removes an event."""
    batch: Any = Batch(SMALL)
    assert issubclass(Batch, Sequence)
    assert (batch.index(SMALL[2]), batch.count(SMALL[1])) == (2, 1)
    with pytest.raises(TypeError, match="item assignment"):
        batch[0] = SMALL[1]
    with pytest.raises(TypeError, match="item deletion"):
        del batch[0]
    assert not hasattr(batch, "append")


def test_a_batch_of_a_tuple_is_not_the_tuple() -> None:
    """Any sequence is accepted, and left alone."""
    rows = tuple(as_row(event) for event in SMALL)
    batch = Batch(rows)
    assert list(batch) == SMALL
    assert rows == tuple(as_row(event) for event in SMALL)
    assert Counter("a", {}, 1) not in batch
