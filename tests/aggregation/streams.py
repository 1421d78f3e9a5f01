"""Streams of arbitrary events, with labels that are equal or have equal texts, and the values of a store's series."""

from __future__ import annotations

import enum
from http import HTTPStatus
from typing import Any

from hypothesis import strategies as st

from tests.tally import DEFAULT, Job, points
from trio_batchmetrics import (
    BackendRequest,
    CacheMetric,
    Counter,
    Gauge,
    HealthCheck,
    Histogram,
    HttpRequest,
    MetricEvent,
)
from trio_batchmetrics.abc import SeriesStore

__all__ = [
    "ALIKE",
    "ANY",
    "COUNTS",
    "DURATIONS",
    "EVENTS",
    "LABEL",
    "LABELS",
    "NAMES",
    "OVERFLOW",
    "STREAMS",
    "C",
    "Colour",
    "Fruit",
    "H",
    "Lonely",
    "Loud",
    "Number",
    "counters",
    "value_of",
]

OVERFLOW = (("otel.metric.overflow", "true"),)
C = ("c", "counter", "")
H = ("h", "histogram", "")


class Colour(enum.Enum):
    """An enum whose members aren't strings."""

    RED = 1


class Fruit(enum.StrEnum):
    """An enum whose members are strings."""

    PEAR = "pear"


class Number(enum.IntEnum):
    """An enum whose members are ints."""

    ONE = 1


class Loud(str):
    """A str that prints as something else; a label's text is its characters."""

    __slots__ = ()

    def __str__(self) -> str:
        """Return the text in capitals."""
        return self.upper() + "!"


class Lonely(str):
    """A str that equals nothing, not even itself, and has no hash."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

    def __eq__(self, other: object) -> bool:
        """Return that nothing is equal."""
        return False


ALIKE: list[Any] = [
    *(True, 1, 1.0, "1", "1.0", "true", "True", Number.ONE, Loud("1"), Lonely("1")),
    *(False, 0, 0.0, -0.0, "0", "0.0", "-0.0", "false"),
    *(None, "None", ""),
    *(HTTPStatus.OK, 200, "200", 2**70, str(2**70)),
    *("\ud800", "\udfff", "\ufffd", "\ud83d\ude00", "\U0001f600", "\ude00\ud83d"),
    *(Colour.RED, "Colour.RED", Fruit.PEAR, "pear", Loud("pear")),
]
"""Label values, some of which are equal and differ in text, and some of which differ and have equal texts."""

LABEL: st.SearchStrategy[Any] = st.sampled_from(ALIKE) | st.sampled_from([True, 1, "1", "true", 0, False, None])
NAMES: st.SearchStrategy[Any] = st.sampled_from(["a", "b", Loud("a"), "\ud800"])
LABELS = st.lists(
    st.tuples(st.sampled_from(["x", "y", "queue", 1, "\udfff", Loud("x")]), LABEL),
    max_size=3,
    unique_by=lambda pair: pair[0],
).map(dict[Any, Any])
DURATIONS = st.sampled_from([0, 0.005, 0.01, 0.02, 0.1, 0.10000001, 1, 1.28, 10.0, 10.5, 81.92, 82, 2**40])
COUNTS = st.sampled_from([0, 1, 2, 3, 0.5, 10**6])
ANY = st.sampled_from([*DEFAULT, -1, 0.25, 0.5, 1, 2, 3, 5.000001, 10_001, -0.0])
EVENTS: st.SearchStrategy[MetricEvent] = st.one_of(
    st.builds(HttpRequest, LABEL, LABEL, LABEL, DURATIONS),
    st.builds(BackendRequest, LABEL, LABEL, LABEL, DURATIONS, LABEL),
    st.builds(HealthCheck, LABEL, st.sampled_from([True, False, 1, 0, 0.5]), DURATIONS),
    st.builds(CacheMetric, LABEL, LABEL),
    st.builds(Counter, NAMES, LABELS, COUNTS),
    st.builds(Histogram, NAMES, LABELS, ANY),
    st.builds(Gauge, NAMES, LABELS, ANY),
    st.builds(Job, LABEL, ANY, COUNTS, ANY, DURATIONS, LABEL, LABEL),
)
STREAMS = st.lists(EVENTS, max_size=40)


def counters(first: int, last: int, value: float = 1) -> list[MetricEvent]:
    """Create events of as many series as there are ids."""
    return [Counter("c", {"n": n}, value) for n in range(first, last + 1)]


def value_of(store: SeriesStore, instrument: tuple[str, str, str], **labels: str) -> float:
    """Return the value of a series."""
    return points(store)[instrument][tuple(sorted(labels.items()))].value
