"""Checks ``HistogramPoint`` events by column, because a collection may create thousands of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from operator import lt
from typing import Any

__all__ = ["points_are_plain"]

_MAX = sys.float_info.max


def points_are_plain(columns: Sequence[Sequence[Any]]) -> bool:
    """Return whether all points are valid and need no conversion: sums and bounds are floats.

    Args:
        columns: the counts, the sums, the bounds, and the bucket counts.
    """
    return all(map(_is_plain, *columns))


def _is_plain(count: Any, total: Any, bounds: Any, counts: Any) -> bool:
    return (
        type(count) is int
        and count <= _MAX
        and type(total) is float
        and -_MAX <= total <= _MAX
        and type(bounds) is type(counts) is tuple
        and {float}.issuperset(map(type, bounds))
        and all(map(lt, bounds, bounds[1:]))
        and (not bounds or -_MAX <= bounds[0] <= bounds[-1] <= _MAX)
        and len(counts) == len(bounds) + 1
        and {int}.issuperset(map(type, counts))
        and min(counts) >= 0
        and sum(counts) == count
    )
