"""Finds the series of a label set in columns, by the application's original labels.

The meaning of labels to the back-end is determined once per label set, which is then remembered. This includes label
sets without their own series, which are beyond ``max_series`` or refused by the back-end. Both the number of remembered
label sets and their bytes are bounded. The labels of a series are in memory anyway, so a label set that shares them
costs little. Any other large label set isn't remembered, and is determined each time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from .._events import LabelValue, plain_label, text
from .series import Series

__all__ = ["KnownSeries", "LabelSetBudget", "as_key_values", "as_text", "bytes_of", "typed_value"]

_ALWAYS_REMEMBERED_BYTES = 1_000
"""The size up to which a label set with its own series is always remembered, in any order and form."""

_NEVER_REMEMBERED_BYTES = 20_000
"""The size from which a label set is remembered only if its series shares its texts."""

_MAX_EXTRA_BYTES = 1_000_000
"""The bytes of label sets between these sizes, and of those without their own series, beyond which all label sets are
forgotten: about 5 000 usual label sets."""


_PRESERVED_TYPES = frozenset({bool, int, float})
"""The types that a store with typed labels preserves; an int beyond 64 bits becomes text."""


class LabelSetBudget:
    """The memory that the remembered label sets of one store may take."""

    __slots__ = ("extra_bytes", "max_each")

    def __init__(self, max_series: int) -> None:
        """Create an unused budget.

        Args:
            max_series: the maximum number of label sets per instrument.
        """
        self.max_each: int = 4 * max_series + 1000
        """The number of label sets per instrument beyond which that instrument's label sets are forgotten."""
        self.extra_bytes: int = 0
        """The bytes of the label sets that count against the budget."""

    @property
    def full(self) -> bool:
        """Whether it is time to forget all label sets."""
        return self.extra_bytes > _MAX_EXTRA_BYTES

    def admits(self, key: object, *, has_own_series: bool) -> bool:
        """Return whether to remember a label set that doesn't share its texts with its series.

        Args:
            key: the label set.
            has_own_series: whether it has a series of its own.
        """
        size = bytes_of(key)
        if has_own_series and size <= _ALWAYS_REMEMBERED_BYTES:
            return True
        if size > _NEVER_REMEMBERED_BYTES:
            return False
        self.extra_bytes += size
        return True


class KnownSeries(dict[Any, Series]):
    """The series of an instrument by label set. A missing one is found on first access."""

    __slots__ = ("_find", "_remembered", "has_refusals")

    def __init__(self, find: Callable[[Any], tuple[Series, bool, bool]], remembered: LabelSetBudget) -> None:
        """Create an empty mapping.

        Args:
            find: returns the series of a label set, whether it is the label set's own, and whether it is new.
            remembered: the budget of the store.
        """
        super().__init__()
        self._find = find
        self._remembered = remembered
        self.has_refusals: bool = False
        """Whether any label set so far is refused."""

    def __missing__(self, key: Any) -> Series:
        """Find the series of a new label set."""
        series, has_own_series, is_new = self._find(key)
        if is_new or self._remembered.admits(key, has_own_series=has_own_series):
            self[key] = series
        self.has_refusals = self.has_refusals or series.refusal is not None
        return series

    def forget(self) -> None:
        """Forget all label sets, so that they are found again."""
        self.clear()
        self.has_refusals = False


def bytes_of(key: object) -> int:
    """Return the approximate size of a label set in bytes."""
    if isinstance(key, str):
        return 50 + (len(key) if key.isascii() else 4 * len(key))
    if isinstance(key, tuple):
        return 50 + sum(map(bytes_of, cast("tuple[object, ...]", key)))
    return 50


def typed_value(value: object) -> Any:
    """Return a label value as stored with typed labels: text, or a plain bool, int or float."""
    if isinstance(value, LabelValue):
        return value.value
    plain = plain_label(value) if type(value) in _PRESERVED_TYPES else text(value)
    return plain.value if isinstance(plain, LabelValue) else plain


def as_text(labels: Mapping[str, Any]) -> Mapping[str, str]:
    """Return labels as text."""
    return {name: text(value) or "" for name, value in labels.items()}


def as_key_values(labels: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return labels with values that are equal only if type and text are: values other than text are wrapped."""
    return {name: value if type(value) is str else LabelValue(value) for name, value in labels.items()}
