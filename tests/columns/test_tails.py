"""A row's tail: labels that a recorder adds, an exemplar, and an id that takes the place of the event's own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings

from tests.bad_values import NoText, Unprintable
from tests.columns.drawn import DRAWN, ORIGIN, STATIC, handed_over, known, made, of_columns
from tests.compiled.classes import HUGE_LABEL
from tests.helpers import examples
from tests.sinks.line_parsers import PARSERS
from trio_batchmetrics import Batch, CacheMetric, Counter, HealthCheck, Histogram
from trio_batchmetrics._events.batch import join
from trio_batchmetrics._events.invalid import InvalidError
from trio_batchmetrics._events.rows import Row, Tail, UnusualRow
from trio_batchmetrics._events.validation import valid
from trio_batchmetrics.abc import LabelValue, SinkContext, json_line, json_lines
from trio_batchmetrics.sinks import ElasticsearchSink
from trio_batchmetrics.sinks._influxdb.timestamps import Timestamps
from trio_batchmetrics.sinks._influxdb.writer import LineWriter


def hit(stamp: int, tail: Tail | None = None) -> Row:
    """Return the row of a cache hit."""
    return UnusualRow((CacheMetric, stamp, "redis", "hit"), tail)


def test_columns_have_the_labels_the_exemplars_and_the_ids_of_tails() -> None:
    """Events without a tail have None in their place, and classes without one have no such column."""
    labels: dict[Any, Any] = {"k": True, 1: 1.0, "list": [1], "none": None}
    rows: list[Row] = [
        hit(1),
        hit(2, (labels, ("trace", 1), "other:7")),
        (HealthCheck, 3, "db", True, 0.5),
        hit(4),
        hit(5, (None, None, "other:8")),
        hit(6, (None, ("trace", 2), None)),
        hit(7, ({}, None, None)),
    ]
    batch = handed_over(rows, 100)
    caches, checks = batch.columns()
    assert checks.extra is None
    assert caches.extra is not None
    assert [*caches.extra] == [
        None,
        ({"k": LabelValue(True), "1": LabelValue(1.0), "list": "[1]", "none": None}, ("trace", 1)),
        None,
        ({}, None),
        ({}, ("trace", 2)),
        ({}, None),
    ]
    assert [*batch.ids] == ["run:100", "other:7", "run:102", "run:103", "other:8", "run:105", "run:106"]
    assert [*caches.ids] == ["run:100", "other:7", "run:103", "other:8", "run:105", "run:106"]
    assert caches.label_sets[0] == caches.label_sets[2] == caches.label_sets[4] != caches.label_sets[1]


def test_classes_without_added_labels_have_no_column_for_them() -> None:
    """An id of its own is no reason for one either."""
    batch = handed_over([hit(1), hit(2, (None, None, "other:1")), hit(3, ({}, None, None))])
    assert [columns.extra for columns in batch.columns()] == [None]
    assert [*batch.ids] == ["run:0", "other:1", "run:2"]


def test_events_that_differ_only_in_added_labels_have_different_label_sets() -> None:
    """They are different series; an exemplar makes no difference."""
    tails: list[Tail | None] = [
        None,
        ({"k": "a"}, None, None),
        ({"k": "b"}, None, None),
        ({"l": "a"}, None, None),
        ({"k": True}, None, None),
        ({"k": 1}, None, None),
        ({"k": 1.0}, None, None),
        ({"k": "a", "l": "b"}, None, None),
    ]
    some: list[tuple[Any, tuple[Any, ...]]] = [(CacheMetric, ("redis", "hit")), (Counter, ("c", {}, 1))]
    for kind, values in some:
        rows: list[Row] = [UnusualRow((kind, 1, *values), tail) for tail in tails]
        rows += [UnusualRow((kind, 2, *values), (tail[0] if tail else {}, ("trace",), None)) for tail in tails]
        (columns,) = handed_over(rows).columns()
        keys = [*columns.label_sets]
        assert len({*keys}) == len(tails)
        assert keys[: len(tails)] == keys[len(tails) :]


def test_an_events_own_labels_win_over_added_ones_and_those_over_static_ones() -> None:
    """A label that is None counts as absent; every form of the event says the same."""
    rows: list[Row] = [
        hit(1, ({"cache.type": "added", "region": "us", "k": "v"}, None, None)),
        UnusualRow((Counter, 2, "c", {"a": None, "k": "own"}, 1), ({"a": "added", "k": "added"}, None, None)),
        UnusualRow((Counter, 3, "c", {}, 1), ({"a": None}, None, None)),
    ]
    batch = handed_over(rows)
    wanted = [
        {"region": "us", "a": "static", "cache.type": "redis", "k": "v", "cache.operation": "hit"},
        {"region": "eu", "a": "added", "cache.type": "static", "k": "own"},
        {"region": "eu", "a": "static", "cache.type": "static"},
    ]
    assert [json.loads(line)["labels"] for line in json_lines(batch).splitlines()] == wanted
    writer = LineWriter("influxdb3", SinkContext(static_labels=STATIC), Timestamps())
    assert [each.tags for each in PARSERS["influxdb3"](writer.write(batch).decode())] == wanted


@given(drawn=DRAWN)
@settings(max_examples=examples(200))
def test_stored_events_have_the_added_labels(drawn: list[Any]) -> None:
    """The form is that of the event with these labels over the static ones."""
    rows = [row for row in made(drawn) if isinstance(row, UnusualRow)]
    wanted = [json_line(each.event, {**STATIC, **each.added}) for each in known(rows)]
    assert json_lines(handed_over(rows)).decode().split("\n")[:-1] == wanted


BAD: list[Any] = [
    {"k": Unprintable()},
    {"k": NoText()},
    {"k": HUGE_LABEL},
    {Unprintable(): "v"},
    {HUGE_LABEL: "v"},
    {"fine": "v", "k": Unprintable()},
    3,
    [("k", "v")],
]


@pytest.mark.parametrize("labels", BAD, ids=range(len(BAD)))
@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_added_label_without_text_makes_only_its_own_event_invalid(labels: Any, place: int) -> None:
    """The tails of the events after it stay with their events."""
    rows: list[Row] = [
        hit(1, ({"k": 1}, ("trace", 1), "other:1")),
        UnusualRow((Counter, 2, "c", {}, 1), ({"k": 2}, ("trace", 2), "other:2")),
        hit(3, ({"k": 3}, ("trace", 3), "other:3")),
    ]
    wanted = known(rows)
    del wanted[place]
    bad = rows[place]
    assert isinstance(bad, UnusualRow)
    rows[place] = UnusualRow(bad.row, (labels, None, "bad:1"))
    notes: list[InvalidError] = []
    kept, ids, columns, _ = valid([*rows], notes.append, classes=ORIGIN.classes, run_id="run")
    batch = Batch(kept, ids=ids, origin=ORIGIN, columns=columns)
    assert of_columns(batch) == wanted
    assert [str(note).split(" (")[0] for note in notes] == [
        f"{'Counter' if place == 1 else 'CacheMetric'}.labels must have text"
    ]


def test_an_invalid_event_takes_its_tail_with_it() -> None:
    """Ids, labels and exemplars of the events after it move up with them."""
    rows: list[Row] = [
        UnusualRow((Histogram, 1, "h", {}, float("nan")), ({"k": 1}, ("trace", 1), "other:1")),
        UnusualRow((Histogram, 2, "h", {}, 2), ({"k": 2}, ("trace", 2), "other:2")),
        hit(1.5, ({"k": 3}, ("trace", 3), "other:3")),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        hit(4, ({"k": 4}, ("trace", 4), "other:4")),
        UnusualRow((Histogram, 5, "h", {}, 5)),
    ]
    batch = handed_over(rows, 10)
    assert [*batch.ids] == ["other:2", "other:4", "run:12"]
    found = of_columns(batch)
    assert [(each.added, each.exemplar) for each in found] == [
        ({"k": "2"}, ("trace", 2)),
        ({"k": "4"}, ("trace", 4)),
        ({}, None),
    ]


def test_ids_of_their_own_stay_with_their_events_in_slices_and_joined_slices() -> None:
    """No id is used twice."""
    first = handed_over([hit(at, (None, None, f"other:{at}") if at % 2 else None) for at in range(6)])
    second = handed_over([hit(at, (None, None, f"other:{at}") if at % 3 else None) for at in range(6, 12)], 6)
    wanted = ["run:0", "other:1", "run:2", "other:3", "run:4", "other:5"]
    wanted += ["run:6", "other:7", "other:8", "run:9", "other:10", "other:11"]
    joined = join([(second, 2, 6), (first, 1, 6), (second, 0, 2), (first, 0, 1)])
    order = [8, 9, 10, 11, 1, 2, 3, 4, 5, 6, 7, 0]
    assert [*joined.ids] == [wanted[at] for at in order]
    assert [event_id for columns in joined.columns() for event_id in columns.ids] == [wanted[at] for at in order]
    assert [*joined[3:9].ids] == [wanted[at] for at in order[3:9]]
    assert len({*joined.ids}) == 12


@pytest.mark.parametrize("part", [slice(None, None, 2), slice(None, None, -1)], ids=["every other", "reversed"])
def test_a_slice_with_a_step_keeps_added_labels(part: slice) -> None:
    """They are labels of the event everywhere."""
    batch = handed_over([hit(at, ({"k": at}, ("trace", at), None)) for at in range(3)])
    wanted = of_columns(batch)[part]
    assert [*batch[part].ids] == [each.id for each in wanted]
    assert of_columns(batch[part]) == wanted


@pytest.mark.parametrize("part", [slice(None, None, 2), slice(None, None, -1), slice(3, 0, -2)], ids=str)
def test_a_slice_with_a_step_has_columns_too(part: slice) -> None:
    """Its events are in the order of the slice."""
    rows: list[Row] = [(CacheMetric, at, "redis", "hit") if at % 3 else (Counter, at, "c", {}, at) for at in range(9)]
    assert of_columns(handed_over(rows)[part]) == known(rows)[part]


# ---------------------------------------------------------------------------------------------------------- back-ends


def test_a_document_has_the_id_that_its_event_came_with() -> None:
    """Elasticsearch stores an event once, however many relays send it."""
    sink = ElasticsearchSink("http://localhost:9200", index="metrics")
    sink.bind(SinkContext(run_id="run"))
    batch = handed_over([hit(1), hit(2, (None, None, "other:7")), hit(3, (None, None, "odd")), hit(4)], 5)
    for part in (batch, batch[1:3], batch[3:]):
        actions = [json.loads(line) for line in sink.encode(part).splitlines()[::2]]
        wanted = {2: "other-0000000007", 3: "odd", 1: "run-0000000005", 4: "run-0000000008"}
        assert [action["create"]["_id"] for action in actions] == [wanted[stamp] for stamp in part.timestamps]


def test_a_line_has_the_same_timestamp_whichever_serial_number_its_event_has() -> None:
    """A relay gets an event again with the same id, and gives it a new serial number."""
    writer = LineWriter("influxdb3", SinkContext(), Timestamps())

    def stamp(event_id: str | None, serial: int) -> int:
        batch = handed_over([hit(10, (None, None, event_id))], serial)
        return PARSERS["influxdb3"](writer.write(batch).decode())[0].timestamp

    assert stamp("other:7", 0) == 10
    assert stamp("other:8", 1) == 11
    assert stamp("third:7", 2) == 12
    assert stamp(None, 7) == 13
    assert stamp("odd", 8) == 14
    assert stamp("other:8", 20) == 11
    assert stamp("other:7", 21) == 10
    assert stamp("third:7", 22) == 12
    assert stamp(None, 7) == 13
    assert stamp("odd", 23) == 14
    assert stamp("even", 24) == 15


def test_an_id_that_ends_in_very_many_digits_has_a_line() -> None:
    """Otherwise one such id makes its event impossible to write."""
    writer = LineWriter("influxdb3", SinkContext(), Timestamps())
    assert writer.write(handed_over([hit(10, (None, None, "run:" + "1" * 5000))]))
