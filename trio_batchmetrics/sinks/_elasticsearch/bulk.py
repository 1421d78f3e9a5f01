"""Events to the body of a ``_bulk`` request: two lines per event, the action and the document.

How this works
==============

::

    {"create":{"_index":"metrics-2026.11.24","_id":"<the collector's run>-<the event's serial number>"}}
    {"@timestamp":"2026-11-24T03:05:00.123456789Z","kind":"HttpRequest","labels":{…},"fields":{"duration":0.15}}

The document is the usual JSON form (``abc.json_lines``). Text that depends only on the second is built once per second.
So an event costs one look-up, and the other steps run in C.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache

from ...abc import (
    Batch,
    EventIds,
    Limits,
    SinkContext,
    by_second,
    nanosecond_texts,
    number_texts,
    padded_texts,
    rfc3339,
)

__all__ = ["BulkBody"]

_NS = 1_000_000_000

_END = "}}\n"

_DIGITS = 10
"""The length of a serial number."""


class BulkBody:
    """Writes events as lines of a ``_bulk`` request's body."""

    def __init__(
        self, action: str, index: Callable[[int], str], context: SinkContext, limits: Limits | None = None
    ) -> None:
        """Configure the lines.

        Args:
            action: ``create`` or ``index``.
            index: returns the index's name for a second since 1970 (UTC); it has no quotes or backslashes.
            context: the collector's context.
            limits: the largest labels that are accepted.
        """
        self._action = action
        self._index = index
        self._writer = context.json_writer(limits)
        self._run_id = context.run_id
        self._texts = lru_cache(maxsize=256)(self._build_texts)

    def lines(self, batch: Batch) -> bytes:
        """Return the lines of a batch, in order.

        An event's ``_id`` consists of its run and its serial number, so it is the same in each request.

        Raises:
            ValueError: labels exceed a limit.
            OverflowError: a timestamp is beyond the calendar.
        """
        bodies = self._writer.bodies(batch, number_texts)
        timestamps, ids = batch.timestamps, _document_ids(batch.ids)
        run_id = "" if batch.ids.given else f"{batch.ids.run_id or self._run_id}-"
        written: list[str] = []
        for second, run in by_second(timestamps):
            before, between = self._texts(second, run_id)
            size = len(bodies[run])
            cells = [""] * (6 * size)
            cells[0::6] = [before] * size
            cells[1::6] = ids[run]
            cells[2::6] = [between] * size
            cells[3::6] = nanosecond_texts(timestamps[run], second)
            cells[4::6] = ['Z",'] * size
            cells[5::6] = bodies[run]
            written += cells
        return ("".join(written)[len(_END) :] + _END).encode() if written else b""

    def _build_texts(self, second: int, run_id: str) -> tuple[str, str]:
        """Return the text from the end of the previous event to an event's id, and from there to its nanoseconds."""
        before = f'{_END}{{"{self._action}":{{"_index":"{self._index(second)}","_id":"{run_id}'
        return before, f'"}}}}\n{{"@timestamp":"{rfc3339(second * _NS)[:-10]}'


def _document_ids(ids: EventIds) -> list[str]:
    """Return each event's ``_id``, without the common run unless some events came with an id of their own.

    Increasing ids of equal length are the fastest to look up (blog.mikemccandless.com, "Choosing a fast unique
    identifier (UUID) for Lucene").
    """
    if not ids.given:
        return padded_texts(ids.serials, _DIGITS)
    found: list[str] = []
    for event_id in ids:
        run_id, _, serial = event_id.rpartition(":")
        is_number = serial.isascii() and serial.isdecimal()
        found.append(json.dumps(f"{run_id}-{serial.zfill(_DIGITS)}" if is_number else event_id)[1:-1])
    return found
