"""How a back-end distinguishes instruments and series.

Series that a back-end cannot distinguish are one series: a :class:`~.store.SeriesStore` adds them up. It consults an
:class:`Identity` once per combination of the application's original labels, not once per event.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from .._events import Limits, Measure

__all__ = ["Identity"]


class Identity:
    """Decides which instruments and which series are the same to a back-end.

    Back-ends translate names and labels: to Prometheus, ``queue.size`` and ``queue_size`` are one metric. A
    :class:`~trio_batchmetrics.abc.SeriesStore` adds up series that its back-end cannot distinguish, and refuses an
    instrument whose name belongs to another of a different kind or unit.

    By default, instruments are the same if name, kind and unit are equal, and series if the texts of their labels are.
    Override methods for a back-end's rules. They are called in Trio's thread, once per instrument or combination of
    labels for as long as it is remembered, and must always return the same results.

    Example:
        >>> from trio_batchmetrics import Counter
        >>> from trio_batchmetrics.abc import Identity, SeriesStore
        >>> class AnyCase(Identity):
        ...     def key(self, instrument, labels):
        ...         return tuple(sorted((name.lower(), value) for name, value in labels.items()))
        >>> store = SeriesStore(identity=AnyCase())
        >>> store.merge([Counter("jobs", {"Region": "eu"}, 1), Counter("jobs", {"region": "eu"}, 1)])
        >>> [(point.labels, point.value) for _, _, point in store.points()]
        [({'Region': 'eu'}, 2.0)]
    """

    def __init__(self, limits: Limits | None = None) -> None:
        """Create the default identity.

        Args:
            limits: the largest labels that the back-end accepts; None: any.
        """
        self.limits: Limits = limits or Limits()
        """The largest labels that the back-end accepts; see :meth:`broken_limit`."""

    def names(self, instrument: Measure) -> tuple[Hashable, ...]:
        """Return every name that an instrument occupies; the first one is its own.

        Two instruments that share a name are the same if their :meth:`terms` are equal; otherwise, the later one is
        refused.
        """
        return ((instrument.name, instrument.kind, instrument.unit),)

    def terms(self, instrument: Measure) -> Hashable:
        """Return the properties that instruments with a common name must share to be the same."""
        return (instrument.kind, instrument.unit)

    def refusal(self, instrument: Measure) -> str | None:
        """Return why the back-end refuses an instrument with this name; None if it accepts it."""
        return None

    def labels(self, instrument: Measure, labels: Mapping[str, str]) -> Mapping[str, str]:
        """Return the labels with which a series is stored (``Point.labels``).

        Args:
            instrument: its instrument, with its effective bounds.
            labels: the labels as text, static ones included; see ``typed_labels`` of the store.
        """
        return labels

    def key(self, instrument: Measure, labels: Mapping[str, str]) -> Hashable:
        """Return the key that distinguishes a series from others of its instrument.

        Args:
            instrument: its instrument.
            labels: the result of :meth:`labels`. In a store with ``typed_labels=True``, a value that isn't text is
                wrapped in a :class:`~trio_batchmetrics.abc.LabelValue`, so that ``1``, ``1.0`` and ``True`` differ.
        """
        return tuple(sorted(labels.items()))

    def broken_limit(self, instrument: Measure, labels: Mapping[str, str]) -> str | None:
        """Return a description of the limit that a series exceeds; None if it exceeds none.

        Args:
            instrument: its instrument.
            labels: the result of :meth:`labels`, as text.
        """
        return self.limits.broken_by(labels)
