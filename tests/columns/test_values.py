"""Each column has, event by event, what the event itself has; two labels are equal only if their texts are."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings

from tests.columns.drawn import DRAWN, Flags, handed_over, known, made, of_columns
from tests.helpers import examples
from tests.tally import as_text
from trio_batchmetrics import BackendRequest, Batch, CacheMetric, Counter, HttpRequest, MetricEvent
from trio_batchmetrics.abc import LabelValue


@given(drawn=DRAWN)
@settings(max_examples=examples(400))
def test_columns_have_what_each_valid_event_has(drawn: list[Any]) -> None:
    """Rows, unusual rows and events of all classes are mixed; those that are invalid are left out."""
    rows = made(drawn)
    wanted = known(rows)
    batch = handed_over(rows)
    assert len(batch) == len(wanted)
    assert of_columns(batch) == wanted
    assert [*batch.ids] == [each.id for each in wanted]
    assert [*batch.timestamps] == [each.timestamp for each in wanted]
    assert [(type(event), event.timestamp) for event in batch] == [(each.kind, each.timestamp) for each in wanted]


@given(drawn=DRAWN)
@settings(max_examples=examples(200))
def test_a_list_of_a_users_events_has_the_same_columns(drawn: list[Any]) -> None:
    """Ids count from 0, and there are no tails."""
    events = [each.event for each in known(made(drawn))]
    found = of_columns(Batch(events))
    assert [each.id for each in found] == [f":{at}" for at in range(len(events))]
    rows: list[Any] = [*events]
    for one, wanted in zip(found, known(rows), strict=True):
        assert (one.kind, one.timestamp, one.name, one.labels, one.values) == (
            wanted.kind,
            wanted.timestamp,
            wanted.name,
            wanted.labels,
            wanted.values,
        )


SIMILAR: list[Any] = [True, 1, 1.0, "1", "true", "1.0", False, 0, 0.0, -0.0, "0", "false", None, 2**63, str(2**63)]


def in_column(kind: Any, values: list[Any], *, as_event: bool) -> list[Any]:
    """Return one label column of events of a class."""
    events: list[MetricEvent] = []
    for at, value in enumerate(values):
        fields: dict[Any, tuple[Any, ...]] = {
            HttpRequest: ("GET", "/", value, 0.5),
            BackendRequest: ("p", "m", value, 0.5),
            CacheMetric: ("redis", value),
            Counter: ("c", {"a": value}, 1),
            Flags: (True, value),
        }
        events.append(kind(*fields[kind], timestamp=at))
    rows: list[Any] = (
        [*events]
        if as_event
        else [
            (kind, event.timestamp, *(getattr(event, name) for name in kind.__metric_schema__.fields))
            for event in events
        ]
    )
    (columns,) = Batch(rows).columns()
    place = {HttpRequest: 2, BackendRequest: 2, CacheMetric: 1, Counter: 1, Flags: 1}[kind]
    column = columns.labels[place]
    return [pairs[0][1] for pairs in column] if kind is Counter else [*column]


@pytest.mark.parametrize("as_event", [False, True], ids=["rows", "events"])
@pytest.mark.parametrize("kind", [HttpRequest, BackendRequest, CacheMetric, Counter, Flags])
def test_similar_labels_in_one_column_are_equal_only_if_their_texts_are(kind: Any, as_event: bool) -> None:
    """True, 1, 1.0 and their texts are in one column, in a column of their own, and in two batches."""
    column = in_column(kind, SIMILAR, as_event=as_event)
    assert [*map(as_text, column)] == [*map(as_text, SIMILAR)]
    alone = [in_column(kind, [value], as_event=as_event)[0] for value in SIMILAR]
    assert column == alone
    for one, other in product(column, [*column, *alone]):
        assert one != other or (as_text(one) == as_text(other) and hash(one) == hash(other))


@pytest.mark.parametrize("kind", [HttpRequest, BackendRequest, CacheMetric, Counter, Flags])
def test_typed_values_are_kept_among_labels(kind: Any) -> None:
    """Bools stay in columns that are declared as such, ints in all others; a LabelValue has the value as it was given.

    OTLP needs this.
    """
    column = in_column(kind, [True, 7, 2.5, "x", None], as_event=True)
    values = [each.value if isinstance(each, LabelValue) else each for each in column]
    assert values == [True, 7, 2.5, "x", None]
    assert [*map(type, values)] == [bool, int, float, str, type(None)]
    bools = kind in (BackendRequest, Flags)
    assert [isinstance(each, LabelValue) for each in column] == [not bools, bools, True, False, False]


def test_a_label_value_equals_only_those_of_the_same_type_and_text() -> None:
    """It never equals a plain value."""
    values: list[Any] = [True, 1, 1.0, False, 0, 0.0, -0.0, float("nan"), float("inf"), 0.1]
    for (at, one), (place, other) in product(enumerate(values), enumerate(values)):
        same = LabelValue(one) == LabelValue(other)
        assert same is (at == place)
        assert not same or hash(LabelValue(one)) == hash(LabelValue(other))
        assert (str(LabelValue(one)), LabelValue(one).value) == (as_text(one), one) or one != one
        assert LabelValue(one) != other
        assert LabelValue(one) != str(other)
    assert repr(LabelValue(True)) == "LabelValue(True)"


def test_labels_that_have_no_hash_become_text() -> None:
    """A list, a dict and a bytearray can be looked up like any other label."""
    odd: list[Any] = [[1], {"a": [2]}, bytearray(b"x"), {1, 2}]
    for kind in (HttpRequest, Counter, Flags):
        column = in_column(kind, odd, as_event=False)
        assert column == [*map(str, odd)]
        assert len({*column}) == len(odd)
