"""The user's bucket bounds for histograms."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from .._exceptions import bad_setting
from .numbers import as_float

__all__ = ["checked_bounds"]


def checked_bounds(field: str, values: object) -> tuple[float, ...]:
    """Return bucket bounds as floats.

    Args:
        field: the setting's name in the error.
        values: finite numbers, strictly increasing, at least one.

    Raises:
        ConfigError: they are anything else.
    """
    rule = "finite numbers, strictly increasing, at least one"
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise bad_setting(field, rule, values)
    bounds: list[float] = []
    for value in cast("Iterable[object]", values):
        number = as_float(value)
        if number is None or (bounds and number <= bounds[-1]):
            raise bad_setting(field, rule, value)
        bounds.append(number)
    if not bounds:
        raise bad_setting(field, rule, ())
    return tuple(bounds)
