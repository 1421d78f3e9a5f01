"""A repr for objects that are not finished: a traceback with locals shows them, where ``__init__`` has raised."""

from __future__ import annotations

from functools import wraps
from typing import TypeVar

__all__ = ["tolerant_repr"]

T = TypeVar("T")


def tolerant_repr(cls: type[T]) -> type[T]:
    """Give a class a repr that does not fail where an attribute was not set yet.

    Args:
        cls: changed in place; its own repr is used for objects that are finished.
    """
    finished = cls.__repr__

    @wraps(finished)
    def shown(self: T) -> str:
        try:
            return finished(self)
        except AttributeError:
            return f"<{type(self).__name__}, not set up>"

    cls.__repr__ = shown  # type: ignore[method-assign,assignment]
    return cls
