"""The largest names and labels that line-protocol servers accept."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...abc import Limits
from .line_protocol import Dialect

__all__ = ["VICTORIAMETRICS", "TagLimits"]

VICTORIAMETRICS = Limits(label_value_bytes=4096, label_name_bytes=256, labels=40)
"""VictoriaMetrics' defaults (``-maxLabelValueLen``, ``-maxLabelNameLen``, ``-maxLabelsPerTimeseries`` of 1.151). It
responds with 204 to a line that exceeds one of them, but ignores the line."""

_VICTORIAMETRICS_MAX_BYTES = 65_501
"""Maximum size of a series in VictoriaMetrics, ``db`` included: its name, and per label its name, its value and 2
bytes (tested with 1.151, which responds with 204 even to more)."""

_MAX_KEY_BYTES = 65_535
"""Maximum number of bytes of measurement, tags and field (``models.MaxKeyLength`` of InfluxDB 1 and 2)."""

_SAFE_LABELS, _SAFE_CHARS = 20, 60
"""Fewer labels than the former, with at most the latter number of characters (of up to 4 bytes), are within every limit
above."""

_SEPARATOR_BYTES = 4
"""Bytes that InfluxDB puts between a series and its field (``seriesKeySize``)."""


class TagLimits:
    """The limits of one server."""

    def __init__(self, dialect: Dialect | None, limits: Limits | None = None, database: str | None = None) -> None:
        """Create the limits for a server.

        Args:
            dialect: the server's; None while it is unknown.
            limits: the user's own; None: the dialect's known ones.
            database: the database that lines are written to; VictoriaMetrics turns it into a label ``db``.
        """
        self._dialect = dialect
        self._user_limits = limits
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
        if self._user_limits is None and self._are_within_all_limits(measurement, labels, fields):
            return None
        if key is not None and self._dialect in (None, "influxdb"):
            size = len(key.encode()) + _SEPARATOR_BYTES + max(map(len, fields))
            if size > _MAX_KEY_BYTES:
                return f"name and labels must have at most {_MAX_KEY_BYTES} bytes together (got {size})"
        is_victoriametrics = self._dialect == "victoriametrics"
        return self._broken(self._limits, measurement, labels, fields, victoriametrics=is_victoriametrics)

    def possibly_broken_by(self, measurement: str, labels: Mapping[str, str], fields: Collection[str]) -> str | None:
        """Return why VictoriaMetrics would not accept a series; None if it would, or if the server is known."""
        if self._dialect is not None or (
            self._user_limits is None and self._are_within_all_limits(measurement, labels, fields)
        ):
            return None
        return self._broken(self._user_limits or VICTORIAMETRICS, measurement, labels, fields, victoriametrics=True)

    def _are_within_all_limits(self, measurement: str, labels: Mapping[str, str], fields: Collection[str]) -> bool:
        """Return whether names and labels are so few and short that they are within every server's limits."""
        longest = max(map(len, (measurement, *fields, *labels, *labels.values())))
        return len(labels) < _SAFE_LABELS and longest <= _SAFE_CHARS and len(self.database or "") <= _SAFE_CHARS

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
            if size > _VICTORIAMETRICS_MAX_BYTES:
                return f"name and labels must have at most {_VICTORIAMETRICS_MAX_BYTES} bytes together (got {size})"
        return limits.broken_by(labels)
