"""The prefixes of lines, built once per series: ``measurement,key=value value=``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable
from typing import Any

from ...abc import LIMITS, Schema, SinkContext, label_text
from .fields import bucket_names
from .limits import TagLimits
from .line_protocol import Dialect, series_key

__all__ = ["LinePrefixes", "PrefixBuilder", "ReplacementCounter"]

_CACHE_MAX_CHARS = 8_000_000
"""Maximum number of characters of all cached prefixes; their labels have as many again."""


class LinePrefixes(dict[Any, str]):
    """The prefixes of a class, by label set. A missing one is built on first access."""

    def __init__(self, build: Callable[[Any], str]) -> None:
        """Create an empty cache.

        Args:
            build: builds the prefix for a label set.
        """
        super().__init__()
        self._build = build

    def __missing__(self, labels: Any) -> str:
        """Build the prefix for a new label set."""
        prefix = self[labels] = self._build(labels)
        return prefix


class ReplacementCounter:
    """Counts the characters that were replaced, once per series for as long as the series is remembered."""

    def __init__(self) -> None:
        """Create a counter at zero."""
        self.count: int = 0
        self._counted: set[int] = set()
        """The hashes of the series counted so far: labels may be long."""

    def add(self, series: Hashable, count: int, max_series: int) -> None:
        """Count the replacements in a series.

        Args:
            series: identifies the series.
            count: the number of its replaced characters.
            max_series: the number of series to remember as counted.
        """
        if count and (digest := hash(series)) not in self._counted:
            if len(self._counted) >= max_series:
                self._counted.clear()
            self._counted.add(digest)
            self.count += count


class PrefixBuilder:
    """Builds and caches line prefixes in one dialect."""

    def __init__(
        self,
        dialect: Dialect | None,
        context: SinkContext,
        replacements: ReplacementCounter,
        limits: TagLimits | None = None,
    ) -> None:
        """Create a builder without prefixes.

        Args:
            dialect: the server's; None while it is unknown: prefixes are then built for InfluxDB 1 and 2.
            context: the collector's context.
            replacements: counts the replaced characters, except those that another dialect may support.
            limits: the largest names and labels that the server accepts.
        """
        self.dialect_dependent: set[str] = set()
        """The prefixes that depend on the dialect, while it is unknown."""
        self._dialect: Dialect | None = dialect
        self._replacements = replacements
        self._limits = limits or TagLimits(dialect)
        self._static = context.static_labels
        self._max_prefixes = 4 * context.max_series + 1000
        self.chars_built: int = 0
        """The number of characters of all prefixes built so far."""
        self._chars_forgotten = 0
        self._prefixes: dict[Hashable, list[LinePrefixes]] = {}

    def for_class(self, schema: Schema) -> list[LinePrefixes]:
        """Return the prefixes of a class by label set (``Columns.label_sets``), one mapping per measure."""
        known = self._prefixes.get(schema)
        if known is None:
            known = [LinePrefixes(self._prefix_function(schema, measure.name)) for measure in schema.measures]
            self._prefixes[schema] = known
        return known

    def for_points(self, schema: Schema, bounds: tuple[float, ...]) -> LinePrefixes:
        """Return the prefixes of histogram points with these bounds, by label set."""
        key = (schema, bounds)
        known = self._prefixes.get(key)
        if known is None:
            known = self._prefixes[key] = [
                LinePrefixes(self._prefix_function(schema, "", ["count", "sum", *bucket_names(bounds)]))
            ]
        return known[0]

    def forget(self) -> None:
        """Clear the cache if it is too large: label sets beyond the cap, in other orders, or with long labels."""
        too_many = sum(len(prefixes) for known in self._prefixes.values() for prefixes in known) > self._max_prefixes
        if too_many or self.chars_built - self._chars_forgotten > _CACHE_MAX_CHARS:
            self._chars_forgotten = self.chars_built
            self._prefixes = {}
            self.dialect_dependent.clear()

    def prefix(self, name: str, pairs: Iterable[tuple[object, object]], fields: Collection[str] = ("value",)) -> str:
        """Return the prefix of a series, up to the first field's ``=``.

        Args:
            name: the measurement.
            pairs: labels and values; they override static labels. A label whose value is None counts as absent.
            fields: the names of the line's fields.

        Raises:
            ValueError: the server does not accept such a large name or labels; the message says why.
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
        prefix = f"{key.text} {next(iter(fields))}="
        self.chars_built += len(prefix)
        dialect_dependent = (
            key.dialect_dependent or self._limits.possibly_broken_by(measurement, labels, fields) is not None
        )
        if dialect_dependent and self._dialect is None:
            self.dialect_dependent.add(prefix)
        else:
            self._replacements.add((name, tuple(sorted(labels.items())), *fields), key.replaced, self._max_prefixes)
        return prefix

    def _prefix_function(self, schema: Schema, name: str, fields: Collection[str] = ("value",)) -> Callable[[Any], str]:
        if schema.named:
            return lambda key: self.prefix(key[0], schema.label_pairs(key), fields)
        return lambda key: self.prefix(name, schema.label_pairs(key), fields)
