"""The largest names and labels that the servers take that read line protocol."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..._events import Limits
from .line_protocol import Dialect

__all__ = ["VICTORIAMETRICS", "TagLimits"]

VICTORIAMETRICS = Limits(label_value_bytes=4096, label_name_bytes=256, labels=40)
"""VictoriaMetrics' defaults (``-maxLabelValueLen``, ``-maxLabelNameLen``, ``-maxLabelsPerTimeseries`` of 1.151). It
answers 204 to a line that exceeds one, and ignores the line."""

_VICTORIAMETRICS_LONGEST = 65_501
"""Most bytes of a series in VictoriaMetrics, ``db`` included: its name, and for each label name, value and 2 (tried
with 1.151, which answers 204 all the same)."""

_LONGEST = 65_535
"""Most bytes of measurement, tags and field (``models.MaxKeyLength`` of InfluxDB 1 and 2)."""

_BETWEEN = 4
"""Bytes that InfluxDB puts between a series and its field (``seriesKeySize``)."""


class TagLimits:
    """What one server takes."""

    def __init__(self, dialect: Dialect | None, limits: Limits | None = None, database: str | None = None) -> None:
        """Take what this server takes.

        Args:
            dialect: the server's; None while it is not known.
            limits: the user's own; None: those that are known of the dialect.
            database: what lines are written to; VictoriaMetrics makes a label ``db`` of it.
        """
        self._dialect = dialect
        self._given = limits
        self.database: str | None = database
        """What lines are written to."""
        self._limits = limits or (VICTORIAMETRICS if dialect == "victoriametrics" else Limits())

    def broken_by(
        self, measurement: str, labels: Mapping[str, str], fields: Collection[str], key: str | None = None
    ) -> str | None:
        """Return why the server does not take a series, or None.

        Args:
            measurement: its name.
            labels: its tags.
            fields: the names of its fields.
            key: measurement and tags as they are written.
        """
        if key is not None and self._dialect in (None, "influxdb"):
            size = len(key.encode()) + _BETWEEN + max(map(len, fields))
            if size > _LONGEST:
                return f"name and labels must have at most {_LONGEST} bytes together (got {size})"
        is_victoriametrics = self._dialect == "victoriametrics"
        return self._broken(self._limits, measurement, labels, fields, victoriametrics=is_victoriametrics)

    def doubted_by(self, measurement: str, labels: Mapping[str, str], fields: Collection[str]) -> str | None:
        """Return why VictoriaMetrics does not take a series, should the server be that; None where it is known."""
        if self._dialect is not None:
            return None
        return self._broken(self._given or VICTORIAMETRICS, measurement, labels, fields, victoriametrics=True)

    def _broken(
        self,
        limits: Limits,
        measurement: str,
        labels: Mapping[str, str],
        fields: Collection[str],
        *,
        victoriametrics: bool = False,
    ) -> str | None:
        if victoriametrics:
            if self.database is not None:
                labels = {"db": self.database, **labels}
            name = len(measurement.encode()) + 1 + max(map(len, fields))
            if limits.label_value_bytes is not None and name > limits.label_value_bytes:
                return f"measurement and field have {name} bytes (at most {limits.label_value_bytes})"
            size = name + sum(len(key.encode()) + len(value.encode()) + 2 for key, value in labels.items() if value)
            if size > _VICTORIAMETRICS_LONGEST:
                return f"name and labels must have at most {_VICTORIAMETRICS_LONGEST} bytes together (got {size})"
        return limits.broken_by(labels)
