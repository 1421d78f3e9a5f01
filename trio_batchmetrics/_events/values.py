"""Label values: captured by value at the call, read-only afterwards, plain in columns, and finally text.

Most labels are text and numbers, which are immutable. A recorder checks this in 15 ns: CPython's garbage collector does
not track a dict of such objects (:func:`gc.is_tracked`; from 3.14 on it tracks every dict, so each dict is searched).
This check misses mutable objects that the collector doesn't track, such as bytearrays and NumPy's arrays.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from decimal import Decimal
from gc import is_tracked
from typing import Any, Generic, NoReturn, TypeVar, cast

from .._reprs import tolerant_repr, type_name

__all__ = [
    "IMMUTABLE_TYPES",
    "INT_LIMIT",
    "LabelValue",
    "ReadOnlyDict",
    "Unreadable",
    "by_value",
    "captured",
    "plain_label",
    "read_only",
    "text",
]

_KeyT = TypeVar("_KeyT")
_ValueT = TypeVar("_ValueT")

IMMUTABLE_TYPES = frozenset({str, int, float, bool, type(None), bytes, complex, Decimal})
"""Immutable types of label values. From 3.14 on, CPython's garbage collector tracks a ``Decimal``."""

_IMMUTABLE_BASES = (str, enum.Enum)
"""Only the text of a ``str`` subclass is used, and members of an ``enum`` are created only once."""


def text(value: object) -> str | None:
    """Return a label value as text: bools as ``true`` and ``false``, None as None (the label is left out).

    A lone surrogate, which can't be encoded, becomes U+FFFD. Names are converted by the same function.
    """
    if type(value) is str and value.isascii():
        return value
    if value is None:
        return None
    if isinstance(value, str):
        string = str.__str__(value)
    elif isinstance(value, bool):
        return "true" if value else "false"
    else:
        string = str(value)
    if not string.isascii():
        try:
            string.encode()
        except UnicodeEncodeError:
            return string.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return string


INT_LIMIT = 1 << 63
"""A larger int may have no text (``sys.set_int_max_str_digits``), so ints from here on are converted at validation."""


@tolerant_repr
class LabelValue:
    """A ``bool``, ``int`` or ``float`` label that would equal another value with a different text.

    ``True``, ``1`` and ``1.0`` are equal in Python but are three label values. This object equals only others of the
    same type and text. ``str`` returns the text, and ``value`` is the application's value.

    Example:
        >>> from trio_batchmetrics.abc import LabelValue
        >>> str(LabelValue(True)), LabelValue(True) == LabelValue(1.0), LabelValue(1.0).value
        ('true', False, 1.0)
    """

    __slots__ = ("_hash", "_text", "value")

    def __init__(self, value: float) -> None:
        """Wrap a bool, int or float."""
        self.value: float = value
        self._text = text(value) or ""
        self._hash = hash((type(value), self._text))

    def __eq__(self, other: object) -> bool:
        """Compare type and text."""
        return isinstance(other, LabelValue) and type(self.value) is type(other.value) and self._text == other._text

    def __hash__(self) -> int:
        """Hash type and text."""
        return self._hash

    def __str__(self) -> str:
        """Return the text."""
        return self._text

    def __repr__(self) -> str:
        return f"LabelValue({self.value!r})"


def plain_label(value: object, *, among_bools: bool = False) -> Any:
    """Return a label value as a plain value, which equals others only if their texts are equal.

    Args:
        value: the value.
        among_bools: whether bools in its column stay as they are; otherwise, ints do.

    Raises:
        Exception: of any kind, if the value has no text.
    """
    kind = type(value)
    if kind is str or value is None:
        return value
    if kind is bool:
        return value if among_bools else LabelValue(cast("bool", value))
    if kind is int and -INT_LIMIT < cast("int", value) < INT_LIMIT:
        return LabelValue(cast("int", value)) if among_bools else value
    return LabelValue(cast("float", value)) if kind is float else text(value)


def _raise_read_only(*_: object, **__: object) -> NoReturn:
    raise TypeError("these are read-only: make a copy with dict(...)")


_read_only_method: Any = _raise_read_only


class ReadOnlyDict(dict[_KeyT, _ValueT], Generic[_KeyT, _ValueT]):
    """A read-only dict. It prints and compares like a dict, pickles and copies; ``copy()`` returns a plain dict.

    Example:
        >>> from trio_batchmetrics import Counter
        >>> labels = Counter("jobs", {"region": "eu"}, 1).labels
        >>> labels, labels == {"region": "eu"}
        ({'region': 'eu'}, True)
        >>> labels["region"] = "us"
        Traceback (most recent call last):
        ...
        TypeError: these are read-only: make a copy with dict(...)
    """

    __slots__ = ()

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _read_only_method

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (dict(self),))


class Unreadable:
    """Replaces labels, or a label value, that raised when read. The event is invalid."""

    __slots__ = ("error", "type_name")

    def __init__(self, given: object, error: Exception) -> None:
        """Keep the types of the object and of the error that it raised."""
        self.type_name: str = type_name(given)
        self.error: str = type_name(error)

    def __repr__(self) -> str:
        return f"<{self.type_name} that raised {self.error}>"

    def __str__(self) -> str:
        raise ValueError(repr(self))


def by_value(value: object) -> Any:
    """Return a label value itself if it is immutable, else its present text. Never raises.

    Numbers, text, dates and members of an ``enum`` are immutable.
    """
    try:
        if type(value) in IMMUTABLE_TYPES or isinstance(value, _IMMUTABLE_BASES):
            return value
        kind = type(value)
        if kind is tuple:
            items = cast("tuple[object, ...]", value)
            return items if all(by_value(item) is item for item in items) else text(items)
        if not is_tracked(value) and kind.__hash__ is not None:  # it refers to no object that could change it
            return value
        return text(value)
    except Exception as exc:  # noqa: BLE001 - an object may run any code; the event is counted as invalid
        return Unreadable(value, exc)


def captured(labels: Any) -> Any:
    """Return a copy of a mapping of labels, with the labels captured by value. Never raises.

    Returns:
        A plain dict. An object that isn't a mapping is returned unchanged, and one that raises while it is read becomes
        an :class:`Unreadable`; validation refuses both.
    """
    try:
        copied = _as_dict(labels)
        if is_tracked(copied) and copied is not labels:
            for name, value in copied.items():
                if type(name) not in IMMUTABLE_TYPES or (
                    type(value) not in IMMUTABLE_TYPES and not isinstance(value, _IMMUTABLE_BASES)
                ):
                    return {by_value(name): by_value(value) for name, value in copied.items()}
    except Exception as exc:  # noqa: BLE001 - a mapping may run any code; the event is counted as invalid
        return Unreadable(labels, exc)
    return copied


def _as_dict(labels: Any) -> Any:
    """Return a mapping as a plain dict, and any other object unchanged."""
    kind: type = labels.__class__
    return dict(labels) if kind is dict or issubclass(kind, Mapping) else labels


def read_only(labels: Any) -> Any:
    """Return a read-only copy of a mapping of labels, captured by value; for other objects, see :func:`captured`."""
    if type(labels) is dict and not is_tracked(cast("object", labels)):
        return ReadOnlyDict(cast("Any", labels))
    copied = captured(labels)
    return ReadOnlyDict(cast("Any", copied)) if type(copied) is dict else copied
