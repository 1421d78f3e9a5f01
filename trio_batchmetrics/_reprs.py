"""Reprs that never fail: of objects that aren't set up yet, and of values that run any code."""

from __future__ import annotations

from functools import wraps
from typing import Any, TypeVar

__all__ = ["shown", "tolerant_repr", "type_name"]

T = TypeVar("T")

_NAME: Any = type.__dict__["__name__"]


def type_name(value: object) -> str:
    """Return the name of an object's class, whatever its metaclass does."""
    name: str = _NAME.__get__(type(value))
    return name


def shown(value: object) -> str:
    """Return the repr of any value; the name of its type where that raises."""
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - the value may run any code
        return type_name(value)


def tolerant_repr(cls: type[T]) -> type[T]:
    """Give a class a repr that doesn't fail where an attribute hasn't been set yet.

    A traceback with locals shows such objects, where ``__init__`` has raised.

    Args:
        cls: changed in place; its own repr is used for objects that are finished.
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
