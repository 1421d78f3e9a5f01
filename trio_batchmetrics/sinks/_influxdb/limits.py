"""The largest names and labels that line-protocol servers accept."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...abc import Limits
from .line_protocol import Dialect

__all__ = ["VICTORIAMETRICS", "TagLimits"]

VICTORIAMETRICS = Limits(label_value_bytes=4096, label_name_bytes=256, labels=40)
"""VictoriaMetrics' defaults (``-maxLabelValueLen``, ``-maxLabelNameLen``, ``-maxLabelsPerTimeseries`` of 1.151). It
responds 204 to a line that exceeds one, and ignores the line."""

_VICTORIAMETRICS_LONGEST = 65_501
"""Maximum size of a series in VictoriaMetrics, ``db`` included: its name, and for each label name, value and 2
bytes (tested with 1.151, which responds 204 even to more)."""

_LONGEST = 65_535
"""Maximum number of bytes of measurement, tags and field (``models.MaxKeyLength`` of InfluxDB 1 and 2)."""

_FEW, _SHORT = 20, 60
"""Fewer labels than this, of at most so many characters (of 4 bytes at most), are within every limit above."""

_BETWEEN = 4
"""Bytes that InfluxDB puts between a series and its field (``seriesKeySize``)."""


class TagLimits:
    """The limits of one server."""

    def __init__(self, dialect: Dialect | None, limits: Limits | None = None, database: str | None = None) -> None:
        """Create the limits for a server.

        Args:
            dialect: the server's; None while it is unknown.
            limits: the user's own; None: the dialect's known limits.
            database: the database that lines are written to; VictoriaMetrics turns it into a label ``db``.
        """
        self._dialect = dialect
        self._given = limits
        self.database: str | None = database
        """The database that lines are written to."""
        self._limits = limits or (VICTORIAMETRICS if dialect == "victoriametrics" else Limits())

    def broken_by(
        self, measurement: str, labels: Mapping[str, str], fields: Collection[str], key: str | None = None
    ) -> str | None:
        """Return why the server does not accept a series; None if it does.

        Args:
            measurement: its name.
            labels: its tags.
            fields: the names of its fields.
            key: measurement and tags as they are written.
        """
        if self._given is None and self._are_small(measurement, labels, fields):
            return None
        if key is not None and self._dialect in (None, "influxdb"):
            size = len(key.encode()) + _BETWEEN + max(map(len, fields))
            if size > _LONGEST:
                return f"name and labels must have at most {_LONGEST} bytes together (got {size})"
        is_victoriametrics = self._dialect == "victoriametrics"
        return self._broken(self._limits, measurement, labels, fields, victoriametrics=is_victoriametrics)

    def doubted_by(self, measurement: str, labels: Mapping[str, str], fields: Collection[str]) -> str | None:
        """Return why VictoriaMetrics would not accept a series; None if it would, or if the server is known."""
        if self._dialect is not None or (self._given is None and self._are_small(measurement, labels, fields)):
            return None
        return self._broken(self._given or VICTORIAMETRICS, measurement, labels, fields, victoriametrics=True)

    def _are_small(self, measurement: str, labels: Mapping[str, str], fields: Collection[str]) -> bool:
        """Return whether names and labels are so few and short that no server has a limit below that."""
        longest = max(map(len, (measurement, *fields, *labels, *labels.values())))
        return len(labels) < _FEW and longest <= _SHORT and len(self.database or "") <= _SHORT

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
