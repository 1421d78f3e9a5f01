"""What lines begin with, made once for each series: ``measurement,key=value value=``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable
from typing import Any

from ...abc import LIMITS, Schema, SinkContext, label_text
from .fields import bucket_names
from .limits import TagLimits
from .line_protocol import Dialect, series_key

__all__ = ["HeadMaker", "Heads", "Losses"]

_KEPT_MAX_CHARS = 8_000_000
"""Most characters of heads that are kept, for as many as there may be; labels have as many again."""


class Heads(dict[Any, str]):
    """The heads of a class, by labels; one that is not there is made, and then it is."""

    def __init__(self, make: Callable[[Any], str]) -> None:
        """Have none yet.

        Args:
            make: makes the head for labels.
        """
        super().__init__()
        self._make = make

    def __missing__(self, labels: Any) -> str:
        """Make the head for labels that are met for the first time."""
        head = self[labels] = self._make(labels)
        return head


class Losses:
    """Counts the characters that could not be carried, once in each series as long as that is remembered."""

    def __init__(self) -> None:
        """Have met none yet."""
        self.count: int = 0
        self._met: set[int] = set()
        """Their hashes: labels may be long."""

    def add(self, series: Hashable, count: int, most: int) -> None:
        """Count those of a series.

        Args:
            series: what identifies it.
            count: how many it has.
            most: of how many series to remember that they were counted.
        """
        if count and (met := hash(series)) not in self._met:
            if len(self._met) >= most:
                self._met.clear()
            self._met.add(met)
            self.count += count


class HeadMaker:
    """Makes heads in one dialect, and remembers them."""

    def __init__(
        self, dialect: Dialect | None, context: SinkContext, losses: Losses, limits: TagLimits | None = None
    ) -> None:
        """Have made none yet.

        Args:
            dialect: the server's; None while it is not known: then as for InfluxDB 1 and 2.
            context: what the collector told.
            losses: what could not be carried is counted there; not what another dialect may carry.
            limits: the largest names and labels that the server takes.
        """
        self.doubts: set[str] = set()
        """Heads that depend on the dialect, while that is not known."""
        self._dialect: Dialect | None = dialect
        self._losses = losses
        self._limits = limits or TagLimits(dialect)
        self._static = context.static_labels
        self._most = 4 * context.max_series + 1000
        self.made: int = 0
        """Characters of all heads that were made."""
        self._forgotten = 0
        self._heads: dict[Hashable, list[Heads]] = {}

    def of_class(self, schema: Schema) -> list[Heads]:
        """Return the heads of a class, by label set (``Columns.label_sets``): one for each of its measures."""
        known = self._heads.get(schema)
        if known is None:
            known = [Heads(self._maker(schema, measure.name)) for measure in schema.measures]
            self._heads[schema] = known
        return known

    def point(self, schema: Schema, bounds: tuple[float, ...]) -> Heads:
        """Return the heads of histograms that are counted by bucket, by label set."""
        key = (schema, bounds)
        known = self._heads.get(key)
        if known is None:
            known = self._heads[key] = [Heads(self._maker(schema, "", ["count", "sum", *bucket_names(bounds)]))]
        return known[0]

    def forget(self) -> None:
        """Forget all, should there be too much: label sets beyond the cap, the same in other orders, long ones."""
        many = sum(len(heads) for known in self._heads.values() for heads in known) > self._most
        if many or self.made - self._forgotten > _KEPT_MAX_CHARS:
            self._forgotten = self.made
            self._heads = {}
            self.doubts.clear()

    def head(self, name: str, pairs: Iterable[tuple[object, object]], fields: Collection[str] = ("value",)) -> str:
        """Return the head of a series, up to the first field's ``=``.

        Args:
            name: the measurement.
            pairs: label and value, over the static labels; a value that is None is as good as not there.
            fields: the names of the line's fields.

        Raises:
            ValueError: the server takes no name and labels that are as large; the message says why.
        """
        labels = dict(self._static)
        for label, value in pairs:
            string = label_text(value)
            if string is not None:
                labels[label_text(label) or ""] = string
        measurement = label_text(name) or ""
        key = series_key(measurement, labels, self._dialect or "influxdb", fields)
        broken = self._limits.broken_by(measurement, labels, fields, key.text)
        if broken is not None:
            raise ValueError(f"{LIMITS}: {broken}")
        head = f"{key.text} {next(iter(fields))}="
        self.made += len(head)
        doubted = key.doubtful or self._limits.doubted_by(measurement, labels, fields) is not None
        if doubted and self._dialect is None:
            self.doubts.add(head)
        else:
            self._losses.add((name, tuple(sorted(labels.items())), *fields), key.replaced, self._most)
        return head

    def _maker(self, schema: Schema, name: str, fields: Collection[str] = ("value",)) -> Callable[[Any], str]:
        if schema.named:
            return lambda key: self.head(key[0], schema.label_pairs(key), fields)
        return lambda key: self.head(name, schema.label_pairs(key), fields)
