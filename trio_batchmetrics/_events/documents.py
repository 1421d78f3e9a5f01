"""The JSON form of whole batches, written by column: one writer for all sinks that store events.

How this works
==============

A document is ``"@timestamp"``, a *prefix* from ``"kind"`` up to the fields, and the measured values::

    "kind":"HttpRequest","labels":{"http.route":"/api/data",…},"fields":{"duration":   0.15
    "kind":"HealthCheck","labels":{"backend":"db"},"fields":{                          "healthy":1.0,"duration":0.05

The prefix depends only on the class and the labels, so it is cached by label set. If an event has one field, the
field's name is part of the prefix. Timestamps are written per second. So an event costs one look-up, and the other
steps run in C. All sinks of a collector share the cache, whose size is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from operator import add
from typing import Any

from .as_json import compact_json, rfc3339
from .batch import Batch, Origin, origin_of
from .columns import Columns
from .limits import Limits
from .numbers import float_texts, padded_texts
from .schema import Schema
from .values import text

__all__ = ["JSONWriter", "by_second", "json_lines", "json_writer", "nanosecond_texts"]

_CACHE_MAX_BYTES = 8_000_000
"""The size above which the cache is cleared: 25 000 usual label sets."""

_CACHED_TEXT_MAX_CHARS = 4_000
"""Maximum length of a cached text. A longer one is built again for each event."""

_OVERHEAD = 300
"""The bytes per cached text in addition to its characters and those of its labels: the key, and the dict's entry."""

_NS = 1_000_000_000

_LINE_END = "}}\n"

Numbers = Callable[[Sequence[float]], list[str]]
"""Converts numbers to text."""


class JSONWriter:
    """Writes the JSON form of events by column, for one set of static labels and limits.

    Get one from :meth:`~trio_batchmetrics.abc.SinkContext.json_writer`: all sinks of a collector share it.
    """

    def __init__(self, static: Mapping[str, str], limits: Limits | None = None) -> None:
        """Create a writer with an empty cache.

        Args:
            static: labels of every event; an event's own label wins.
            limits: the largest labels that are accepted; None: any.
        """
        self._static = static
        self._limits = limits or Limits()
        self._cached_bytes = 0
        self._prefixes: dict[Schema, _TextCache] = {}
        self._labels: dict[Schema, _TextCache] = {}

    def __len__(self) -> int:
        """Return the approximate size of the cache in bytes, keys included."""
        return self._cached_bytes

    def lines(self, batch: Batch) -> bytes:
        """Return the JSON form of each event as one line, in UTF-8: see :func:`json_lines`.

        Raises:
            ValueError: an event is invalid, or labels exceed a limit.
            OverflowError: a timestamp is beyond the calendar; some such raise an ``OSError``.
        """
        timestamps = batch.timestamps
        bodies = self.bodies(batch)
        written: list[str] = []
        for second, run in by_second(timestamps):
            cells = [""] * (4 * len(bodies[run]))
            cells[0::4] = [_line_start(second)] * len(bodies[run])
            cells[1::4] = nanosecond_texts(timestamps[run], second)
            cells[2::4] = ['Z",'] * len(bodies[run])
            cells[3::4] = bodies[run]
            written += cells
        return ("".join(written)[len(_LINE_END) :] + _LINE_END).encode() if written else b""

    def bodies(self, batch: Batch, numbers: Numbers = float_texts) -> list[str]:
        """Return the JSON form of each event from ``"kind"`` on, without the final two braces.

        Args:
            batch: the events.
            numbers: converts numbers to text.

        Raises:
            ValueError: an event is invalid, or labels exceed a limit.
        """
        found = batch.columns()
        if len(found) == 1:
            return self._bodies(found[0], numbers)
        bodies = [""] * len(batch)
        for columns in found:
            for at, body in zip(columns.positions, self._bodies(columns, numbers), strict=True):
                bodies[at] = body
        return bodies

    def labels(self, columns: Columns) -> list[str]:
        """Return the labels of each event as a JSON object, static labels included.

        Raises:
            ValueError: labels exceed a limit.
        """
        return self._cached_texts(self._labels, _labels, columns)

    def fields(self, columns: Columns, numbers: Numbers = float_texts) -> list[str]:
        """Return the measured fields of each event as a JSON object, without its braces.

        Args:
            columns: the events.
            numbers: converts numbers to text.
        """
        if columns.schema.buckets:
            return [*map(_point, *columns.values)]
        form = ",".join(f"{compact_json(measure.field)}:%s" for measure in columns.schema.measured)
        if not form:
            return [""] * len(columns)
        return [*map(form.__mod__, zip(*map(numbers, columns.values), strict=True))]

    def _bodies(self, columns: Columns, numbers: Numbers) -> list[str]:
        prefixes = self._cached_texts(self._prefixes, _prefix, columns)
        if len(columns.values) == 1:  # its name is in the prefix
            return [*map(add, prefixes, numbers(columns.values[0]))]
        return [*map(add, prefixes, self.fields(columns, numbers))] if columns.values else prefixes

    def _cached_texts(self, caches: dict[Schema, _TextCache], write: _Write, columns: Columns) -> list[str]:
        texts = caches.get(columns.schema)
        if texts is None:
            texts = caches[columns.schema] = _TextCache(self, write, columns.schema)
            self._cached_bytes += _OVERHEAD
        found = [*map(texts.__getitem__, columns.label_sets)]
        if self._cached_bytes > _CACHE_MAX_BYTES:
            self._prefixes.clear()
            self._labels.clear()
            self._cached_bytes = 0
        return found

    def texts_of(self, schema: Schema, key: tuple[Any, ...]) -> dict[str, str]:
        """Return the labels of one of ``Columns.label_sets`` as text, static labels included.

        Raises:
            ValueError: they exceed a limit.
        """
        labels = dict(self._static)
        for name, value in schema.label_pairs(key):
            string = text(value)
            if string is not None:
                labels[name] = string
        self._limits.check(labels)
        return labels

    def keep(self, written: str) -> bool:
        """Return whether to cache a text; if so, count its size. For the library's own use."""
        if len(written) > _CACHED_TEXT_MAX_CHARS:
            return False
        self._cached_bytes += 2 * (len(written) if written.isascii() else 4 * len(written)) + _OVERHEAD
        return True


class _TextCache(dict[tuple[Any, ...], str]):
    """The texts of one class by label set. A missing text is built on first access."""

    __slots__ = ("_schema", "_write", "_writer")

    def __init__(self, writer: JSONWriter, write: _Write, schema: Schema) -> None:
        super().__init__()
        self._writer = writer
        self._write = write
        self._schema = schema

    def __missing__(self, key: tuple[Any, ...]) -> str:
        written = self._write(self._writer, self._schema, key)
        if self._writer.keep(written):
            self[key] = written
        return written


_Write = Callable[[JSONWriter, Schema, tuple[Any, ...]], str]


def _labels(writer: JSONWriter, schema: Schema, key: tuple[Any, ...]) -> str:
    return compact_json(writer.texts_of(schema, key))


def _prefix(writer: JSONWriter, schema: Schema, key: tuple[Any, ...]) -> str:
    form: dict[str, Any] = {"kind": schema.event_class.__name__}
    if schema.named:
        form["name"] = text(key[0])
    form["labels"] = writer.texts_of(schema, key)
    measured = [measure.field for measure in schema.measured]
    only_field = f"{compact_json(measured[0])}:" if len(measured) == 1 else ""
    return f'{compact_json(form)[1:-1]},"fields":{{{only_field}'


def _point(count: int, total: float, bounds: Sequence[float], counts: Sequence[int]) -> str:
    floats = {
        "count": float(count),
        "sum": float(total),
        "bounds": [*map(float, bounds)],
        "counts": [*map(float, counts)],
    }
    return compact_json(floats)[1:-1]


def json_writer(origin: Origin, limits: Limits | None = None) -> JSONWriter:
    """Return the writer that all sinks of a collector share.

    Args:
        origin: the data that the collector's batches share.
        limits: the largest labels that are accepted; None: any.
    """
    writer: JSONWriter | None = origin.writers.get(limits)
    if writer is None:
        writer = origin.writers[limits] = JSONWriter(origin.static_labels, limits)
    return writer


def json_lines(batch: Batch, limits: Limits | None = None) -> bytes:
    r"""Return the JSON form of a batch's events, one line per event, in UTF-8.

    Each line equals the result of :func:`json_line` with static labels, in less than a tenth of the time.

    Args:
        batch: the events.
        limits: the largest labels that are accepted; None: any.

    Raises:
        ValueError: an event is invalid, or labels exceed a limit.
        OverflowError: a timestamp is beyond the calendar; some such raise an ``OSError``.

    Example:
        >>> from trio_batchmetrics import Batch, CacheMetric
        >>> from trio_batchmetrics.abc import json_lines
        >>> json_lines(Batch([CacheMetric("redis", "hit", timestamp=0)])).decode().split(',"labels"')[0]
        '{"@timestamp":"1970-01-01T00:00:00.000000000Z","kind":"CacheMetric"'
    """
    return json_writer(origin_of(batch), limits).lines(batch)


@lru_cache(maxsize=256)
def _line_start(second: int) -> str:
    """Return the text from the end of the previous line to the nanoseconds, for the lines within a second."""
    return f'{_LINE_END}{{"@timestamp":"{rfc3339(second * _NS)[:-10]}'


def nanosecond_texts(timestamps: Sequence[int], second: int) -> list[str]:
    """Return the nine decimal digits of timestamps within a second.

    Args:
        timestamps: nanoseconds since 1970.
        second: the second that contains all of them.
    """
    start = second * _NS
    return padded_texts([timestamp - start for timestamp in timestamps], 9)


def by_second(timestamps: Sequence[int]) -> Iterator[tuple[int, slice]]:
    """Yield each run of timestamps within one second, as the second since 1970 and a slice.

    Args:
        timestamps: nanoseconds since 1970, in any order.
    """
    if not timestamps:
        return
    second = min(timestamps) // _NS
    if second == max(timestamps) // _NS:  # nearly always, if there are many
        yield second, slice(0, len(timestamps))
        return
    start = 0
    for second, run in groupby(timestamp // _NS for timestamp in timestamps):
        stop = start + sum(1 for _ in run)
        yield second, slice(start, stop)
        start = stop
