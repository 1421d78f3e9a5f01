r"""InfluxDB's line protocol: names, labels and values, so that each server reads them back unchanged.

How this works
==============

::

    measurement,key=value,key=value field=1.5,field=2i,field="text",field=true 1795489500123456789

``,``, space and ``=`` are escaped by a backslash. The servers differ in the meaning of a backslash itself:

=====================  ===========================================================================================
``influxdb`` (1, 2)    A backslash is an ordinary character, and is not doubled. It cannot be the last character of a
                       name or value, nor, in a measurement, come before ``,``, ``=``, ``"`` or a space. If one comes
                       before a space, a ``"`` in the same series may open a string that swallows the lines after it.
``influxdb3``          A doubled backslash is one. It cannot be the last character. There can't be a tab anywhere, or
                       a NUL in a measurement.
``victoriametrics``    A doubled backslash is one, at any position.
=====================  ===========================================================================================

In no dialect can a name or value contain a newline, or a measurement start with ``#``, a tab or NUL. Unsupported
characters become U+FFFD, the replacement character. So no text ends its line early or changes another text.

Sources: ``models/points.go`` of InfluxDB 1.8.3 (``scanLine``, ``scanMeasurement``, ``scanTagsValue``), and every text
of up to three of ``a \ , = "`` and space, written to InfluxDB 1.6.7 and 1.8.3 and VictoriaMetrics 1.79.5 and read back;
for InfluxDB 3 its parser ``influxdb_line_protocol`` (not tested).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple

__all__ = ["DIALECTS", "REPLACEMENT", "Dialect", "Key", "series_key", "tag_text"]

Dialect = Literal["influxdb", "influxdb3", "victoriametrics"]
"""The server for whose interpretation of a backslash lines are written."""

DIALECTS: tuple[Dialect, ...] = ("influxdb", "influxdb3", "victoriametrics")

REPLACEMENT = "\ufffd"
"""Replaces an unsupported character."""

_RESERVED = frozenset({"time", "_field", "_measurement"})
"""Tag keys that servers refuse: all servers refuse the first; InfluxDB 2 also refuses the others."""

_NAME_LABEL = "__name__"
"""The label in which VictoriaMetrics stores a metric's name: a tag with that name would be lost."""

_SPECIAL = re.compile(r"""[,= \\\n\t\0"#]""")
"""Texts without these characters are written unchanged in every dialect."""

_SEARCH_SEPARATOR = ";"
"""Separates texts that are searched together."""

_BAD_START = re.compile(r"\A[#\t\0]")
_UNSUPPORTED: Mapping[Dialect | None, tuple[re.Pattern[str], re.Pattern[str]]] = {
    "influxdb": (re.compile(r'\n|\\(?=[,= "]|\Z)'), re.compile(r"\n|\\\Z")),
    "influxdb3": (re.compile(r"[\n\t\0]|\\\Z"), re.compile(r"[\n\t]|\\\Z")),
    "victoriametrics": (re.compile(r"\n"), re.compile(r"\n")),
    None: (re.compile(r'[\n\t\0]|\\(?=[,= "]|\Z)'), re.compile(r"[\n\t]|\\\Z")),
}
"""Unsupported characters by dialect: in a measurement, and in a tag's key or value. None: in any dialect."""

_ESCAPES = {ord(","): "\\,", ord("="): "\\=", ord(" "): "\\ "}
_MEASUREMENT_ESCAPES = {ord(","): "\\,", ord(" "): "\\ "}
_DOUBLED = {ord("\\"): "\\\\"}
_TABLES: Mapping[Dialect | None, tuple[Mapping[int, str], Mapping[int, str]]] = {
    "influxdb": (_MEASUREMENT_ESCAPES, _ESCAPES),
    "influxdb3": (_MEASUREMENT_ESCAPES | _DOUBLED, _ESCAPES | _DOUBLED),
    "victoriametrics": (_MEASUREMENT_ESCAPES | _DOUBLED, _ESCAPES | _DOUBLED),
    None: (_MEASUREMENT_ESCAPES, _ESCAPES),
}


class Key(NamedTuple):
    """A measurement and its tags, as they appear in a line."""

    text: str
    replaced: int
    """The number of characters that were replaced."""
    dialect_dependent: bool
    """Whether the text depends on the dialect: it has a backslash or a tab, or a label is named ``__name__``."""


def series_key(
    measurement: str, labels: Mapping[str, str], dialect: Dialect | None = "influxdb", fields: Collection[str] = ()
) -> Key:
    """Return the escaped measurement and tags; tags are sorted by name, as InfluxDB recommends.

    A tag without a name or a value is left out: to InfluxDB, a missing tag and an empty one are the same. A tag that a
    server reserves, that has the name of a field, or that would occur twice gets the suffix ``_``.

    Args:
        measurement: the measurement's name.
        labels: the tags.
        dialect: the dialect to write for. None: the text is equal for any two series that are the same in one of the
            dialects; such a text must not be sent.
        fields: the names of the line's fields.
    """
    texts = (measurement, *labels, *labels.values())
    if not _SPECIAL.search(_SEARCH_SEPARATOR.join(texts)) and labels.keys().isdisjoint(
        (*_RESERVED, _NAME_LABEL, *fields)
    ):
        tags = [f"{label}={labels[label]}" for label in sorted(labels) if label and labels[label]]
        return Key(",".join([measurement, *tags]), 0, False)
    dialect_dependent = _NAME_LABEL in labels or any("\\" in each or "\t" in each for each in texts)
    text, replaced = _escaped_key(measurement, labels, dialect, fields)
    if dialect in (None, "influxdb") and "\\\\ " in text and '"' in text:
        labels_to_escape = {
            _without_backslash_space(name): _without_backslash_space(value) for name, value in labels.items()
        }
        text, replaced = _escaped_key(_without_backslash_space(measurement), labels_to_escape, dialect, fields)
        replaced += sum(each.count("\\ ") for each in texts)
    return Key(text, replaced, dialect_dependent)


def _without_backslash_space(text: str) -> str:
    """Return a text without backslashes before spaces: see ``influxdb`` above."""
    return text.replace("\\ ", f"{REPLACEMENT} ")


def _escaped_key(
    measurement: str, labels: Mapping[str, str], dialect: Dialect | None, fields: Collection[str]
) -> tuple[str, int]:
    in_measurement, in_tags = _UNSUPPORTED[dialect]
    measurement_table, tag_table = _TABLES[dialect]
    name, replaced = in_measurement.subn(REPLACEMENT, measurement)
    name, first = _BAD_START.subn(REPLACEMENT, name)
    replaced += first
    reserved = {*_RESERVED, _NAME_LABEL} if dialect in (None, "victoriametrics") else _RESERVED
    tags: dict[str, str] = {}
    for label, text in sorted(labels.items()):
        if not label or not text:
            continue
        key, replaced_in_key = in_tags.subn(REPLACEMENT, label)
        value, replaced_in_value = in_tags.subn(REPLACEMENT, text)
        replaced += replaced_in_key + replaced_in_value
        while key in reserved or key in fields or key in tags:
            key += "_"
        tags[key] = value
    pairs = [f"{key.translate(tag_table)}={tags[key].translate(tag_table)}" for key in sorted(tags)]
    return ",".join([name.translate(measurement_table), *pairs]), replaced


def tag_text(text: str, dialect: Dialect) -> str:
    """Return a tag's name or value, or a field's name, as it appears in a line."""
    return _UNSUPPORTED[dialect][1].sub(REPLACEMENT, text).translate(_TABLES[dialect][1])
