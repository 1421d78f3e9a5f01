"""Finds the series for labels: an existing one, a new one, the shared one beyond ``max_series``, or a refusal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .._events import LIMITS, OVERFLOW, text
from .context import SinkContext
from .families import Families
from .family import SeriesFamily
from .identity import Identity
from .label_sets import as_key_values, as_text, typed_value
from .observer import SeriesObserver
from .series import Series, refusing

__all__ = ["Members"]


class Members:
    """Creates and forgets the series of a store's families, and notifies the observer."""

    def __init__(
        self,
        context: SinkContext,
        identity: Identity,
        families: Families,
        observer: SeriesObserver[Any] | None,
        *,
        typed_labels: bool,
    ) -> None:
        """Create an object for a store without series.

        Args:
            context: the collector's context.
            identity: decides which series are the same to the back-end.
            families: the store's families.
            observer: keeps an object next to each series.
            typed_labels: whether bools, ints and floats in labels keep their type.
        """
        self._context = context
        self._identity = identity
        self._families = families
        self._observer = observer
        self._typed = typed_labels

    def find(
        self, family: SeriesFamily, pairs: Iterable[tuple[object, object]], now: int, *, pinned: bool = False
    ) -> tuple[Series, bool, bool]:
        """Return the series for labels, whether it is their own, and whether it is new.

        Args:
            family: their instrument.
            pairs: the labels and their values.
            now: the time of the merge.
            pinned: whether they belong to a bound instrument, now and whenever they get their own series.
        """
        if family.refusal is not None:
            return refusing(family.refusal, family.aggregation.buckets), False, False
        stored_labels = self._identity.labels(family.instrument, self._labels(pairs))
        if (refusal := self._refusal(family, stored_labels)) is not None:
            return refusing(refusal, family.aggregation.buckets), False, False
        key = self._identity.key(family.instrument, as_key_values(stored_labels) if self._typed else stored_labels)
        if pinned:
            family.pinned.add(key)
        known = family.members.get(key)
        if known is not None:
            return known, True, False
        shared, shared_key = family.shared or self._overflow_labels(family)
        if len(family.members) < self._context.max_series and key != shared_key:
            series = self._create_series(family, stored_labels, now)
            series.expires = key not in family.pinned
            family.members[key] = series
            family.changes += 1
            return series, True, True
        if family.overflow is None:
            if (refusal := self._refusal(family, shared)) is not None:
                return refusing(refusal, family.aggregation.buckets), False, False
            family.overflow = self._create_series(family, shared, now)
            family.changes += 1
        return family.overflow, False, False

    def _labels(self, pairs: Iterable[tuple[object, object]]) -> Mapping[str, Any]:
        labels: dict[str, Any] = dict(self._context.static_labels)
        value_of = typed_value if self._typed else text
        for name, value in pairs:
            stored = value_of(value)
            if stored is not None:
                labels[text(name) or ""] = stored
        return labels

    def _create_series(self, family: SeriesFamily, labels: Mapping[str, str], now: int) -> Series:
        series = family.aggregation.series(labels, now)
        if self._observer is not None:
            series.slot = self._observer.added(family.instrument, labels)
        return series

    def _refusal(self, family: SeriesFamily, labels: Mapping[str, str]) -> str | None:
        """Return why events of a series are rejected; None if they are not."""
        broken = self._identity.broken_limit(family.instrument, as_text(labels) if self._typed else labels)
        if broken is None:
            return None
        self._families.warn(family.instrument.name, broken)
        return LIMITS

    def _overflow_labels(self, family: SeriesFamily) -> tuple[Mapping[str, str], Any]:
        """Return the labels and the key of the series that label sets beyond the cap share."""
        labels = self._identity.labels(family.instrument, {**self._context.static_labels, **OVERFLOW})
        family.shared = (labels, self._identity.key(family.instrument, labels))
        return family.shared

    def expire(self, family: SeriesFamily, before: int) -> int:
        """Forget the series of a family without updates since then, and the family together with its last series.

        Returns:
            How many series were forgotten.
        """
        idle = [(key, each) for key, each in [*family.members.items()] if each.updated < before and each.expires]
        for key, series in idle:
            del family.members[key]
            self._forget(family, series)
        forgotten_count = len(idle)
        overflow = family.overflow
        if overflow is not None and overflow.updated < before and overflow.expires:
            family.overflow = None
            self._forget(family, overflow)
            forgotten_count += 1
        if not len(family):  # a bound instrument always has a series that doesn't expire: its own or the shared one
            self._families.forget(family)
        return forgotten_count

    def _forget(self, family: SeriesFamily, series: Series) -> None:
        series.forgotten = True
        family.changes += 1
        if self._observer is not None:
            self._observer.removed(family.instrument, series.slot)
