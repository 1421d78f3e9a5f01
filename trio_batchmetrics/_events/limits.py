"""The largest labels that a back-end accepts."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from .._exceptions import ConfigError
from .._reprs import tolerant_repr

__all__ = ["LIMITS", "Limits"]

LIMITS = "limits"
"""The reason for which the event is rejected."""


def _check_size(_: object, field: attrs.Attribute[int | None], value: object) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ConfigError(f"{field.name} must be an int >= 1 or None (got {value!r})")


@tolerant_repr
@attrs.frozen
class Limits:
    """The largest labels that a back-end accepts; a sink rejects an event that exceeds one before it sends it.

    Example:
        >>> from trio_batchmetrics.abc import Limits
        >>> Limits(label_value_bytes=4096, label_name_bytes=256, labels=40).broken_by({"user": "ä" * 3000})
        "label 'user' has a value of 6000 bytes (at most 4096)"
    """

    label_value_bytes: int | None = attrs.field(default=None, validator=_check_size)
    """Maximum length of a label's value, in bytes of UTF-8; None: no limit."""
    label_name_bytes: int | None = attrs.field(default=None, validator=_check_size)
    """Maximum length of a label's name, in bytes of UTF-8; None: no limit."""
    labels: int | None = attrs.field(default=None, validator=_check_size)
    """Maximum number of labels of a series, static ones included; None: no limit."""

    @staticmethod
    def checked(limits: object) -> Limits | None:
        """Return a sink's ``limits`` setting.

        Raises:
            ConfigError: it is neither a ``Limits`` nor None.
        """
        if limits is not None and not isinstance(limits, Limits):
            raise ConfigError(f"limits must be a Limits or None (got {limits!r})")
        return limits

    def broken_by(self, labels: Mapping[str, str]) -> str | None:
        """Return a description of the limit that labels exceed; None if they exceed none.

        Args:
            labels: the labels that the back-end will get, static ones included; an empty value counts as no label.
        """
        if self.label_value_bytes is self.label_name_bytes is self.labels is None:
            return None
        non_empty = {name: value for name, value in labels.items() if value}
        if self.labels is not None and len(non_empty) > self.labels:
            return f"{len(non_empty)} labels (at most {self.labels})"
        for name, value in non_empty.items():
            if self.label_name_bytes is not None and (size := len(name.encode())) > self.label_name_bytes:
                return f"label {_excerpt(name)} has a name of {size} bytes (at most {self.label_name_bytes})"
            if self.label_value_bytes is not None and (size := len(value.encode())) > self.label_value_bytes:
                return f"label {_excerpt(name)} has a value of {size} bytes (at most {self.label_value_bytes})"
        return None

    def check(self, labels: Mapping[str, str]) -> None:
        """Raise if labels exceed a limit; see :meth:`broken_by`.

        Raises:
            ValueError: they exceed one. When ``encode`` raises it, the event is rejected (``limits``).
        """
        if (broken := self.broken_by(labels)) is not None:
            raise ValueError(f"{LIMITS}: {broken}")


def _excerpt(name: str) -> str:
    return repr(name) if len(name) <= 40 else f"{name[:40]!r}…"
