"""Reprs that never fail: for objects that aren't initialized yet, and for values whose repr runs arbitrary code."""

from __future__ import annotations

from functools import wraps
from typing import Any, TypeVar

__all__ = ["shown", "tolerant_repr", "type_name"]

T = TypeVar("T")

_NAME: Any = type.__dict__["__name__"]


def type_name(value: object) -> str:
    """Return the name of an object's class, even if its metaclass overrides ``__name__``."""
    name: str = _NAME.__get__(type(value))
    return name


def shown(value: object) -> str:
    """Return the repr of any value, or the name of its type if the repr raises."""
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - the value's repr may run arbitrary code
        return type_name(value)


def tolerant_repr(cls: type[T]) -> type[T]:
    """Give a class a repr that doesn't fail if an attribute hasn't been set yet.

    A traceback that shows locals contains such objects after ``__init__`` has raised.

    Args:
        cls: the class, which is changed in place; initialized objects keep its own repr.
    """
    finished = cls.__repr__

    @wraps(finished)
    def tolerant(self: T) -> str:
        try:
            return finished(self)
        except AttributeError:
            return f"<{type(self).__name__}, not set up>"

    cls.__repr__ = tolerant  # type: ignore[method-assign,assignment]
    return cls
