"""Determines each event's outcome from InfluxDB's response to a write.

==================================================  ===================================================================
``partial write: unable to parse 'LINE': why``      1.x: the quoted lines are refused, the others stored
``unable to parse 'LINE': why``                     2.x: the quoted lines are refused, nothing stored: resend the others
``partial write of line protocol occurred``         3.x: lines are refused by number, the others stored
``… field "F" on measurement "M" … dropped=N``      the lines with F and M are refused, if there are N of them; resend
                                                    the others: one shard's refusal hides another's. If not, N counts
                                                    other fields, too, or only some of these lines: resend each kind
                                                    separately
``points beyond retention policy dropped=N``        the N oldest lines are refused, the others stored; old versions send
                                                    this with a 500
``points outside retention policy … dropped=N``     1.13, 2.7: the same; the N newest if they are beyond an upper bound
any other about lines, not about the request        halved, down to a single event, which is rejected with the server's
                                                    text; but if nothing was dropped: given up
==================================================  ===================================================================

1.13 adds `` for database: D for retention policy: P`` to each of them, and quotes names as Go does. 2.7 sends 422 where
1.x sends 400, and puts a text of its own first.

Resending lines that are already stored changes nothing: series and timestamp are the same. Sources: ``serveWrite``
in ``services/httpd/handler.go``, ``coordinator/points_writer.go`` and ``tsdb/shard.go`` of InfluxDB 1.8.3 and 1.13.2,
``http/write_handler.go`` and ``v1/coordinator/points_writer.go`` of 2.7.12; tested with these and with 1.6.7.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from typing import Any, cast

import attrs

from ..._http import Endpoint, Response, receipt_from
from ...abc import Receipt, Schema

__all__ = ["lines_of", "receipt_for"]

_ABOUT_LINES = re.compile(
    r"partial write|unable to parse|line protocol|dropped=|incorrect influx line|points beyond retention policy"
)
"""Errors in a 400 or 422 that are about lines; the last two are VictoriaMetrics' (1.151, which stores nothing then)."""

_TOO_BIG = re.compile(r"too big (?:un)?packed request")
"""VictoriaMetrics responds with 400 to a payload that is too large (``-maxInsertRequestSize``)."""

_TOO_OLD = re.compile(r"points (?:beyond|outside) retention policy")
_BOUND = re.compile(r"violates a [A-Za-z ]{,40}(Lower|Upper) Bound at ")
"""1.13 and 2.7: the bound that the oldest and the newest of the dropped lines violate."""

_FOR_DATABASE = " for database: "
_UNPARSED = "unable to parse '"
_QUOTED = "': "
_REASON_MAX_CHARS = 300
_NO_POSITIONS = frozenset[int]()


@attrs.frozen
class _SentLines:
    """The lines of a payload, and the position of each line's event."""

    lines: Sequence[str]
    positions: Sequence[int]

    def of(self, numbers: Iterable[int], reason: str) -> dict[int, str]:
        """Map the events of some lines to a reason."""
        return {self.positions[number]: reason for number in numbers}

    def naming(self, reason: str) -> list[int]:
        """Return the numbers of the lines with the field and the measurement that a reason names."""
        field, _, rest = reason.partition('input field "')[2].partition('" on measurement "')
        measurement, mark, _ = rest.rpartition('" is type')
        for unquoted in (str, _unquoted) if mark else ():
            starts, assignment = _line_starts(unquoted(measurement)), f",{unquoted(field)}="
            found = [number for number, line in enumerate(self.lines) if line.startswith(starts)]
            if found := [number for number in found if assignment in f",{_fields(self.lines[number])}"]:
                return found
        return []

    def oldest(self, count: int, *, newest: bool = False) -> list[int] | None:
        """Return the numbers of the ``count`` oldest (or newest) lines; None if a line that remains is just as old."""
        times = [(int(line[line.rindex(" ") :]), number) for number, line in enumerate(self.lines)]
        times.sort(reverse=newest)
        if not 0 < count <= len(times) or (count < len(times) and times[count - 1][0] == times[count][0]):
            return None
        return [number for _, number in times[:count]]


def receipt_for(
    response: Response, server: Endpoint, body: bytes, events: Sequence[object]
) -> tuple[Receipt, frozenset[int]]:
    """Return the receipt for a response, and the events to send separately from the others in the next requests.

    Args:
        response: the server's response.
        server: the server.
        body: the lines that were sent.
        events: the events that they belong to.

    Returns:
        The receipt. ``split`` with ``in_doubt``: some lines are refused, and others may be stored. Resending is safe.
        The positions of the events that the response names, if it doesn't show whether other lines are refused too.
    """
    plain = receipt_from(response, server)
    if response.status not in (400, 422) and not (response.status == 500 and _TOO_OLD.search(response.words)):
        return plain, _NO_POSITIONS
    try:
        return _receipt_about_lines(response, server, body, events, plain)
    except (ValueError, RecursionError):  # too deeply nested JSON, or too long a number
        return plain, _NO_POSITIONS


def _receipt_about_lines(
    response: Response, server: Endpoint, body: bytes, events: Sequence[object], plain: Receipt
) -> tuple[Receipt, frozenset[int]]:
    error, data = _parsed_body(response)
    if _TOO_BIG.search(error):
        return Receipt.split(error=plain.error), _NO_POSITIONS
    if not _ABOUT_LINES.search(error) and not _has_line_numbers(data):
        return plain, _NO_POSITIONS
    sent = _sent_lines(body, events)
    rejection = sent and (
        _parse_line_numbers(sent, error, data) or _parse_quoted_lines(sent, error) or _parse_dropped_count(sent, error)
    )
    if not rejection:
        if len(events) == 1 and _UNPARSED not in error and (dropped := _dropped(error)) and dropped[1] == 0:
            return plain, _NO_POSITIONS  # the event is stored, or in doubt
        named = frozenset(sent.positions[number] for number in sent.naming(error)) if sent else _NO_POSITIONS
        return Receipt.split(error=plain.error, in_doubt=True), named if len(named) < len(events) else _NO_POSITIONS
    rejected, others_stored = rejection
    words = {reason: " ".join(server.scrubbed(reason).split())[:_REASON_MAX_CHARS] for reason in {*rejected.values()}}
    reasons = {item: words[reason] for item, reason in rejected.items()}
    if others_stored:
        return Receipt(rejected=reasons, error=plain.error), _NO_POSITIONS
    return Receipt.split(rejected=reasons, error=plain.error, in_doubt=True), frozenset(reasons)


def lines_of(positions: Collection[int], body: bytes, events: Sequence[object]) -> bytes:
    """Return the lines of some events, by position, from a body with the lines of all of them."""
    sent = _sent_lines(body, events) or _SentLines((), ())
    chosen = {*positions}
    lines = [line for line, item in zip(sent.lines, sent.positions, strict=True) if item in chosen]
    return "".join(f"{line}\n" for line in lines).encode()


_Rejection = tuple[dict[int, str], bool]
"""The rejected events with the reasons, and whether the other events are stored."""


def _has_line_numbers(data: Any) -> bool:
    """Return whether the data that InfluxDB 3 adds to an error is about lines."""
    entries = cast("Sequence[Any]", data) if isinstance(data, list) else [data]
    return any(isinstance(each, dict) and "line_number" in each for each in entries)


def _parse_line_numbers(sent: _SentLines, error: str, data: Any) -> _Rejection | None:
    """Parse InfluxDB 3's list: ``[{"line_number": 1, "error_message": "…"}]``, or a single item of it."""
    rejected: dict[int, str] = {}
    entries = cast("Sequence[Any]", data) if isinstance(data, list) else [data]
    try:
        for each in entries:
            number = each["line_number"]
            if type(number) is not int or not 1 <= number <= len(sent.lines):
                return None
            rejected[sent.positions[number - 1]] = str(each["error_message"])
    except (KeyError, TypeError):
        return None
    return (rejected, "partial write" in error) if rejected else None


def _parse_quoted_lines(sent: _SentLines, error: str) -> _Rejection | None:
    """Parse the lines that InfluxDB 1 and 2 quote."""
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
        rejected[sent.positions[number]] = f"unable to parse: {reason if dropped is None else dropped[0]}"
    return rejected, error.startswith("partial write: ")


class _Prefixes:
    """Finds the line that a text starts with, in time independent of the number of lines."""

    def __init__(self, lines: Sequence[str]) -> None:
        """Sort the lines. Those that a text starts with come before it, and each is a prefix of the next."""
        self._order = sorted(range(len(lines)), key=lines.__getitem__)
        self._lines = [lines[number] for number in self._order]
        self._shorter: list[int] = []
        """The index of the longest other line that a line starts with, or -1."""
        for place, line in enumerate(self._lines):
            shorter = place - 1
            while shorter >= 0 and not line.startswith(self._lines[shorter]):
                shorter = self._shorter[shorter]
            self._shorter.append(shorter)

    def quoted(self, text: str) -> int | None:
        """Return the number of the line that a text quotes before ``': ``, which a line may contain itself."""
        place = bisect_right(self._lines, text) - 1
        while place >= 0:
            line = self._lines[place]
            if text.startswith(_QUOTED, len(line)) and text.startswith(line):
                return self._order[place]
            place = self._shorter[place]
        return None


def _parse_dropped_count(sent: _SentLines, error: str) -> _Rejection | None:
    """Parse the number of dropped lines, and identify these lines."""
    dropped = _dropped(error)
    if dropped is None or dropped[1] == 0:
        return None
    reason, count = dropped
    if _TOO_OLD.search(reason):
        bounds = {*_BOUND.findall(reason)}
        outside = None if len(bounds) > 1 else sent.oldest(count, newest=bounds == {"Upper"})
        return None if outside is None else (sent.of(outside, reason), True)
    if len(matching := sent.naming(reason)) == count:
        return sent.of(matching, reason), False
    return (sent.of(range(count), reason), True) if count == len(sent.lines) else None


def _unquoted(name: str) -> str:
    """Unquote a name that Go has quoted; for characters in names, JSON's rules are nearly always the same."""
    try:
        return str(json.loads(f'"{name}"'))
    except ValueError:
        return name


def _dropped(error: str) -> tuple[str, int] | None:
    """Return the text before a final ``dropped=N``, and N. The text that 1.13 adds after it is removed.

    Raises:
        ValueError: N has too many digits.
    """
    reason, mark, rest = error.rpartition("dropped=")
    count = rest.partition(_FOR_DATABASE)[0].rstrip()
    return (reason.rstrip(" "), int(count)) if mark and count.isascii() and count.isdigit() else None


def _sent_lines(body: bytes, events: Sequence[object]) -> _SentLines | None:
    lines = body.decode().split("\n")[:-1]
    positions: list[int] = []
    for item, event in enumerate(events):
        schema: Schema | None = getattr(type(event), "__metric_schema__", None)  # None: the point of a series
        positions += [item] * (1 if schema is None or schema.named else len(schema.measures))
    return _SentLines(lines, positions) if len(positions) == len(lines) else None


def _line_starts(measurement: str) -> tuple[str, str]:
    """Return the two possible starts of a measurement's lines. A name never ends with a backslash."""
    written = measurement.replace(",", "\\,").replace(" ", "\\ ")
    return f"{written},", f"{written} "


def _fields(line: str) -> str:
    """Return the fields of a line.

    The search starts at the end, so that long labels cost nothing. The fields are numbers, so they contain no spaces.
    """
    end = line.rindex(" ")
    return line[line.rindex(" ", 0, end) + 1 : end]


def _parsed_body(response: Response) -> tuple[str, Any]:
    """Return the error in a JSON or text body, and the data that InfluxDB 3 adds to it."""
    try:
        found: object = json.loads(response.body)
    except ValueError:
        return response.body.decode(errors="replace"), None
    if not isinstance(found, dict):
        return response.body.decode(errors="replace"), None
    body = cast("dict[str, Any]", found)
    return str(body.get("error") or body.get("message") or ""), body.get("data")
