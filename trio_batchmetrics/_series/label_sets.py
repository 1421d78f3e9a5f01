"""The series of a label set, as columns have it: looked up by the labels as the application gave them.

What labels mean to the back-end is worked out once per label set, which is remembered from then on. So is a label set
that has no series of its own: it is beyond ``max_series``, or the back-end refuses it. The number of label sets that
are remembered is bounded, and so are their bytes. The labels of a series are in memory anyway; a label set that shares
them costs little. Any other large one isn't remembered, and is worked out each time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from .._events import LabelValue, plain_label, text
from .series import Series

__all__ = ["KnownSeries", "Remembered", "as_text", "bytes_of", "for_a_key", "typed"]

_SMALL_BYTES = 1_000
"""The size up to which a label set that has a series is remembered, in whatever order and form it comes."""

_LARGE_BYTES = 20_000
"""The size from which a label set is remembered only if its series shares its texts."""

_SPARE_BYTES = 1_000_000
"""The bytes of label sets between these sizes, and of those without a series, beyond which all are forgotten: about
5 000 usual label sets."""


_KEPT_TYPES = frozenset({bool, int, float})
"""The types that labels keep in a store with typed labels; an int beyond 64 bits is text."""


class Remembered:
    """What the label sets of one store's instruments may take together."""

    __slots__ = ("max_each", "spare_bytes")

    def __init__(self, max_series: int) -> None:
        """Create an account with nothing on it.

        Args:
            max_series: the maximum number of label sets per instrument.
        """
        self.max_each: int = 4 * max_series + 1000
        """The number of label sets per instrument beyond which that instrument's are forgotten."""
        self.spare_bytes: int = 0
        """The bytes of label sets that are on the account."""

    @property
    def full(self) -> bool:
        """Whether it is time to forget all label sets."""
        return self.spare_bytes > _SPARE_BYTES

    def takes(self, key: object, *, owned: bool) -> bool:
        """Return whether to remember a label set that does not share its texts with its series.

        Args:
            key: the label set.
            owned: whether it has a series of its own.
        """
        size = bytes_of(key)
        if owned and size <= _SMALL_BYTES:
            return True
        if size > _LARGE_BYTES:
            return False
        self.spare_bytes += size
        return True


class KnownSeries(dict[Any, Series]):
    """The series of an instrument by label set. One that isn't there is looked for, and then it is."""

    __slots__ = ("_find", "_remembered", "refuses")

    def __init__(self, find: Callable[[Any], tuple[Series, bool, bool]], remembered: Remembered) -> None:
        """Create an empty collection.

        Args:
            find: returns the series of a label set, whether that is its own, and whether it is new.
            remembered: what the label sets of the store take.
        """
        super().__init__()
        self._find = find
        self._remembered = remembered
        self.refuses: bool = False
        """Whether any label set so far is refused."""

    def __missing__(self, key: Any) -> Series:
        """Look for the series of a label set."""
        series, owned, is_new = self._find(key)
        if is_new or self._remembered.takes(key, owned=owned):
            self[key] = series
        self.refuses = self.refuses or series.refusal is not None
        return series

    def forget(self) -> None:
        """Look for all of them anew."""
        self.clear()
        self.refuses = False


def bytes_of(key: object) -> int:
    """Return roughly how many bytes a label set takes."""
    if isinstance(key, str):
        return 50 + (len(key) if key.isascii() else 4 * len(key))
    if isinstance(key, tuple):
        return 50 + sum(map(bytes_of, cast("tuple[object, ...]", key)))
    return 50


def typed(value: object) -> Any:
    """Return a label value as it is kept in a store with typed labels: text, or a plain bool, int or float."""
    if isinstance(value, LabelValue):
        return value.value
    plain = plain_label(value) if type(value) in _KEPT_TYPES else text(value)
    return plain.value if isinstance(plain, LabelValue) else plain


def as_text(labels: Mapping[str, Any]) -> Mapping[str, str]:
    """Return labels as text."""
    return {name: text(value) or "" for name, value in labels.items()}


def for_a_key(labels: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return labels of which two values are equal only if type and text are: those that aren't text are wrapped."""
    return {name: value if type(value) is str else LabelValue(value) for name, value in labels.items()}
