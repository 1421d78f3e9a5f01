"""What InfluxDB's answers to a write mean for each event of a payload.

==================================================  ===================================================================
``partial write: unable to parse 'LINE': why``      1.x: the named lines refused, the others stored
``unable to parse 'LINE': why``                     2.x: the named lines refused, nothing stored: the others again
``partial write of line protocol occurred``         3.x: lines refused by number, the others stored
``… field "F" on measurement "M" … dropped=N``      the lines of F and M refused, if there are N; the others again: one
                                                    shard's refusal hides another's
``points beyond retention policy dropped=N``        the N oldest lines refused, the others stored
any other about lines, not about the request        halved, until one event stands alone; it then has the server's words
                                                    and is rejected; unless nothing was dropped: given up
==================================================  ===================================================================

To send lines again that are stored already changes nothing: series and timestamp are the same. Sources: ``serveWrite``
in ``services/httpd/handler.go``, ``coordinator/points_writer.go`` and ``tsdb/shard.go`` of InfluxDB 1.8.3; tried on
1.6.7 and 1.8.3.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from typing import Any, cast

import attrs

from ..._schema import MetricEvent
from ...abc import Receipt
from .._http import Answer, Endpoint, receipt_of

__all__ = ["receipt_for", "without"]

_ABOUT_LINES = re.compile(r"partial write|unable to parse|line protocol|dropped=|incorrect influx line")
"""Words of 400 and 422 that are about lines; the last ones are VictoriaMetrics' (1.151: it stores nothing then)."""

_TOO_BIG = re.compile(r"too big (?:un)?packed request")
"""VictoriaMetrics' 413 is a 400 (``-maxInsertRequestSize``)."""

_RETENTION = "points beyond retention policy"
_UNPARSED = "unable to parse '"
_QUOTED = "': "
_LINE = re.compile(r"(.*?)(?<!\\)(?:,.*?(?<!\\))? (.*) .*")
"""Measurement and fields of a line: they end where no backslash stands before."""
_WORDS = 300


@attrs.frozen
class _Sent:
    """The lines of a payload, and whose they are."""

    lines: Sequence[str]
    items: Sequence[int]

    def of(self, numbers: Iterable[int], reason: str) -> dict[int, str]:
        """Return the events of some lines, with a reason."""
        return {self.items[number]: reason for number in numbers}

    def measured(self, field: str, measurement: str) -> list[int]:
        """Return the numbers of the lines that have a field of a measurement."""
        return [number for number, line in enumerate(self.lines) if _has(line, field, measurement)]

    def oldest(self, count: int) -> list[int] | None:
        """Return the numbers of so many lines that are the oldest; None if one that stays is as old."""
        ages = sorted((int(line.rpartition(" ")[2]), number) for number, line in enumerate(self.lines))
        if not 0 < count <= len(ages) or (count < len(ages) and ages[count - 1][0] == ages[count][0]):
            return None
        return [number for _, number in ages[:count]]


def receipt_for(answer: Answer, server: Endpoint, body: bytes, events: Sequence[MetricEvent]) -> Receipt:
    """Say what an answer means.

    Args:
        answer: the server's.
        server: who it is.
        body: the lines that were sent.
        events: whose they are.

    Returns:
        ``rejected`` with ``retry``: the other lines may not have been stored. To send them again is safe.
        ``too_large`` with ``uncertain``: some lines are refused, others may be stored, and which cannot be told.
    """
    plain = receipt_of(answer, server)
    if answer.status not in (400, 422):
        return plain
    try:
        return _about_lines(answer, server, body, events, plain)
    except (ValueError, RecursionError):  # JSON that is too deep, a number that is too long
        return plain


def _about_lines(
    answer: Answer, server: Endpoint, body: bytes, events: Sequence[MetricEvent], plain: Receipt
) -> Receipt:
    error, data = _read(answer)
    if _TOO_BIG.search(error):
        return Receipt(too_large=True, error=plain.error)
    if not _ABOUT_LINES.search(error) and not _names_lines(data):
        return plain
    sent = _sent(body, events)
    found = sent and (_by_number(sent, error, data) or _by_text(sent, error) or _by_count(sent, error))
    if not found:
        if len(events) == 1 and _UNPARSED not in error and (dropped := _dropped(error)) and dropped[1] == 0:
            return plain  # it is stored, or nobody knows
        return Receipt(too_large=True, uncertain=True, error=plain.error)
    rejected, others_stored = found
    words = {reason: " ".join(server.scrubbed(reason).split())[:_WORDS] for reason in {*rejected.values()}}
    reasons = {item: words[reason] for item, reason in rejected.items()}
    return Receipt(rejected=reasons, retry=not others_stored, error=plain.error)


def without(body: bytes, events: Sequence[MetricEvent], rejected: Collection[int]) -> bytes:
    """Return a body without the lines of some events; it has those of all of them."""
    sent = _sent(body, events) or _Sent((), ())
    left = [line for line, item in zip(sent.lines, sent.items, strict=True) if item not in rejected]
    return "".join(f"{line}\n" for line in left).encode()


_Found = tuple[dict[int, str], bool]
"""Events with a reason, and whether the others are stored."""


def _names_lines(data: Any) -> bool:
    """Tell whether what InfluxDB 3 adds to an error is about lines."""
    entries = cast("Sequence[Any]", data) if isinstance(data, list) else [data]
    return any(isinstance(each, dict) and "line_number" in each for each in entries)


def _by_number(sent: _Sent, error: str, data: Any) -> _Found | None:
    """Read what InfluxDB 3 says: ``[{"line_number": 1, "error_message": "…"}]``, or one of these alone."""
    rejected: dict[int, str] = {}
    entries = cast("Sequence[Any]", data) if isinstance(data, list) else [data]
    try:
        for each in entries:
            number = each["line_number"]
            if type(number) is not int or not 1 <= number <= len(sent.lines):
                return None
            rejected[sent.items[number - 1]] = str(each["error_message"])
    except (KeyError, TypeError):
        return None
    return (rejected, "partial write" in error) if rejected else None


def _by_text(sent: _Sent, error: str) -> _Found | None:
    """Read the lines that InfluxDB 1 and 2 quote."""
    lines = _Prefixes(sent.lines)
    rejected: dict[int, str] = {}
    for each in error.removeprefix("partial write: ").split("\n"):
        before, mark, rest = each.partition(_UNPARSED)
        if before or not mark:
            return None
        number = lines.quoted(rest)
        if number is None:
            return None
        reason = rest[len(sent.lines[number]) + len(_QUOTED) :]
        dropped = _dropped(reason)
        rejected[sent.items[number]] = f"unable to parse: {reason if dropped is None else dropped[0]}"
    return rejected, error.startswith("partial write: ")


class _Prefixes:
    """Finds the line that a text begins with, in a time that does not depend on how many there are."""

    def __init__(self, lines: Sequence[str]) -> None:
        """Sort the lines: those that a text begins with come next before it, one the beginning of the other."""
        self._order = sorted(range(len(lines)), key=lines.__getitem__)
        self._lines = [lines[number] for number in self._order]
        self._shorter: list[int] = []
        """The place of the longest other line that a line begins with, or -1."""
        for place, line in enumerate(self._lines):
            shorter = place - 1
            while shorter >= 0 and not line.startswith(self._lines[shorter]):
                shorter = self._shorter[shorter]
            self._shorter.append(shorter)

    def quoted(self, text: str) -> int | None:
        """Return the number of the line that a text begins with, before ``': ``; a line may hold that itself."""
        place = bisect_right(self._lines, text) - 1
        while place >= 0:
            line = self._lines[place]
            if text.startswith(_QUOTED, len(line)) and text.startswith(line):
                return self._order[place]
            place = self._shorter[place]
        return None


def _by_count(sent: _Sent, error: str) -> _Found | None:
    """Read how many lines were dropped, and find out which."""
    dropped = _dropped(error)
    if dropped is None or dropped[1] == 0:
        return None
    reason, count = dropped
    if _RETENTION in reason:
        oldest = sent.oldest(count)
        return None if oldest is None else (sent.of(oldest, reason), True)
    field, _, rest = reason.partition('input field "')[2].partition('" on measurement "')
    measurement, mark, _ = rest.rpartition('" is type')
    if mark and len(guilty := sent.measured(field, measurement)) == count:
        return sent.of(guilty, reason), False
    return (sent.of(range(count), reason), True) if count == len(sent.lines) else None


def _dropped(error: str) -> tuple[str, int] | None:
    """Return what stands before ``dropped=N`` at the end, and N.

    Raises:
        ValueError: N is too long to be read.
    """
    reason, mark, count = error.rpartition("dropped=")
    count = count.rstrip()
    return (reason.rstrip(" "), int(count)) if mark and count.isascii() and count.isdigit() else None


def _sent(body: bytes, events: Sequence[MetricEvent]) -> _Sent | None:
    lines = body.decode().split("\n")[:-1]
    items: list[int] = []
    for item, event in enumerate(events):
        schema = type(event).__metric_schema__
        items += [item] * (1 if schema is None or schema.named else len(schema.measures))
    return _Sent(lines, items) if len(items) == len(lines) else None


def _has(line: str, field: str, measurement: str) -> bool:
    name, fields = _LINE.sub(r"\1\n\2", line).split("\n")
    return name.replace("\\,", ",").replace("\\ ", " ") == measurement and f",{field}=" in f",{fields}"


def _read(answer: Answer) -> tuple[str, Any]:
    """Return the error, and what InfluxDB 3 adds to it, of a body that is JSON or text."""
    try:
        found: object = json.loads(answer.body)
    except ValueError:
        return answer.body.decode(errors="replace"), None
    if not isinstance(found, dict):
        return answer.body.decode(errors="replace"), None
    body = cast("dict[str, Any]", found)
    return str(body.get("error") or body.get("message") or ""), body.get("data")
