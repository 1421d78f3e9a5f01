"""Two label values are equal only where their texts are, and a label stays as it was given."""

from __future__ import annotations

import enum
import sys
from http import HTTPStatus
from itertools import combinations, product
from typing import Any

import pytest
from hypothesis import given, settings

from tests.compiled.rows import NAMED, PLACES, ROWS, STRANGE, as_recorded, handed_over, rows_of, stamp_of, values_of
from tests.helpers import examples
from tests.tally import as_text
from trio_batchmetrics import CacheMetric, Counter, HistogramPoint, HttpRequest
from trio_batchmetrics._events.batch import Row, event_of, is_plain, rows_and_groups
from trio_batchmetrics._events.validation import checked, plain_rows, valid
from trio_batchmetrics.abc import SeriesStore, labels_of


@pytest.mark.parametrize("at", [0, 1])
def test_two_label_values_are_equal_only_where_their_texts_are(at: int) -> None:
    """Every pair of values of one batch is compared."""
    fine = [value for value in STRANGE if checked((CacheMetric, 1, value, value)) is not None]
    assert len(fine) > 30
    for one, two in product(fine, fine):
        rows = [as_recorded((CacheMetric, 1, *(("x", value) if at else (value, "x")))) for value in (one, two)]
        store = SeriesStore()
        store.merge(valid([*rows]))
        assert len(store) == (1 if as_text(one) == as_text(two) else 2), (one, two)


def labels_in(kind: type, values: tuple[Any, ...]) -> dict[Any, Any]:
    """Return the labels among a row's values, by their name or place."""
    return dict(values[1]) if kind in NAMED else {place: values[place] for place in PLACES[kind]}


@given(drawn=ROWS)
@settings(max_examples=examples(400))
def test_labels_sorted_by_class_are_equal_only_where_their_texts_are(drawn: list[tuple[Any, ...]]) -> None:
    """Series are looked up by these labels, and their texts are those of the recorded events."""
    rows = {stamp_of(row): row for row in rows_of(drawn)}
    _, groups = rows_and_groups(valid([*rows.values()]))
    for kind, group in (groups or {}).items():
        found: list[tuple[Any, Any]] = []  # place and value: a declared label is compared with itself only
        for row in group:
            given_labels, labels = labels_in(kind, values_of(rows[row[1]])), labels_in(kind, row[2:])
            found += [("", each) for each in (*labels.values(), *labels)] if kind in NAMED else labels.items()
            wanted = {as_text(name): as_text(value) for name, value in given_labels.items() if value is not None}
            assert {as_text(name): as_text(value) for name, value in labels.items() if value is not None} == wanted
            if kind in NAMED:
                assert type(row[2]) is str
                assert row[2]
            for value in row[2 + len(values_of(rows[row[1]])) :]:
                assert value is None
        for (where, one), (place, two) in combinations(found, 2):
            assert where != place or one != two or (hash(one) == hash(two) and as_text(one) == as_text(two))


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
        rows.append((CacheMetric, number, "redis", value))
        rows.append((HttpRequest, number, "GET", "/", value, 0.5))
        rows.append((HistogramPoint, number, "h", {"a": value, "b": "b"}, 2, number, (1.0, 2.0), (1, 0, 1)))
    if as_event:
        rows = [event_of(row) for row in rows]
    called: set[str] = set()
    sys.setprofile(lambda frame, _, __: called.add(frame.f_code.co_name))
    try:
        batch = valid([*rows])
    finally:
        sys.setprofile(None)
    assert "valid" in called
    assert "examined" not in called
    kept, groups = rows_and_groups(batch)
    assert all(one is other for one, other in zip(kept, rows, strict=True))
    assert groups is not None
    plain = [group[number] for number in range(len(COMMON)) for group in groups.values()]
    for name, group in zip(("a", "cache.operation", "http.response.status_code", "a"), groups.values(), strict=True):
        assert [labels_of(event_of(row)).get(name) for row in group] == [text for _, text in COMMON]
    handed = handed_over(kept, is_plain(batch))
    assert plain_rows(handed) == plain_rows(batch) == plain
    assert [*handed] == [event_of(row) for row in rows]
