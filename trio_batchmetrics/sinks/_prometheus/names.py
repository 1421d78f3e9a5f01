"""OpenTelemetry's names in Prometheus' notation.

The translation is that of Prometheus 3 for OTLP input with default settings: the Go package
``github.com/prometheus/otlptranslator`` 1.0.0 with suffixes on, UTF-8 not allowed, ``key`` put before a label that
starts with one underscore, and several underscores kept in labels (in metric names they become one). So a metric has
the same name whichever way it arrives. That package refuses a name without any legal character. An application can't
rename metrics at run time, so this module spells such a name out, like Prometheus's "values" escaping (``U__`` and code
points). The result is legal, stable and unique.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from functools import lru_cache

from ...abc import Kind

__all__ = ["label_name", "label_set", "metric_name", "unit_name"]

_UNITS: dict[str, str] = {
    unit: words
    for unit, _, words in (
        pair.partition("=")
        for pair in (
            "d=days h=hours min=minutes s=seconds ms=milliseconds us=microseconds ns=nanoseconds "
            "By=bytes KiBy=kibibytes MiBy=mebibytes GiBy=gibibytes TiBy=tibibytes "
            "KBy=kilobytes MBy=megabytes GBy=gigabytes TBy=terabytes "
            "m=meters V=volts A=amperes J=joules W=watts g=grams Cel=celsius Hz=hertz 1= %=percent"
        ).split()
    )
}
_PER = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}

_NOT_METRIC = re.compile(r"[^a-zA-Z0-9:]+")
_NOT_LABEL = re.compile(r"[^a-zA-Z0-9]")
_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
"""The characters that Go treats as space."""

_CACHED_MAX_CHARS = 200
"""Maximum length of a label name whose translation is cached, so that a thousand of them take little memory."""


def metric_name(name: str, unit: str, kind: Kind) -> str:
    """Return an instrument's name with its unit, ``_total`` for counters, and ``_ratio`` for gauges in ``1``.

    Example:
        >>> from trio_batchmetrics.abc import Kind
        >>> metric_name("http.server.request.duration", "s", Kind.HISTOGRAM)
        'http_server_request_duration_seconds'
        >>> metric_name("cache.operations", "{event}", Kind.COUNTER)
        'cache_operations_total'
    """
    words = [word for word in _NOT_METRIC.split(name) if word]
    main, per = _unit_words(unit)
    per = "" if per == "per_" else per.removesuffix("_")
    if main in words:
        main = ""
    elif per:
        main = main.removesuffix("_")
    words += [word for word in (main, per) if word]
    if kind is Kind.COUNTER:
        words = [*(word for word in words if word != "total"), "total"]
    elif kind is Kind.GAUGE and unit == "1":
        words = [*(word for word in words if word != "ratio"), "ratio"]
    translated = "_".join(words)
    if not translated.strip("_"):
        return _spelled_out(name)
    return f"_{translated}" if translated[0].isdigit() else translated


def unit_name(unit: str) -> str:
    """Return a unit in words, such as ``bytes_per_second`` for ``By/s``; empty for ``1``, ``{token}`` and no unit."""
    joined = "_".join(word for word in _unit_words(unit) if word)
    return joined.removeprefix("_").removesuffix("_")


def _unit_words(unit: str) -> tuple[str, str]:
    main, _, per = (part.strip(_SPACE) for part in unit.partition("/"))
    main = "" if "{" in main or "}" in main else _UNITS.get(main, main)
    per = "" if not per or "{" in per or "}" in per else f"per_{_PER.get(per, per)}"
    return _clean(main), _clean(per)


def _clean(unit: str) -> str:
    return _NOT_METRIC.sub("_", unit).removeprefix("_")


def label_name(name: str) -> str:
    """Translate a label's name: ``http.route`` to ``http_route``, ``2nd`` to ``key_2nd``, ``_a`` to ``key_a``.

    Each illegal character becomes its own underscore: ``a..b`` becomes ``a__b``. A name that starts with two
    underscores keeps them; see :func:`label_set`.
    """
    return _cached_label_name(name) if len(name) <= _CACHED_MAX_CHARS else _translated_label(name)


def _translated_label(name: str) -> str:
    translated = _NOT_LABEL.sub("_", name)
    if translated[:1].isdigit():
        return f"key_{translated}"
    if translated[:1] == "_" != translated[1:2]:
        return f"key{translated}"
    return translated if translated.strip("_") else _spelled_out(name)


_cached_label_name = lru_cache(maxsize=1024)(_translated_label)


def label_set(labels: Mapping[str, str], reserved: Container[str] = ()) -> dict[str, str]:
    """Return the labels with which a series is exposed, sorted by name; an empty label is left out.

    Names that are equal after translation become one label with the values joined by ``;`` in the order of the original
    names (OpenTelemetry's "Prometheus and OpenMetrics compatibility"). Names with a special meaning in Prometheus are
    changed: ``__name__`` becomes ``key__name__``, and ``le``, if it is reserved, ``exported_le``.

    Args:
        labels: as text, by original name.
        reserved: names that no label may have.
    """
    values: dict[str, list[str]] = {}
    for name in sorted(labels):
        if not labels[name]:
            continue
        translated = label_name(name)
        if translated.startswith("__"):
            translated = f"key{translated}"
        while translated in reserved:
            translated = f"exported_{translated}"
        values.setdefault(translated, []).append(labels[name])
    return {name: ";".join(values[name]) for name in sorted(values)}


def _spelled_out(name: str) -> str:
    """Return a name spelled out in code points, as ``EscapeName`` of ``github.com/prometheus/common/model`` does."""
    return "U__" + "".join("__" if char == "_" else f"_{ord(char):x}_" for char in name)
