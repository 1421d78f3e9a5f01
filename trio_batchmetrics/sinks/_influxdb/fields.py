"""The values in a line, and whole lines, in line protocol."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate

from .line_protocol import REPLACEMENT, Dialect, series_key, tag_text

__all__ = ["bucket_fields", "bucket_names", "field_text", "line"]

_INT64 = range(-(2**63), 2**63)


def field_text(value: float | str, dialect: Dialect = "influxdb") -> str:
    """Return a field's value as text: a float as ``1.5``, an int as ``2i``, a bool as ``true``, a string as ``"text"``.

    A string may contain any character. Newlines are replaced for VictoriaMetrics only, which stores a string as 0.

    Raises:
        ValueError: a float that is not finite, or an int beyond 64 bits: no server accepts them.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if value not in _INT64:
            raise ValueError(f"an int must fit into 64 bits (got {value})")
        return f"{int(value)}i"
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"a float must be finite (got {value})")
        return float.__repr__(value)
    if dialect == "victoriametrics":
        value = value.replace("\n", REPLACEMENT)
    return '"{}"'.format(value.replace("\\", "\\\\").replace('"', '\\"'))


def line(
    measurement: str,
    labels: Mapping[str, str],
    fields: Iterable[tuple[str, float | str]],
    timestamp: int,
    dialect: Dialect = "influxdb",
) -> str:
    r"""Return a line without its line end.

    Raises:
        ValueError: a value cannot be sent, or there are no fields.

    Example:
        >>> line("m", {"a": "x y", "b": ""}, [("f", 1.5), ("i", 2), ("s", 'say "hi"'), ("t", True)], 7)
        'm,a=x\\ y f=1.5,i=2i,s="say \\"hi\\"",t=true 7'
    """
    pairs = dict(fields)
    if not pairs:
        raise ValueError("a line needs a field")
    key = series_key(measurement, labels, dialect, pairs)
    texts = [f"{tag_text(name, dialect)}={field_text(value, dialect)}" for name, value in pairs.items()]
    return f"{key.text} {','.join(texts)} {timestamp}"


@lru_cache(maxsize=256)
def bucket_names(bounds: tuple[float, ...]) -> list[str]:
    """Return the field names of a histogram's buckets: their bounds, the last one ``+Inf``."""
    return [*(float.__repr__(bound).removesuffix(".0") for bound in map(float, bounds)), "+Inf"]


def bucket_fields(total: float, bounds: tuple[float, ...], counts: Sequence[int]) -> str:
    """Return a histogram's fields after ``count=``: the count, ``sum``, and one per bound with the values up to it.

    The format is that of Telegraf's histograms (its ``parsers/prometheus``), so the same queries work on both. All
    values are floats: an int would end with ``i``.

    Example:
        >>> bucket_fields(4.5, (0.5, 2.0), (1, 0, 2))
        '3,sum=4.5,0.5=1,2=1,+Inf=3'
    """
    upto = [*accumulate(counts)]
    buckets = [f"{name}={count}" for name, count in zip(bucket_names(bounds), upto, strict=True)]
    return f"{upto[-1]},sum={float(total)!r},{','.join(buckets)}"
