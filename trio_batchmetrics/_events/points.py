"""The checks of ``HistogramPoint``, of which a collection makes thousands: like those compiled for other classes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from operator import lt
from typing import Any

from .values import ReadOnlyDict, text

__all__ = ["LARGE", "check_points", "points_with_plain_labels"]

LARGE = 1 << 63
"""From here on an int among labels is looked at closely: text may not be had of it (``sys.set_int_max_str_digits``)."""

_MOST = sys.float_info.max


def check_points(rows: Sequence[Any]) -> bool:
    """Tell whether every row is valid as it stands, with a float sum, and labels equal only where their texts are."""
    return all(_adds_up(*row[1:]) and type(row[5]) is float and _are_plain(row[3]) for row in rows)


def points_with_plain_labels(rows: Sequence[Any]) -> list[tuple[Any, ...]] | None:
    """Return the rows with float sums, and text for labels that are not plain; None where that is not enough.

    Raises:
        Exception: of any kind, where a label has no text.
    """
    made: list[tuple[Any, ...]] = []
    for row in rows:
        if not _adds_up(*row[1:]):
            return None
        labels = row[3]
        if not _are_plain(labels):
            labels = {text(name): string for name, value in labels.items() if (string := text(value)) is not None}
        made.append((*row[:3], labels, row[4], float(row[5]), *row[6:]))
    return made


def _adds_up(timestamp: Any, name: Any, labels: Any, count: Any, total: Any, bounds: Any, counts: Any) -> bool:
    return (
        type(timestamp) is int
        and type(name) is str
        and name != ""
        and (type(labels) is dict or type(labels) is ReadOnlyDict)
        and type(count) is int
        and count <= _MOST
        and (type(total) is float or type(total) is int)
        and -_MOST <= total <= _MOST
        and type(bounds) is type(counts) is tuple
        and _are_buckets(bounds, counts, count)
    )


def _are_buckets(bounds: tuple[Any, ...], counts: tuple[Any, ...], count: int) -> bool:
    return (
        {float}.issuperset(map(type, bounds))
        and all(map(lt, bounds, bounds[1:]))
        and (not bounds or -_MOST <= bounds[0] <= bounds[-1] <= _MOST)
        and len(counts) == len(bounds) + 1
        and {int}.issuperset(map(type, counts))
        and min(counts) >= 0
        and sum(counts) == count
    )


def _are_plain(labels: Mapping[Any, Any]) -> bool:
    for name, value in labels.items():
        if not (
            type(name) is str
            and (type(value) is str or value is None or (type(value) is int and -LARGE < value < LARGE))
        ):
            return False
    return True
