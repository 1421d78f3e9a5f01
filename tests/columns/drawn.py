"""Random mixes of rows, unusual rows and events of all classes, and what each event has by itself.

Nothing here asks columns for anything: labels and values come from ``labels_of`` and ``fields_of``, event by event.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import attrs
from hypothesis import strategies as st

from tests.compiled.classes import Empty, Plain
from tests.compiled.rows import DICT, STRANGE, VALUE, as_recorded, event_from, is_valid, unwrapped
from tests.tally import Job, as_text
from trio_batchmetrics import (
    BackendRequest,
    Batch,
    CacheMetric,
    Counter,
    Gauge,
    HealthCheck,
    Histogram,
    HistogramPoint,
    HttpRequest,
    MetricEvent,
    label,
    measure,
    metric_event,
)
from trio_batchmetrics._events.batch import Origin
from trio_batchmetrics._events.rows import Row, Tail, UnusualRow
from trio_batchmetrics._events.validation import valid
from trio_batchmetrics.abc import fields_of, labels_of

__all__ = [
    "DRAWN",
    "ORIGIN",
    "STATIC",
    "Flags",
    "Known",
    "handed_over",
    "known",
    "made",
    "of_columns",
]


@metric_event
class Flags(MetricEvent):
    """An event with labels of every declared type, optional and not."""

    on: bool = label("on")
    off: bool | None = label("off", default=None)
    code: int = label("code", default=0)
    text: str | None = label("text", default=None)
    size: float = measure(Gauge, "flags.size", default=1.0)
    healthy: Any = measure(Gauge, "flags.healthy", default=True)


STATIC = {"region": "eu", "a": "static", "cache.type": "static"}
"""Labels of every event."""

ORIGIN = Origin("run", STATIC)
for _each in (Job, Plain, Empty, Flags):
    ORIGIN.classes.number_of(_each)

_LABEL = VALUE | st.sampled_from([True, 1, 1.0, "1", "true", "1.0", False, 0, 0.0, -0.0, "0", None, 2**63, -(2**63)])
_COUNT: st.SearchStrategy[Any] = (
    st.floats(0, 1e300) | st.integers(0, 2**70) | st.sampled_from([0, 0.0, -0.0, Decimal("0.5"), 5e-324, 1e22, 1e-5])
)
_ANY: st.SearchStrategy[Any] = _COUNT | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70)
_TIME: st.SearchStrategy[Any] = _COUNT | st.timedeltas(timedelta(), timedelta(days=1))
_BAD: st.SearchStrategy[Any] = st.sampled_from(STRANGE)
_NAME: st.SearchStrategy[Any] = st.sampled_from(["c", "h", "c\ud800", "größe"])
_SET = DICT | st.dictionaries(st.sampled_from(["a", "b", "region"]), _LABEL, max_size=3)

_FIELDS: dict[type[MetricEvent], list[st.SearchStrategy[Any]]] = {
    HttpRequest: [_LABEL, _LABEL, _LABEL | st.integers(100, 599), _TIME],
    BackendRequest: [_LABEL, _LABEL, _LABEL | st.booleans(), _TIME, _LABEL],
    HealthCheck: [_LABEL, st.booleans() | _ANY, _TIME],
    CacheMetric: [_LABEL, _LABEL],
    Counter: [_NAME, _SET, _COUNT],
    Histogram: [_NAME, _SET, _ANY],
    Gauge: [_NAME, _SET, _ANY],
    Job: [_LABEL, _ANY, _COUNT, _ANY, _TIME, _LABEL | st.booleans(), _LABEL],
    Plain: [_COUNT, *[_LABEL] * 6, _TIME],
    Empty: [],
    Flags: [_LABEL | st.booleans(), _LABEL | st.booleans(), _LABEL | st.integers(), _LABEL, _ANY, st.booleans() | _ANY],
}
_STAMPS: st.SearchStrategy[Any] = st.one_of(
    st.integers(0, 3).map(lambda at: 1_795_489_500_000_000_000 + at),
    st.sampled_from([-1, 0, 1, 999_999_999, 10**9, -(10**9), 10**9 - 1, 1_795_489_500_999_999_999]),
    st.integers(-(2**60), 2**62),
)
_TAILS: st.SearchStrategy[Any] = st.tuples(
    st.none() | st.dictionaries(st.sampled_from(["a", "k", "cache.type", 1]), _LABEL | st.text(max_size=3), max_size=3),
    st.none() | st.sampled_from([("trace", 1), ("trace", 2)]),
    st.none() | st.sampled_from(["other:1", "other:2", "third:1", "odd"]),
)


@st.composite
def _points(draw: st.DrawFn) -> tuple[Any, ...]:
    bounds = tuple(sorted(draw(st.lists(st.floats(-1e9, 1e9) | st.integers(-5, 5), unique=True, max_size=3))))
    counts = tuple(draw(st.lists(st.integers(0, 9), min_size=len(bounds) + 1, max_size=len(bounds) + 1)))
    return draw(_NAME), draw(_SET), sum(counts), draw(_ANY), bounds, counts


@attrs.frozen
class _Drawn:
    kind: type[MetricEvent]
    stamp: Any
    values: tuple[Any, ...]
    way: str
    tail: Tail | None


@st.composite
def _drawn(draw: st.DrawFn) -> _Drawn:
    kind = draw(st.sampled_from([*_FIELDS, HistogramPoint]))
    values = draw(_points()) if kind is HistogramPoint else tuple(map(draw, _FIELDS[kind]))
    if values and not draw(st.integers(0, 9)):  # one value of any kind, which is often invalid
        at = draw(st.integers(0, len(values) - 1))
        values = (*values[:at], draw(_BAD), *values[at + 1 :])
    way = draw(st.sampled_from(["row", "row", "number", "event", "unusual"]))
    return _Drawn(kind, draw(_STAMPS), values, way, draw(_TAILS) if way == "unusual" else None)


DRAWN = st.lists(_drawn(), max_size=12)


def made(drawn: Sequence[_Drawn]) -> list[Row]:
    """Return what recorders would leave: rows with classes and numbers, unusual rows with tails, and events."""
    rows: list[Row] = []
    for each in drawn:
        row = as_recorded((each.kind, each.stamp, *each.values))
        if each.way == "event":
            maker: Any = each.kind
            with contextlib.suppress(Exception):  # an event that can't be created is tried as a row
                row = maker(*each.values, timestamp=each.stamp)
        elif each.way == "unusual":
            row = UnusualRow((each.kind, each.stamp, *each.values), each.tail)
        elif each.way == "number":
            plain = ORIGIN.classes.number_of(each.kind), each.stamp, *each.values
            row = plain if type(row) is tuple else UnusualRow(plain)
        rows.append(row)
    return rows


@attrs.frozen
class Known:
    """What one event has."""

    kind: type[MetricEvent]
    id: str
    timestamp: int
    name: str | None
    labels: dict[str, str]
    """As text, without static labels; those from the tail included."""
    values: Any
    exemplar: Any
    event: MetricEvent = attrs.field(eq=False)
    added: dict[str, str] = attrs.field(eq=False)
    """The labels from the tail, as text."""


def _texts(labels: Mapping[Any, Any] | None) -> dict[str, str]:
    found = {as_text(name) or "": as_text(value) for name, value in (labels or {}).items()}
    return {name: value for name, value in found.items() if value is not None}


def _has_text(tail: Tail | None) -> bool:
    try:
        _texts(tail[0] if tail else None)
    except Exception:  # noqa: BLE001 - an object without text raises anything
        return False
    return True


def known(rows: Sequence[Row], first: int = 0) -> list[Known]:
    """Return what each valid event among some rows has, found event by event.

    Args:
        rows: the rows.
        first: the serial number of the first valid event.
    """
    found: list[Known] = []
    for row in rows:
        tail = row.tail if isinstance(row, UnusualRow) else None
        if not _has_text(tail) or not is_valid(_with_class(row)):
            continue
        event = event_from(_with_class(row))
        schema, values = event.__metric_schema__, fields_of(event)
        assert schema is not None
        added, exemplar, event_id = tail or (None, None, None)
        found.append(
            Known(
                type(event),
                event_id or f"run:{first + len(found)}",
                event.timestamp,
                as_text(operator.attrgetter("name")(event)) if schema.named else None,
                {**_texts(added), **labels_of(event)},
                tuple(values.values()),
                exemplar,
                event,
                _texts(added),
            )
        )
    return found


def _with_class(row: Row) -> Any:
    plain = row.row if isinstance(row, UnusualRow) else row
    if not isinstance(plain, tuple):
        return plain
    return (ORIGIN.classes.get(plain[0], plain[0]), *unwrapped(plain)[1:])


def handed_over(rows: Sequence[Row], first: int = 0) -> Batch:
    """Return the valid events among some rows as the flush task hands them over."""
    kept, ids, columns, timestamps = valid([*rows], classes=ORIGIN.classes, run_id="run", first=first)
    return Batch(kept, ids=ids, origin=ORIGIN, columns=columns, timestamps=timestamps)


def of_columns(batch: Batch) -> list[Known]:
    """Return what a batch's columns have for each event, in recording order; check that they fit together."""
    found: list[Any] = [None] * len(batch)
    seen: set[type] = set()
    for columns in batch.columns():
        schema = columns.schema
        size = len(columns)
        assert size > 0
        assert schema.event_class not in seen
        seen.add(schema.event_class)
        assert [*columns.positions] == sorted({*columns.positions})
        assert {*map(len, (columns.positions, columns.ids, columns.label_sets, *columns.labels, *columns.values))} == {
            size
        }
        assert columns.extra is None or len(columns.extra) == size
        assert len(columns.labels) == (2 if schema.named else len(schema.labels))
        assert len(columns.values) == (4 if schema.buckets else len(schema.measured))
        assert [columns.label_sets[at] for at in range(size)] == [*columns.label_sets]
        assert columns.label_sets[1:] == [*columns.label_sets][1:]
        for at, position in enumerate(columns.positions):
            assert found[position] is None
            values = [column[at] for column in columns.values]
            if schema.buckets:
                count, total, bounds, counts = values
                assert [*map(type, (count, total, bounds, counts))] == [int, float, tuple, tuple]
                values = [float(count), total, [*map(float, bounds)], [*map(float, counts)]]
            else:
                assert {*map(type, values)} <= {float}
            extra = columns.extra[at] if columns.extra is not None else None
            pairs = {name: as_text(value) for name, value in _in_order(schema.label_pairs(columns.label_sets[at]))}
            found[position] = Known(
                schema.event_class,
                columns.ids[at],
                columns.timestamps[at],
                as_text(columns.labels[0][at]) if schema.named else None,
                {name: text for name, text in pairs.items() if text is not None},
                tuple(values),
                None if extra is None else extra[1],
                batch[position],
                _texts(extra[0]) if extra is not None else {},
            )
    assert None not in found
    assert [*batch.timestamps] == [each.timestamp for each in found]
    return found


def _in_order(pairs: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return the pairs of label and value that count: one that has no text doesn't replace an earlier one."""
    return [(name, value) for name, value in pairs if value is not None]
