"""Events to the body of a ``_bulk`` request: two lines per event, the action and the document.

How this works
==============

::

    {"create":{"_index":"metrics-2026.11.24","_id":"<the collector's run>-<the event's serial number>"}}
    {"@timestamp":"2026-11-24T03:05:00.123456789Z","kind":"HttpRequest","labels":{…},"fields":{"duration":0.15}}

The document is the usual JSON form (``abc.json_lines``). Everything that depends only on the second is a ``%`` format,
repeated for all events of the second over one tuple.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from ..._events import Batch, EventIds, Limits, Origin, json_texts, number_texts, rfc3339, seconds_of

__all__ = ["BulkBody"]

_NS = 1_000_000_000


class BulkBody:
    """Writes events as lines of a ``_bulk`` request's body."""

    def __init__(self, action: str, index: Callable[[int], str], origin: Origin, limits: Limits | None = None) -> None:
        """Configure the lines.

        Args:
            action: ``create`` or ``index``.
            index: the index's name for the events of a second (since 1970, UTC); without ``%``, quotes, backslashes.
            origin: what the collector's batches share.
            limits: the largest labels that are accepted.
        """
        self._action = action
        self._index = index
        self._texts = json_texts(origin, limits)
        self._run_id = origin.run_id
        self._format = lru_cache(maxsize=256)(self._write_format)

    def lines(self, batch: Batch) -> bytes:
        """Return the lines of a batch, in order.

        An event's ``_id`` consists of its run and its serial number, so it is the same in every request.

        Raises:
            ValueError: labels exceed a limit.
            OverflowError: a timestamp is beyond the calendar.
        """
        bodies = self._texts.bodies(batch, number_texts)
        timestamps, serials = batch.timestamps, batch.ids.serials
        run_id, given = batch.ids.run_id or self._run_id, batch.ids.given
        written: list[str] = []
        for second, run in seconds_of(timestamps):
            start = second * _NS
            part = slice(run.start, run.stop)
            cells: list[Any] = [None] * (3 * len(run))
            cells[0::3] = _document_ids(batch.ids[part]) if given else serials[part]
            cells[1::3] = [timestamp - start for timestamp in timestamps[part]]
            cells[2::3] = bodies[part]
            written.append(self._format(second, "%s" if given else f"{run_id}-%010d") * len(run) % tuple(cells))
        return "".join(written).encode()

    def _write_format(self, second: int, document_id: str) -> str:
        """Return the format of an event's lines in a second: serial number or id, nanoseconds, body."""
        entry = f'{{"_index":"{self._index(second)}","_id":"{document_id}"}}'
        return f'{{"{self._action}":{entry}}}\n{{"@timestamp":"{rfc3339(second * _NS)[:-10]}%09dZ",%s}}}}\n'


def _document_ids(ids: EventIds) -> list[str]:
    """Return ``_id`` for events some of which came with an id of their own, ``run_id:serial``.

    Ids of one length that rise are the fastest to look up (blog.mikemccandless.com, "Choosing a fast unique identifier
    (UUID) for Lucene").
    """
    found: list[str] = []
    for event_id in ids:
        run_id, _, serial = event_id.rpartition(":")
        found.append(f"{run_id}-{int(serial):010d}" if serial.isdecimal() else event_id)
    return found
