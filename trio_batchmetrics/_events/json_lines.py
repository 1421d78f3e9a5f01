"""The JSON form of whole batches, written by column: one writer for all sinks that store events.

How this works
==============

A document is ``"@timestamp"``, then a *head* from ``"kind"`` up to where the fields begin, then the measured values::

    "kind":"HttpRequest","labels":{"http.route":"/api/data",…},"fields":{"duration":   0.15
    "kind":"HealthCheck","labels":{"backend":"db"},"fields":{                          "healthy":1.0,"duration":0.05

The head depends only on the class and the labels, so it is kept, by label set. If an event has one field, its name is
part of the head. Timestamps are written per second. So an event costs a look-up, and otherwise steps in C. The
texts of one collector are kept in one place (``Batch.origin``), for all sinks, and are bounded by their size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from operator import add
from typing import Any

from .as_json import compact_json, rfc3339
from .batch import Batch, Origin
from .columns import Columns
from .limits import Limits
from .numbers import float_texts, padded_texts
from .schema import Schema
from .values import text

__all__ = ["JSONTexts", "fields_texts", "json_lines", "json_texts", "lines_with", "nanoseconds", "seconds_of"]

_KEPT_MAX_BYTES = 8_000_000
"""The most that texts may take before all are forgotten: 25 000 usual label sets, or 800 of 10 kB."""

_OVERHEAD = 300
"""The bytes that a text takes beyond its characters and those of its labels: the key, and the place in the dict."""

_NS = 1_000_000_000

_Texts = Callable[[Sequence[float]], list[str]]


class JSONTexts:
    """Keeps the texts of label sets, with the same static labels and limits."""

    def __init__(self, static: Mapping[str, str], limits: Limits | None = None) -> None:
        """Create an empty collection of texts.

        Args:
            static: labels of every event; an event's own label wins.
            limits: the largest labels that are accepted.
        """
        self._static = static
        self._limits = limits or Limits()
        self._kept_bytes = 0
        self._heads: dict[Schema, _Kept] = {}
        self._labels: dict[Schema, _Kept] = {}

    def __len__(self) -> int:
        """Return roughly how many bytes the texts and their keys take."""
        return self._kept_bytes

    def bodies(self, batch: Batch, numbers: _Texts = float_texts) -> list[str]:
        """Return the documents of a batch, from ``"kind"`` on, without the braces at the end.

        Args:
            batch: the events.
            numbers: converts numbers to text.

        Raises:
            ValueError: labels exceed a limit.
        """
        found = batch.columns()
        if len(found) == 1:
            return self._bodies(found[0], numbers)
        bodies = [""] * len(batch)
        for columns in found:
            for at, body in zip(columns.positions, self._bodies(columns, numbers), strict=True):
                bodies[at] = body
        return bodies

    def _bodies(self, columns: Columns, numbers: _Texts) -> list[str]:
        heads = self._lookup(self._heads, _head, columns)
        schema = columns.schema
        if schema.buckets:
            return [*map(add, heads, map(_point, *columns.values))]
        if len(columns.values) == 1:
            return [*map(add, heads, numbers(columns.values[0]))]
        return [*map(add, heads, fields_texts(columns, numbers))] if columns.values else heads

    def labels(self, columns: Columns) -> list[str]:
        """Return the labels of each event as a JSON object, static labels included.

        Raises:
            ValueError: labels exceed a limit.
        """
        return self._lookup(self._labels, _labels, columns)

    def _lookup(self, kept: dict[Schema, _Kept], write: _Write, columns: Columns) -> list[str]:
        texts = kept.get(columns.schema)
        if texts is None:
            texts = kept[columns.schema] = _Kept(self, write, columns.schema)
        found = [*map(texts.__getitem__, columns.label_sets)]
        if self._kept_bytes > _KEPT_MAX_BYTES:
            self._heads.clear()
            self._labels.clear()
            self._kept_bytes = 0
        return found

    def texts_of(self, schema: Schema, key: tuple[Any, ...]) -> dict[str, str]:
        """Return the labels of a label set as text, static ones included.

        Raises:
            ValueError: they exceed a limit.
        """
        labels = dict(self._static)
        size = _OVERHEAD
        for name, value in schema.label_pairs(key):
            string = text(value)
            if string is not None:
                labels[name] = string
                size += len(name) + len(string)
        self._limits.check(labels)
        self._kept_bytes += size
        return labels

    def count(self, written: str) -> str:
        """Count a text that is kept from now on; return it."""
        self._kept_bytes += len(written)
        return written


class _Kept(dict[tuple[Any, ...], str]):
    """The texts of one class, by label set; a missing one is written."""

    __slots__ = ("_schema", "_texts", "_write")

    def __init__(self, texts: JSONTexts, write: _Write, schema: Schema) -> None:
        super().__init__()
        self._texts = texts
        self._write = write
        self._schema = schema

    def __missing__(self, key: tuple[Any, ...]) -> str:
        written = self[key] = self._texts.count(self._write(self._texts, self._schema, key))
        return written


_Write = Callable[[JSONTexts, Schema, tuple[Any, ...]], str]


def _labels(texts: JSONTexts, schema: Schema, key: tuple[Any, ...]) -> str:
    return compact_json(texts.texts_of(schema, key))


def _head(texts: JSONTexts, schema: Schema, key: tuple[Any, ...]) -> str:
    form: dict[str, Any] = {"kind": schema.event_class.__name__}
    if schema.named:
        form["name"] = text(key[0])
    form["labels"] = texts.texts_of(schema, key)
    measured = [measure.field for measure in schema.measured]
    only = f"{compact_json(measured[0])}:" if len(measured) == 1 else ""
    return f'{compact_json(form)[1:-1]},"fields":{{{only}'


def fields_texts(columns: Columns, numbers: _Texts = float_texts) -> list[str]:
    """Return the measured fields of each event as members of a JSON object, without its braces."""
    if columns.schema.buckets:
        return [*map(_point, *columns.values)]
    form = ",".join(f"{compact_json(measure.field)}:%s" for measure in columns.schema.measured)
    if not form:
        return [""] * len(columns)
    texts = map(numbers, columns.values)
    return [*map(form.__mod__, zip(*texts, strict=True))]


def _point(count: int, total: float, bounds: Sequence[float], counts: Sequence[int]) -> str:
    floats = {
        "count": float(count),
        "sum": float(total),
        "bounds": [*map(float, bounds)],
        "counts": [*map(float, counts)],
    }
    return compact_json(floats)[1:-1]


def json_texts(origin: Origin, limits: Limits | None = None) -> JSONTexts:
    """Return the texts that all sinks of a collector share, for these limits.

    Args:
        origin: what the collector's batches share.
        limits: the largest labels that are accepted.
    """
    texts: JSONTexts | None = origin.kept.get(limits)
    if texts is None:
        texts = origin.kept[limits] = JSONTexts(origin.static_labels, limits)
    return texts


def json_lines(batch: Batch, limits: Limits | None = None) -> bytes:
    r"""Return the JSON form of a batch's events, one line per event, in UTF-8.

    Each line is what :func:`json_line` returns, static labels included, at a tenth of the cost.

    Args:
        batch: the events.
        limits: the largest labels that are accepted; None: any.

    Raises:
        ValueError: an event is invalid, or labels exceed a limit.
        OverflowError: a timestamp is beyond the calendar.

    Example:
        >>> from trio_batchmetrics import Batch, CacheMetric
        >>> from trio_batchmetrics.abc import json_lines
        >>> json_lines(Batch([CacheMetric("redis", "hit", timestamp=0)])).decode().split(',"labels"')[0]
        '{"@timestamp":"1970-01-01T00:00:00.000000000Z","kind":"CacheMetric"'
    """
    return lines_with(json_texts(batch.origin, limits), batch)


def lines_with(texts: JSONTexts, batch: Batch) -> bytes:
    """Return the same, with these texts instead of the batch's own."""
    timestamps = batch.timestamps
    bodies = texts.bodies(batch)
    written: list[str] = []
    for second, run in seconds_of(timestamps):
        cells = [""] * (4 * len(run))
        cells[0::4] = [_line_start(second)] * len(run)
        cells[1::4] = nanoseconds(timestamps[run.start : run.stop], second)
        cells[2::4] = ['Z",'] * len(run)
        cells[3::4] = bodies[run.start : run.stop]
        written += cells
    return ("".join(written)[len(_LINE_END) :] + _LINE_END).encode() if written else b""


_LINE_END = "}}\n"


@lru_cache(maxsize=256)
def _line_start(second: int) -> str:
    """Return the text from the end of the line before up to the nanoseconds, for the lines within a second."""
    return f'{_LINE_END}{{"@timestamp":"{rfc3339(second * _NS)[:-10]}'


def nanoseconds(timestamps: Sequence[int], second: int) -> list[str]:
    """Return the last nine digits of timestamps within a second."""
    start = second * _NS
    return padded_texts([timestamp - start for timestamp in timestamps], 9)


def seconds_of(timestamps: Sequence[int]) -> Iterator[tuple[int, range]]:
    """Yield each run of timestamps within one second: the second, and the positions."""
    if not timestamps:
        return
    second = min(timestamps) // _NS
    if second == max(timestamps) // _NS:  # nearly always, where there are many
        yield second, range(len(timestamps))
        return
    start = 0
    for second, run in groupby(timestamp // _NS for timestamp in timestamps):
        stop = start + sum(1 for _ in run)
        yield second, range(start, stop)
        start = stop
