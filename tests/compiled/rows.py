"""Rows of arbitrary arguments, as recorders make them and as sinks get them, and strategies that draw them."""

from __future__ import annotations

import contextlib
import enum
import functools
import math
from collections.abc import Callable, Sequence
from datetime import timedelta
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any, NoReturn

from hypothesis import strategies as st

from tests.bad_values import EVIL, HUGE, NOT_LABELS, NOT_NAMES, EvilFloat, EvilInt, NoText, Unprintable
from tests.compiled.classes import HUGE_LABEL, Empty, Plain
from tests.tally import Job
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
)
from trio_batchmetrics._events.batch import Origin
from trio_batchmetrics._events.columns import Columns
from trio_batchmetrics._events.compiled import compiled_recorder
from trio_batchmetrics._events.examining import examined
from trio_batchmetrics._events.invalid import InvalidError
from trio_batchmetrics._events.rows import Row, UnusualRow, class_of, event_of
from trio_batchmetrics._events.validation import valid

__all__ = [
    "DICT",
    "FIELDS",
    "NAMED",
    "PLACES",
    "ROWS",
    "STAMP",
    "STRANGE",
    "USUAL",
    "VALUE",
    "Colour",
    "Lonely",
    "Real",
    "Sticky",
    "Unequal",
    "Whole",
    "Wordy",
    "as_recorded",
    "batch_from",
    "checked",
    "class_from",
    "event_from",
    "is_valid",
    "kept_of",
    "labels_in",
    "one_row",
    "recorder_of",
    "rows_of",
    "stamp_of",
    "unwrapped",
    "values_of",
]


class Wordy(str):
    """A str that prints as something else."""

    __slots__ = ()

    def __str__(self) -> str:
        """Return the text in capitals."""
        return self.upper()


class Whole(int):
    """A subclass of int that changes nothing."""


class Real(float):
    """A subclass of float that changes nothing."""


class Colour(enum.Enum):
    """An enum that prints as its member's name."""

    RED = 1


class Lonely(str):
    """A str that equals nothing, not even itself, and has no hash."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

    def __eq__(self, other: object) -> bool:
        """Return that nothing is equal."""
        return False


class Sticky(float):
    """A float that can't be added to anything."""

    def __radd__(self, other: object) -> NoReturn:
        """Raise an error."""
        raise RuntimeError("no sum")

    __add__ = __lt__ = __gt__ = __radd__


class Unequal:
    """An object that has text, equals everything, and has no hash."""

    __hash__ = None  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

    def __eq__(self, other: object) -> bool:
        """Return that everything is equal."""
        return True

    def __str__(self) -> str:
        """Return the text."""
        return "unequal"


STRANGE: list[Any] = [
    *(math.nan, math.inf, -math.inf, HUGE, -HUGE, HUGE_LABEL, -HUGE_LABEL, 2**63, -(2**63), 2**63 - 1, 2**1023),
    *(True, False, None, 0, 1, -1, 0.0, -0.0, 1.0, -1.0, 1.5, 5e-324, 1.7976931348623157e308),
    *("", "1", "1.0", "true", "name", "\ud800", "\udfff", "\ufffd", b"1", 1j, [1], {}, {"a": 1}, (1.0,), (1, 0)),
    *(
        Wordy("1"),
        Wordy("name"),
        Whole(1),
        Whole(2**70),
        Real(1.0),
        Sticky(1.0),
        Lonely("1"),
        Real("nan"),
        HTTPStatus.OK,
        Colour.RED,
    ),
    *(timedelta(seconds=1), timedelta(microseconds=-1), timedelta(), Unequal(), Unprintable(), NoText()),
    *(EvilInt(3), EvilFloat(3.0), *(make() for make in EVIL[:2]), *NOT_LABELS, *NOT_NAMES),
]
USUAL: st.SearchStrategy[Any] = st.sampled_from([0, 1, 2, 0.5, 1.5, "a", "b", "1", True, False, None, 200])
VALUE: st.SearchStrategy[Any] = st.one_of(
    USUAL,
    USUAL,
    st.sampled_from(STRANGE),
    st.floats(),
    st.integers(),
    st.integers(-(2**1100), 2**1100),
    st.text(max_size=3),
)
DICT: st.SearchStrategy[Any] = st.dictionaries(
    st.sampled_from(["a", "b", 1, 1.5, True, "\ud800", Wordy("a"), HUGE_LABEL, None, HTTPStatus.OK]), VALUE, max_size=3
)
STAMP: st.SearchStrategy[Any] = st.sampled_from([None] * 9 + [True, 1.0, "1"])
"""None stands for the row's number in the batch."""

FIELDS: dict[type[MetricEvent], list[st.SearchStrategy[Any]]] = {
    HttpRequest: [VALUE] * 4,
    BackendRequest: [VALUE] * 5,
    HealthCheck: [VALUE] * 3,
    CacheMetric: [VALUE] * 2,
    Counter: [st.just("c") | VALUE, DICT | VALUE, VALUE],
    Histogram: [st.just("h") | VALUE, DICT | VALUE, VALUE],
    Gauge: [st.just("g") | VALUE, DICT | VALUE, VALUE],
    HistogramPoint: [
        st.just("h") | VALUE,
        DICT | VALUE,
        st.integers(0, 3) | VALUE,
        VALUE,
        st.sampled_from([(1.0,), (1, 2)]) | VALUE,
        st.sampled_from([(1, 0), (0, 0), (1, 1, 1), (Whole(1), 1)]) | VALUE,
    ],
    Job: [VALUE] * 7,
    Plain: [VALUE] * 8,
    Empty: [],
}


def checked(row: Row) -> Row | None:
    """Return the row with plain numbers, its durations in seconds; None if the event is invalid."""
    found = examined(row)
    return None if isinstance(found, InvalidError) else found


def one_row(kind: type[MetricEvent]) -> st.SearchStrategy[tuple[Any, ...]]:
    """Draw the rows of a class, and whether they come as events."""
    return st.tuples(st.just(kind), STAMP, st.booleans(), *FIELDS[kind])


ROWS = st.lists(st.one_of([one_row(kind) for kind in FIELDS]), max_size=12)

_ORIGIN = Origin("run")


@functools.cache
def recorder_of(kind: type[MetricEvent]) -> Callable[..., None] | None:
    """Return the recorder that is compiled for a class; None if it has none."""
    return compiled_recorder(kind, _ORIGIN.classes.number_of(kind))


def as_recorded(row: tuple[Any, ...]) -> Row:
    """Return a row as a recorder would leave it: plain or unusual, but with labels that aren't text yet."""
    kind, stamp, *values = row
    record = recorder_of(kind)
    if record is None:
        return UnusualRow(row)
    left: list[Row] = []
    buffer = SimpleNamespace(gate=True, rows=left, limit=2)
    record(SimpleNamespace(_buffer=buffer), *values, timestamp=None if type(stamp) is int else stamp)
    return row if type(left[0]) is tuple else UnusualRow(row)


def rows_of(drawn: list[tuple[Any, ...]], *, numbers: bool = False) -> list[Row]:
    """Number rows, and turn the chosen ones into events.

    Args:
        drawn: the rows, as ``ROWS`` draws them.
        numbers: whether the rows have numbers in place of their classes, as in a collector.
    """
    rows: list[Row] = []
    for number, (kind, own_stamp, as_event, *values) in enumerate(drawn, start=1_000_000):
        stamp = number if own_stamp is None else own_stamp
        row: Row = as_recorded((kind, stamp, *values))
        if as_event:
            with contextlib.suppress(Exception):  # an event that can't be created is tried as a row
                row = kind(*values, timestamp=stamp)
        if numbers:
            in_place = _ORIGIN.classes.number_of(kind), stamp, *values
            row = in_place if type(row) is tuple else UnusualRow(in_place) if type(row) is UnusualRow else row
        rows.append(row)
    return rows


def batch_from(rows: list[Row]) -> Batch:
    """Return the valid ones among some rows as the batch that the flush task makes of them."""
    kept, ids, columns, timestamps = valid([*rows], classes=_ORIGIN.classes, run_id="run")
    return Batch(kept, ids=ids, origin=_ORIGIN, columns=columns, timestamps=timestamps)


def kept_of(rows: list[Row]) -> tuple[list[Row], Sequence[Columns]]:
    """Return the valid ones among some rows, and their columns."""
    kept, _, columns, _ = valid([*rows], classes=_ORIGIN.classes)
    return kept, columns


def unwrapped(row: Row) -> Any:
    """Return a row as a tuple with its class, or an event itself."""
    plain = row.row if isinstance(row, UnusualRow) else row
    return (_ORIGIN.classes.get(plain[0], plain[0]), *plain[1:]) if isinstance(plain, tuple) else plain


def class_from(row: Row) -> type[MetricEvent]:
    """Return the class of the event that a row stands for."""
    return class_of(row, _ORIGIN.classes)


def event_from(row: Row) -> MetricEvent:
    """Return the event that a row stands for."""
    return event_of(row, _ORIGIN.classes)


def is_valid(row: Row) -> bool:
    """Return whether a row is valid by itself."""
    return checked(unwrapped(row)) is not None


def stamp_of(row: Row) -> Any:
    """Return a row's number."""
    plain = unwrapped(row)
    return plain[1] if isinstance(plain, tuple) else plain.timestamp  # pyright: ignore[reportUnknownVariableType]


def values_of(row: Row) -> tuple[Any, ...]:
    """Return the values of a row's fields."""
    plain = unwrapped(row)
    if isinstance(plain, tuple):
        return plain[2:]  # pyright: ignore[reportUnknownVariableType]
    return tuple(getattr(plain, name) for name in plain.__metric_schema__.fields)


NAMED = {Counter, Histogram, Gauge, HistogramPoint}
PLACES: dict[type, list[int]] = {
    HttpRequest: [0, 1, 2],
    BackendRequest: [0, 1, 2, 4],
    HealthCheck: [0],
    CacheMetric: [0, 1],
    Job: [0, 5, 6],
    Plain: [1, 2, 3, 4, 5, 6],
    Empty: [],
}
"""Which fields are labels."""


def labels_in(kind: type, values: tuple[Any, ...]) -> dict[Any, Any]:
    """Return the labels among the values of a row of a class, by their name or place."""
    return dict(values[1]) if kind in NAMED else {place: values[place] for place in PLACES[kind]}
