"""Index names, and the template that defines the mapping of their fields."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from ...abc import ConfigError

__all__ = ["LABEL_TYPES", "IndexName", "template_body"]

_DIRECTIVE = re.compile(r"%(.?)", re.DOTALL)
_FIRST_DIGITS = {"Y": "12", "m": "01", "d": "0123", "H": "012", "j": "0123", "G": "12", "V": "012345"}
"""The directives of strftime whose output is digits in every locale, and the digits that it can start with."""
_DATE = re.compile(r"%(.)(?:.*%.)?", re.DOTALL)

_ILLEGAL = re.compile(r"""[\\/*?"<>|\s,#:%]""")
_MAX_BYTES = 255
"""Rules for names: "Create index API" of Elasticsearch, "Index naming restrictions" of OpenSearch."""

_PRIORITY = 500
"""Elastic recommends more than this if a pattern may overlap with those of its own templates ("Index templates")."""

_IGNORE_ABOVE = 8191
"""Maximum number of characters that are indexed; a longer value is stored only. Lucene refuses a term of more than
32 766 bytes, and a character may take four (Elasticsearch, "ignore_above")."""

LABEL_TYPES: tuple[Mapping[str, Any], ...] = (
    {"type": "flattened", "ignore_above": _IGNORE_ABOVE},
    {"type": "flat_object"},
)
"""One field for all labels, whatever their names: Elasticsearch's from 7.3 on, OpenSearch's from 2.7 on. Neither server
supports the other's."""


class IndexName:
    """The name of an event's index or data stream: fixed, or with the date of the event's timestamp (UTC)."""

    def __init__(self, name: str) -> None:
        """Check the name.

        Args:
            name: may have ``%Y``, ``%m``, ``%d``, ``%H``, ``%j`` (day of the year), ``%G`` and ``%V`` (ISO week).

        Raises:
            ConfigError: no server would accept the name.
        """
        if not isinstance(name, str):
            raise ConfigError(f"index must be a str (got {name!r})")
        for directive in _DIRECTIVE.findall(name):
            if directive not in _FIRST_DIGITS:
                known = ", ".join(f"%{one}" for one in _FIRST_DIGITS)
                raise ConfigError(f"index may have {known}, and no other % (got {name!r})")
        self._name = name
        self._dated = "%" in name
        example = self.at(0)
        if _ILLEGAL.search(example) or example != example.lower() or not example.isprintable():
            rule = r'must be in lower case, without spaces, commas and any of \ / * ? " < > | # :'
            raise ConfigError(f"index {rule} (got {name!r})")
        if not example or example in (".", "..") or example[0] in "-_+":
            raise ConfigError(f"index must be a name that does not begin with any of - _ + (got {name!r})")
        if len(example.encode()) > _MAX_BYTES:
            raise ConfigError(f"index must have at most {_MAX_BYTES} bytes (got {len(example.encode())})")

    def at(self, second: int) -> str:
        """Return the name for events in a given second since 1970."""
        if not self._dated:
            return self._name
        moment = time.gmtime(second)
        return _DIRECTIVE.sub(lambda found: time.strftime(found[0], moment), self._name)

    @property
    def patterns(self) -> list[str]:
        """Patterns that match all the names and little else: ``metrics-*`` would match Elastic Agent's data streams.

        A ``*`` replaces everything from the first directive to the last, except the digit that a date starts with.
        """
        date = _DATE.search(self._name)
        if date is None:
            return [self._name]
        before, after = self._name[: date.start()], self._name[date.end() :]
        return [f"{before}{digit}*{after}" for digit in _FIRST_DIGITS[date[1]]]

    @property
    def template(self) -> str:
        """The name of the indices' template."""
        return "trio-batchmetrics-" + _DATE.sub("", self._name)


def template_body(name: IndexName, labels: Mapping[str, Any] | None, *, data_stream: bool) -> dict[str, Any]:
    """Return an index template (``PUT /_index_template``).

    Args:
        name: the indices' name; if two templates match an index, the one with the longer pattern applies.
        labels: the mapping of the field ``labels``; None: a keyword field per label.
        data_stream: whether the template creates a data stream.
    """
    keyword = {"type": "keyword", "ignore_above": _IGNORE_ABOVE}
    dynamic: list[dict[str, Any]] = [_dynamic("fields.*", "double", {"type": "double"})]
    properties: dict[str, Any] = {"@timestamp": {"type": "date_nanos"}, "kind": {"type": "keyword"}, "name": keyword}
    if labels is None:
        dynamic.append(_dynamic("labels.*", "string", keyword))
    else:
        properties["labels"] = labels
    body: dict[str, Any] = {
        "index_patterns": name.patterns,
        "priority": _PRIORITY + len(name.patterns[0]),
        "template": {"mappings": {"dynamic_templates": dynamic, "properties": properties}},
        "_meta": {"description": "made by trio-batchmetrics"},
    }
    return {**body, "data_stream": {}} if data_stream else body


def _dynamic(path: str, matched: str, mapping: dict[str, Any]) -> dict[str, Any]:
    return {path: {"path_match": path, "match_mapping_type": matched, "mapping": mapping}}
