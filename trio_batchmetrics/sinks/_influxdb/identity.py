"""What line-protocol servers can distinguish: measurement, tags, and the fields of a line."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping

from ...abc import Identity, Kind, Measure
from .fields import bucket_names
from .limits import TagLimits
from .line_protocol import Dialect, series_key

__all__ = ["LineIdentity"]


class LineIdentity(Identity):
    """Distinguishes instruments and series by their measurement and tags, as written in lines.

    While the dialect is unknown, series that are equal in any dialect are one series, and remain one when it becomes
    known. VictoriaMetrics adds its database as a label to every series, so a series with this label is the same as one
    without it. A histogram has other fields than a counter or a gauge, so it is a different instrument even if the
    names are equal.
    """

    def __init__(self, dialect: Dialect | None, limits: TagLimits) -> None:
        """Create the identity for a server.

        Args:
            dialect: the server's; None while it is unknown.
            limits: the largest names and labels that it accepts.
        """
        super().__init__()
        self._dialect: Dialect | None = dialect
        self._database = limits.database if dialect in (None, "victoriametrics") else None
        self.tag_limits: TagLimits = limits
        """Replaced once the server is known."""
        self.refused_in_doubt: bool = False
        """Whether a series was refused only because the server may be VictoriaMetrics."""

    def names(self, instrument: Measure) -> tuple[Hashable, ...]:
        """Return the measurement, and whether its lines have buckets."""
        return ((series_key(instrument.name, {}, self._dialect).text, instrument.kind is Kind.HISTOGRAM),)

    def terms(self, instrument: Measure) -> Hashable:
        """Return kind and unit; an annotation such as ``{event}`` counts as no unit."""
        return (instrument.kind, "" if instrument.unit.startswith("{") else instrument.unit)

    def key(self, instrument: Measure, labels: Mapping[str, str]) -> Hashable:
        """Return the tags as written; if the server may be VictoriaMetrics, with the label that it adds."""
        if self._database is not None and not labels.get("db"):
            labels = {**labels, "db": self._database}
        return series_key("", labels, self._dialect, _fields(instrument)).text

    def broken_limit(self, instrument: Measure, labels: Mapping[str, str]) -> str | None:
        """Return a description of the limit that a series exceeds: the server's, or possibly VictoriaMetrics'."""
        name, fields = instrument.name, _fields(instrument)
        key = series_key(name, labels, self._dialect or "influxdb", fields).text
        broken = self.tag_limits.broken_by(name, labels, fields, key)
        if broken is None and (broken := self.tag_limits.possibly_broken_by(name, labels, fields)) is not None:
            self.refused_in_doubt = True
            return f"{broken}, unless dialect= says that it isn't VictoriaMetrics"
        return broken


def _fields(instrument: Measure) -> Collection[str]:
    """Return the names of the fields in a line."""
    return (
        ["count", "sum", *bucket_names(instrument.default_bounds)] if instrument.kind is Kind.HISTOGRAM else ["value"]
    )
