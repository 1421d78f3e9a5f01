"""The names and labels that Prometheus can distinguish, as they appear on a page."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from ...abc import Identity, Kind, Limits, Measure
from .names import label_set, metric_name, unit_name

__all__ = ["PrometheusIdentity", "base_of", "names_of", "type_of"]

_SUFFIXES = {"counter": ("", "_total", "_created"), "histogram": ("", "_bucket", "_sum", "_count", "_created")}


def base_of(name: str, kind: Kind) -> str:
    """Return a family's name in OpenMetrics: a counter's doesn't end with ``_total``."""
    return name.removesuffix("_total") if kind is Kind.COUNTER else name


def type_of(name: str, kind: Kind) -> str:
    """Return a family's type in OpenMetrics, where a counter's name is never just ``total``."""
    return "unknown" if kind is Kind.COUNTER and base_of(name, kind) == name else kind.value


def names_of(measure: Measure) -> tuple[str, ...]:
    """Return every name that an instrument occupies in either format. No other instrument may have it."""
    name = metric_name(measure.name, measure.unit, measure.kind)
    base = base_of(name, measure.kind)
    return tuple(base + suffix for suffix in _SUFFIXES.get(type_of(name, measure.kind), ("",)))


class PrometheusIdentity(Identity):
    """Distinguishes instruments and series by their translated names, units and labels. Empty labels are ignored."""

    def __init__(
        self, reserved: frozenset[str] = frozenset(), limits: Limits | None = None, taken: frozenset[str] = frozenset()
    ) -> None:
        """Create an identity for a back-end.

        Args:
            reserved: names that no label may have; they get the prefix ``exported_``.
            limits: the largest labels that the back-end accepts.
            taken: the names of the back-end's own metrics.
        """
        super().__init__(limits)
        self._reserved = reserved
        self._taken = taken

    def names(self, instrument: Measure) -> tuple[Hashable, ...]:
        """Return every name that an instrument occupies in either format."""
        return names_of(instrument)

    def terms(self, instrument: Measure) -> Hashable:
        """Return name, type and unit."""
        name = metric_name(instrument.name, instrument.unit, instrument.kind)
        return (name, instrument.kind, unit_name(instrument.unit))

    def refusal(self, instrument: Measure) -> str | None:
        """Return why the back-end refuses an instrument with this name: its own metric would replace it."""
        name = metric_name(instrument.name, instrument.unit, instrument.kind)
        return f"the back-end has its own metric named {name!r}" if name in self._taken else None

    def labels(self, instrument: Measure, labels: Mapping[str, str]) -> Mapping[str, str]:
        """Return the exposed labels, sorted by name."""
        bucket = {"le"} if instrument.kind is Kind.HISTOGRAM else frozenset[str]()
        return label_set(labels, self._reserved | bucket)

    def key(self, instrument: Measure, labels: Mapping[str, str]) -> Hashable:
        """Return the labels: they are already sorted."""
        return tuple(labels.items())

    def broken_limit(self, instrument: Measure, labels: Mapping[str, str]) -> str | None:
        """Return a description of the limit that a series exceeds; a histogram's buckets have the label ``le``, too."""
        bucket = {"le": "+Inf"} if instrument.kind is Kind.HISTOGRAM else {}
        return self.limits.broken_by({**labels, **bucket})
