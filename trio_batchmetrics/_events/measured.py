"""Measured values: a number, or anything that converts to one, within its instrument's limits."""

from __future__ import annotations

import operator
from datetime import timedelta
from typing import Any, cast

from .invalid import InvalidError
from .schema import Kind, Measure

__all__ = ["NOT_A_NUMBER", "fault_of", "number"]

NOT_A_NUMBER = "must be a number"


def fault_of(kind: str, field: str, value: object, measure: Measure, instrument: str = "") -> InvalidError | None:
    """Return the fault of a measured value; None if it is valid.

    Args:
        kind: the name of the event's class.
        field: the event's field.
        value: the value.
        measure: how it is measured.
        instrument: the name of the instrument, if the event carries it.
    """
    try:
        _number(value, measure)
    except InvalidError as fault:
        return InvalidError(kind, field, fault.rule, value, instrument)
    except Exception:  # noqa: BLE001 - as in number()
        return InvalidError(kind, field, NOT_A_NUMBER, value, instrument)
    return None


def number(value: object, measure: Measure) -> float | None:
    """Return a measured value if it is valid (durations as float seconds), else None. Never raises.

    A value that isn't an int or float is converted by its ``__index__`` or ``__float__`` (NumPy's scalars, ``Decimal``,
    ``Fraction``). Text, bytes and None aren't numbers, and a bool is one only for a declared gauge.
    """
    try:
        return _number(value, measure)
    except Exception:  # noqa: BLE001 - a fault; or the value runs its own code, or is too large for a float
        return None


def _number(value: Any, measure: Measure) -> float:
    """Return a measured value as an int or float.

    Raises:
        InvalidError: it is invalid; the caller adds class and field.
        Exception: of any kind: it is invalid because its own code raises.
    """
    if type(value) is float:
        result: float = value
    elif isinstance(value, bool):
        if measure.kind is Kind.GAUGE and measure.field is not None and measure.name:
            return value
        raise InvalidError("", "", NOT_A_NUMBER, value)
    elif isinstance(value, timedelta):
        if not measure.seconds:
            raise InvalidError("", "", NOT_A_NUMBER, value)
        result = value.total_seconds()
    else:
        result = _converted(value, whole=not measure.seconds)
    if result - result != 0:
        raise InvalidError("", "", "must be finite", value)
    if result < 0 and not measure.negative:
        raise InvalidError("", "", "must be >= 0", value)
    return result


def _converted(value: Any, *, whole: bool) -> float:
    """Convert a value that isn't a float to one; or to an int, if it is whole and ``whole`` is set."""
    kind = type(cast("object", value))
    try:
        if issubclass(kind, float) or not hasattr(kind, "__index__"):
            if not hasattr(kind, "__float__"):
                raise InvalidError("", "", NOT_A_NUMBER, value)
            return float(value)
        as_int, as_float = int(operator.index(value)), float(value)  # sinks will convert the event's value to a float
    except OverflowError:
        raise InvalidError("", "", "must fit into a float", value) from None
    return as_int if whole else as_float
