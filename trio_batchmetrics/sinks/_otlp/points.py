"""Series to OTLP's data points, in Protocol Buffers.

How this works
==============

Everything about a data point that stays the same is encoded once and kept next to the series: its length, attributes,
start time and bounds. The rest has a fixed size. So a point costs a look-up and one ``struct.pack``.

Source: ``opentelemetry/proto/metrics/v1/metrics.proto``, version 1.9. The numbers of fields are next to their names.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from ...abc import Kind, Measure, Series, label_text
from .. import _protobuf as protobuf

__all__ = ["EncodedMetric", "Piece", "SeriesSlot", "SeriesSlots", "attribute", "pieces"]

_POINTS = 100
"""The number of points per piece: 0.1 ms for known series, 0.7 ms for histograms that are all new (measured)."""

_NAME, _DESCRIPTION, _UNIT, _GAUGE, _SUM, _HISTOGRAM = 1, 2, 3, 5, 7, 9
"""Fields of ``Metric``."""

_DATA_POINTS, _TEMPORALITY, _MONOTONIC = 1, 2, 3
"""Fields of ``Gauge``, ``Sum`` and ``Histogram``."""

_CUMULATIVE = 2
"""``AGGREGATION_TEMPORALITY_CUMULATIVE``."""

_START, _TIME, _AS_DOUBLE, _NUMBER_ATTRIBUTES = 2, 3, 4, 7
"""Fields of ``NumberDataPoint``."""

_COUNT, _TOTAL, _BUCKET_COUNTS, _BOUNDS, _HISTOGRAM_ATTRIBUTES = 4, 5, 6, 7, 9
"""Fields of ``HistogramDataPoint``; start and time are as in ``NumberDataPoint``."""

_KEY, _VALUE = 1, 2
"""Fields of ``KeyValue``."""

_STRING, _BOOL, _INT, _DOUBLE = 1, 2, 3, 4
"""Fields of ``AnyValue``."""

_INT64 = range(-(2**63), 2**63)

_TIME_KEY, _AS_DOUBLE_KEY, _COUNT_KEY, _TOTAL_KEY = (
    protobuf.key(number, protobuf.FIXED64) for number in (_TIME, _AS_DOUBLE, _COUNT, _TOTAL)
)

_FIXED_FIELD_BYTES = 9
"""The size of a field with a number of eight bytes."""

_NUMBER = struct.Struct("<cQcd")
"""The fields of a number's data point that change: its time and its value."""


def attribute(number: int, name: str, value: object) -> bytes:
    """Return an attribute as a field of a message. Its value keeps the type: str, bool, int or float.

    Args:
        number: the field's number in the message.
        name: its name.
        value: its value; any other is converted to text, as is an int beyond 64 bits.
    """
    if isinstance(value, bool):
        content = protobuf.signed(_BOOL, value)
    elif isinstance(value, int) and value in _INT64:
        content = protobuf.signed(_INT, value)
    elif isinstance(value, float):
        content = protobuf.double(_DOUBLE, value)
    else:
        content = protobuf.message(_STRING, _utf8(label_text(value) or ""))
    return protobuf.message(number, protobuf.message(_KEY, _utf8(name)) + protobuf.message(_VALUE, content))


def _utf8(text: str) -> bytes:
    """Return a text in UTF-8; lone surrogates, which no message may contain, become question marks."""
    return text.encode(errors="replace")


class EncodedMetric:
    """An instrument: everything in its ``Metric`` but the data points."""

    __slots__ = ("_data", "_head", "end")

    def __init__(self, instrument: Measure) -> None:
        """Encode an instrument: its name, description, unit and kind."""
        head = protobuf.message(_NAME, _utf8(instrument.name))
        if instrument.description:
            head += protobuf.message(_DESCRIPTION, _utf8(instrument.description))
        if instrument.unit:
            head += protobuf.message(_UNIT, _utf8(instrument.unit))
        self._head = head
        self._data = {Kind.COUNTER: _SUM, Kind.GAUGE: _GAUGE, Kind.HISTOGRAM: _HISTOGRAM}[instrument.kind]
        end = b"" if instrument.kind is Kind.GAUGE else protobuf.signed(_TEMPORALITY, _CUMULATIVE)
        self.end: bytes = end + (protobuf.signed(_MONOTONIC, True) if instrument.kind is Kind.COUNTER else b"")
        """What follows the data points: whether they are cumulative, and whether they only rise."""

    def beginning(self, size: int) -> bytes:
        """Return what precedes data points of this size in bytes."""
        return self._head + protobuf.key(self._data, protobuf.BYTES) + protobuf.varint(size + len(self.end))


@lru_cache(maxsize=100)
def _buckets(count: int) -> tuple[Callable[..., bytes], bytes]:
    """Return a function that packs the fields of a histogram's data point that change, and what its counts begin with.

    Args:
        count: the number of buckets.
    """
    packed = _packed(_BUCKET_COUNTS, count)
    return struct.Struct(f"<cQcQcd{len(packed)}s{count}Q").pack, packed


def _packed(number: int, count: int) -> bytes:
    """Return the beginning of a field with some packed numbers of eight bytes."""
    return protobuf.key(number, protobuf.BYTES) + protobuf.varint(8 * count)


class SeriesSlot:
    """The constant part of the data points of a series: it is encoded with the first of them."""

    __slots__ = ("_instrument", "_labels", "head")

    def __init__(self, instrument: Measure, labels: Mapping[str, Any]) -> None:
        """Create the slot of a series.

        Args:
            instrument: its instrument, with the bounds that apply.
            labels: its labels.
        """
        self._instrument = instrument
        self._labels = labels
        self.head: bytes = b""
        """The field's key, the length of the data point, and all of its fields that never change. Empty at first."""

    def encode(self, started: int) -> bytes:
        """Encode the constant part.

        Args:
            started: the start time of all of its data points.
        """
        histogram = self._instrument.kind is Kind.HISTOGRAM
        number = _HISTOGRAM_ATTRIBUTES if histogram else _NUMBER_ATTRIBUTES
        constant = [attribute(number, name, value) for name, value in self._labels.items() if name]
        if self._instrument.kind is not Kind.GAUGE:  # the value of a gauge has no beginning
            constant.append(protobuf.fixed64(_START, started))
        size = _NUMBER.size
        if histogram:
            bounds = self._instrument.default_bounds
            constant += [_packed(_BOUNDS, len(bounds)), struct.pack(f"<{len(bounds)}d", *bounds)]
            size = 3 * _FIXED_FIELD_BYTES + len(_packed(_BUCKET_COUNTS, len(bounds) + 1)) + 8 * (len(bounds) + 1)
        self.head = b"".join(
            (protobuf.key(_DATA_POINTS, protobuf.BYTES), protobuf.varint(sum(map(len, constant)) + size), *constant)
        )
        return self.head


class SeriesSlots:
    """Keeps a slot next to each series; an observer of the store."""

    def added(self, instrument: Measure, labels: Mapping[str, Any]) -> SeriesSlot:
        """Return the slot of a new series."""
        return SeriesSlot(instrument, labels)

    def removed(self, instrument: Measure, slot: SeriesSlot) -> None:
        """Do nothing: the slot goes with the series."""


class Piece(NamedTuple):
    """Some data points of one instrument."""

    metric: EncodedMetric
    first: int
    """The position of the first one's series in the snapshot."""
    points: list[bytes]
    """Each data point, as a field of the instrument's data."""
    size: int
    """How many bytes they have."""

    def between(self, start: int, stop: int) -> Piece:
        """Return the data points ``start:stop``."""
        points = self.points[start:stop]
        return Piece(self.metric, self.first + start, points, sum(map(len, points)))


def pieces(live: Iterable[tuple[Measure, Series]], now: int) -> Iterator[Piece]:
    """Yield some data points at a time, all of one instrument.

    Args:
        live: instrument and series of each data point, with a :class:`SeriesSlot`.
        now: the time of all of them, in nanoseconds since 1970.
    """
    current: Measure | None = None
    metric: EncodedMetric | None = None
    encoded: list[bytes] = []
    first = 0
    number = _NUMBER.pack
    for at, (instrument, series) in enumerate(live):
        if metric is None or instrument is not current or len(encoded) == _POINTS:
            if metric is not None:
                yield Piece(metric, first, encoded, sum(map(len, encoded)))
            if metric is None or instrument is not current:
                current, metric = instrument, EncodedMetric(instrument)
            encoded, first = [], at
        slot: SeriesSlot = series.slot
        head = slot.head or slot.encode(min(series.started, now - 1))  # it may have begun during this push
        if counts := series.counts:
            pack, packed = _buckets(len(counts))
            values = pack(_TIME_KEY, now, _COUNT_KEY, sum(counts), _TOTAL_KEY, series.value, packed, *counts)
        else:
            values = number(_TIME_KEY, now, _AS_DOUBLE_KEY, series.value)
        encoded.append(head + values)
    if metric is not None:
        yield Piece(metric, first, encoded, sum(map(len, encoded)))
