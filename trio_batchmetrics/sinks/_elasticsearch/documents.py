"""How the rows of each event class become documents: what of a document is kept, and what is written for each row.

A document is ``"@timestamp"``, then a text from ``"kind"`` up to where the fields begin, then what was measured::

    "kind":"HttpRequest","labels":{"http.route":"/api/data",…},"fields":{"duration":   0.15
    "kind":"HealthCheck","labels":{"backend":"db"},"fields":{                          "healthy":1.0,"duration":0.05

The text depends on the class and the labels alone, so it is kept. Where an event has one field, its name is part of the
text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import attrs

from ..._events import Limits, MetricEvent, Schema, compact_json, number_texts, text

__all__ = ["Shape", "Shapes", "Texts"]

_KEPT_MAX_CHARS = 8_000_000
"""Most characters of texts that are kept. Beyond, all are forgotten: 25 000 usual label sets, or 800 of 10 kB."""

_OVERHEAD = 300
"""What a text costs beside its characters, in bytes: its key, and its place in the dictionary."""

_Row = tuple[Any, ...]

_FIRST = 2
"""Where the fields begin in a row, behind class and timestamp."""


@attrs.frozen
class Shape:
    """How the rows of an event class are read."""

    key: Callable[[_Row], _Row]
    """The class and what tells its labels apart; equal only where the texts are."""
    values: Callable[[Sequence[_Row]], list[str]]
    """What some rows measured, as text: a number each, or the fields by name."""

    def columns(self, rows: Sequence[_Row]) -> tuple[list[_Row], list[str]]:
        """Return what tells each row's text apart, and what it measured."""
        return [*map(self.key, rows)], self.values(rows)


class Shapes(dict[type[MetricEvent], Shape]):
    """How each event class is read; found out once for each."""

    def __missing__(self, event_class: type[MetricEvent]) -> Shape:
        shape = self[event_class] = _shape(_schema(event_class))
        return shape


class Texts(dict[_Row, str]):
    """The texts, by key; not more of them than fit into a few megabytes."""

    def __init__(self, static: Mapping[str, str], limits: Limits | None = None) -> None:
        """Keep none yet.

        Args:
            static: labels on everything; an event's own win.
            limits: the largest labels that are taken.
        """
        super().__init__()
        self._static = static
        self._limits = limits or Limits()
        self._kept = 0

    def __missing__(self, key: _Row) -> str:
        written = _written(key[0], key[1:], self._static, self._limits)
        self._kept += len(written) + _OVERHEAD
        if self._kept > _KEPT_MAX_CHARS:
            self.clear()
            self._kept = len(written) + _OVERHEAD
        self[key] = written
        return written


def _schema(event_class: type[MetricEvent]) -> Schema:
    schema = event_class.__metric_schema__
    assert schema is not None  # noqa: S101 - a class that was never declared has no valid events, so no rows
    return schema


def _shape(schema: Schema) -> Shape:
    if schema.buckets:
        return Shape(_named_key, _points)
    at = {field: place for place, field in enumerate(schema.fields, _FIRST)}
    names = _measured(schema)
    places = [at[name] for name in names]
    form = ",".join(f"{compact_json(name)}:%s" for name in names).__mod__

    def values(rows: Sequence[_Row]) -> list[str]:
        columns = [_texts([row[place] for row in rows]) for place in places]
        if len(columns) == 1:
            return columns[0]
        return [*map(form, zip(*columns, strict=True))] if columns else [""] * len(rows)

    if schema.named:
        return Shape(_named_key, values)
    key: Any = itemgetter(0, *(at[label.field] for label in schema.labels)) if schema.labels else itemgetter(slice(1))
    return Shape(key, values)


def _texts(numbers: list[float]) -> list[str]:
    """Return numbers as text, every one a float: what maps types is to see no other."""
    return number_texts(numbers if {*map(type, numbers)} == {float} else [*map(float, numbers)])


def _measured(schema: Schema) -> list[str]:
    return [measure.field for measure in schema.measures if measure.field is not None]


def _named_key(row: _Row) -> _Row:
    event_class, _, name, labels, *_ = row
    return (event_class, name, *labels, *labels.values())


def _points(rows: Sequence[_Row]) -> list[str]:
    return [*map(_point, rows)]


def _point(row: _Row) -> str:
    count, total, bounds, counts = row[_FIRST + 2 :]
    floats = {
        "count": float(count),
        "sum": float(total),
        "bounds": [*map(float, bounds)],
        "counts": [*map(float, counts)],
    }
    return compact_json(floats)[1:-1]


def _written(event_class: type[MetricEvent], values: _Row, static: Mapping[str, str], limits: Limits) -> str:
    """Return the text of an event class and the values of its labels, or its name and its labels.

    Raises:
        ValueError: the labels exceed a limit.
    """
    schema = _schema(event_class)
    form: dict[str, Any] = {"kind": event_class.__name__}
    if schema.named:
        form["name"] = text(values[0])
        half = len(values) // 2 + 1
        pairs = [*zip(values[1:half], values[half:], strict=True)]
    else:
        pairs = [*zip((label.name for label in schema.labels), values, strict=True)]
    form["labels"] = labels = dict(static)
    for name, value in pairs:
        string = text(value)
        if string is not None:
            labels[text(name) or ""] = string
    limits.check(labels)
    measured = [] if schema.buckets else _measured(schema)
    only = f"{compact_json(measured[0])}:" if len(measured) == 1 else ""
    return f'{compact_json(form)[1:-1]},"fields":{{{only}'
