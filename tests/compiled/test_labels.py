"""Two label values are equal only where their texts are, and a label stays as it was given."""

from __future__ import annotations

import enum
import sys
from http import HTTPStatus
from itertools import combinations, product
from typing import Any

import pytest
from hypothesis import given, settings

from tests.compiled.rows import (
    ROWS,
    STRANGE,
    as_recorded,
    batch_from,
    checked,
    event_from,
    kept_of,
    labels_in,
    rows_of,
    stamp_of,
    values_of,
)
from tests.helpers import examples
from tests.tally import as_text
from trio_batchmetrics import CacheMetric, Counter, HistogramPoint, HttpRequest
from trio_batchmetrics._events.rows import Row
from trio_batchmetrics.abc import SeriesStore, labels_of


@pytest.mark.parametrize("at", [0, 1])
def test_two_label_values_are_equal_only_where_their_texts_are(at: int) -> None:
    """Every pair of values of one batch is compared."""
    fine = [value for value in STRANGE if checked((CacheMetric, 1, value, value)) is not None]
    assert len(fine) > 30
    for one, two in product(fine, fine):
        rows = [as_recorded((CacheMetric, 1, *(("x", value) if at else (value, "x")))) for value in (one, two)]
        store = SeriesStore()
        store.merge(batch_from(rows))
        assert len(store) == (1 if as_text(one) == as_text(two) else 2), (one, two)


@given(drawn=ROWS)
@settings(max_examples=examples(400))
def test_labels_in_a_column_are_equal_only_where_their_texts_are(drawn: list[tuple[Any, ...]]) -> None:
    """Series are looked up by these labels, and their texts are those of the recorded events."""
    rows = {stamp_of(row): row for row in rows_of(drawn)}
    for columns in kept_of([*rows.values()])[1]:
        schema = columns.schema
        kind = schema.event_class
        for stamp, key in zip(columns.timestamps, columns.label_sets, strict=True):
            given_labels = labels_in(kind, values_of(rows[stamp]))
            if not schema.named:
                names = {schema.fields.index(each.field): each.name for each in schema.labels}
                given_labels = {names[place]: value for place, value in given_labels.items()}
            wanted = {as_text(name) or "": as_text(value) for name, value in given_labels.items() if value is not None}
            pairs = schema.label_pairs(key)
            assert {as_text(name) or "": as_text(value) for name, value in pairs if value is not None} == wanted
        if schema.named:
            instruments, sets = columns.labels
            assert all(isinstance(name, str) and name for name in instruments)
            compared: list[list[Any]] = [
                [*instruments],
                [each for pairs in sets for pair in pairs for each in pair],
                [*sets],
            ]
        else:
            compared = [*map(list, columns.labels)]
        for column in (*compared, [*columns.label_sets]):
            for one, other in combinations(column, 2):
                assert one != other or (hash(one) == hash(other) and texts(one) == texts(other))


def texts(label: Any) -> Any:
    """Return the text of a label, or those of a set of labels."""
    return tuple(map(texts, label)) if isinstance(label, tuple) else as_text(label)  # pyright: ignore[reportUnknownArgumentType]


class Region(enum.StrEnum):
    """A label value as applications define it."""

    EU = "eu"


COMMON: list[tuple[Any, str | None]] = [
    (True, "true"),
    (False, "false"),
    (1, "1"),
    (1.0, "1.0"),
    (0.5, "0.5"),
    (Region.EU, "eu"),
    (HTTPStatus.OK, "200"),
    (2**70, str(2**70)),
    ("x", "x"),
    (None, None),
]


@pytest.mark.parametrize("as_event", [False, True], ids=["rows", "events"])
def test_labels_of_common_types_become_plain_without_a_closer_look(as_event: bool) -> None:
    """It happens one class at a time; the batch keeps the given labels, and the rows stay unchanged."""
    rows: list[Row] = []
    for number, (value, _) in enumerate(COMMON):
        rows.append((Counter, number, "c", {"a": value, "b": "b"}, 1.0))
        rows.append((CacheMetric, number, "redis", "hit"))
        rows.append((HttpRequest, number, "GET", "/", number, 0.5))
        rows.append((HistogramPoint, number, "h", {"a": value, "b": "b"}, 2, float(number), (1.0, 2.0), (1, 0, 1)))
    if as_event:
        rows = [event_from(row) for row in rows]
        rows += [CacheMetric("redis", value, timestamp=1) for value, _ in COMMON]
        rows += [HttpRequest("GET", "/", value, 0.5, timestamp=1) for value, _ in COMMON]
    called: set[str] = set()
    sys.setprofile(lambda frame, _, __: called.add(frame.f_code.co_name))
    try:
        batch = batch_from(rows)
    finally:
        sys.setprofile(None)
    assert "valid" in called
    assert "examined" not in called
    kept, _ = kept_of(rows)
    assert all(one is other for one, other in zip(kept, rows, strict=True))
    counters, caches, requests, points = batch.columns()
    texts_given = [text for _, text in COMMON]
    for named in (counters, points):
        assert [as_text(dict(pairs)["a"]) for pairs in named.labels[1]] == texts_given
    if as_event:
        assert [*map(as_text, caches.labels[1])] == ["hit"] * len(COMMON) + texts_given
        assert [*map(as_text, requests.labels[2])] == [*map(str, range(len(COMMON))), *texts_given]
    assert [labels_of(event) for event in batch] == [labels_of(event_from(row)) for row in rows]
    assert [*batch] == [event_from(row) for row in rows]
