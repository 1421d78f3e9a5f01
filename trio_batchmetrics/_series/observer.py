"""Keeps a sink's objects next to the series of a store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeVar

from .._events import Measure

__all__ = ["SeriesObserver"]

SlotT = TypeVar("SlotT")


class SeriesObserver(Protocol[SlotT]):
    """Keeps its own object, a *slot*, next to each series, such as encoded labels or a start time.

    A :class:`~trio_batchmetrics.abc.SeriesStore` calls it in Trio's thread, while it merges or forgets. It must not use
    the store, and must not raise. A slot lives exactly as long as its series.

    Example:
        >>> from trio_batchmetrics import CacheMetric
        >>> from trio_batchmetrics.abc import SeriesStore
        >>> class Heads:
        ...     def added(self, instrument, labels):
        ...         return f"{instrument.name} {','.join(labels.values())}"
        ...
        ...     def removed(self, instrument, slot):
        ...         print("gone:", slot)
        >>> store = SeriesStore(observer=Heads())
        >>> store.merge([CacheMetric("redis", "hit"), CacheMetric("redis", "hit")])
        >>> [(slot, point.value) for _, slot, point in store.points()]
        [('cache.operations redis,hit', 2.0)]
        >>> store.expire(before=store.generation + 1)
        gone: cache.operations redis,hit
        1
    """

    def added(self, instrument: Measure, labels: Mapping[str, str]) -> SlotT:
        """Return the slot of a new series, before anything is added to it.

        Args:
            instrument: its instrument, with its effective bounds.
            labels: its labels, as in ``Point.labels``.
        """
        ...

    def removed(self, instrument: Measure, slot: SlotT) -> None:
        """Note that a series was forgotten.

        Args:
            instrument: its instrument.
            slot: its slot.
        """
        ...
