"""Events to the body of a ``_bulk`` request: two lines an event, what to do and the document.

How this works
==============

::

    {"create":{"_index":"metrics-2026.11.24","_id":"<the collector's run>-<the event's serial number>"}}
    {"@timestamp":"2026-11-24T03:05:00.123456789Z","kind":"HttpRequest","labels":{…},"fields":{"duration":0.15}}

Nearly all of that is the same for many events: it depends on the second, or on the class and the labels. What depends
on the second is a ``%`` format, repeated for all rows of the second over one tuple; what depends on class and labels is
a text that is kept for each combination of label values. So a row costs a look-up, and then steps of C.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any

from ..._events import Batch, Limits, MetricEvent, plain_rows, rfc3339
from .documents import Shapes, Texts

__all__ = ["BulkBody"]

_NS = 1_000_000_000

_CLASS = itemgetter(0)
_TIMESTAMP = itemgetter(1)


class BulkBody:
    """Writes events as lines of a ``_bulk`` request's body.

    A document is, to whoever reads JSON, what :func:`~trio_batchmetrics.abc.json_line` writes.
    """

    def __init__(
        self,
        action: str,
        index: Callable[[int], str],
        run_id: str,
        static: Mapping[str, str],
        limits: Limits | None = None,
    ) -> None:
        """Know what all events have in common.

        Args:
            action: ``create`` or ``index``.
            index: the index's name for the events of a second (since 1970, UTC); without ``%``, quotes, backslashes.
            run_id: what every id begins with; without these either.
            static: labels to add to every event; its own win.
            limits: the largest labels that are taken.
        """
        self._action = action
        self._index = index
        self._run_id = run_id
        self._shapes = Shapes()
        self._texts = Texts(static, limits)
        self._format = lru_cache(maxsize=256)(self._written_format)

    def lines(self, events: Sequence[MetricEvent]) -> bytes:
        """Return the lines of valid events, in order.

        An event's id is made of the run and its serial number, so it is the same each time, whatever is beside it.

        Raises:
            Exception: of any kind, for events that have no such form.
        """
        rows = plain_rows(events)
        serials = events.serials if isinstance(events, Batch) else range(len(rows))
        texts, values = self._columns(rows)
        timestamps = [*map(_TIMESTAMP, rows)]
        written: list[str] = []
        for second, run in _seconds(timestamps):
            start = second * _NS
            cells: list[Any] = [None] * (4 * len(run))
            cells[0::4] = serials[run.start : run.stop]
            cells[1::4] = [timestamp - start for timestamp in timestamps[run.start : run.stop]]
            cells[2::4] = texts[run.start : run.stop]
            cells[3::4] = values[run.start : run.stop]
            written.append(self._format(second) * len(run) % tuple(cells))
        return "".join(written).encode()

    def _columns(self, rows: Sequence[tuple[Any, ...]]) -> tuple[list[str], list[str]]:
        """Return each row's text, and what it measured."""
        if len({*map(_CLASS, rows)}) == 1:
            return self._columns_of_one(rows)
        places: dict[type[MetricEvent], list[int]] = {}
        for place, row in enumerate(rows):
            if row[0] in places:
                places[row[0]].append(place)
            else:
                places[row[0]] = [place]
        texts, values = [""] * len(rows), [""] * len(rows)
        for at in places.values():
            some = self._columns_of_one([rows[place] for place in at])
            for place, text, value in zip(at, *some, strict=True):
                texts[place], values[place] = text, value
        return texts, values

    def _columns_of_one(self, rows: Sequence[tuple[Any, ...]]) -> tuple[list[str], list[str]]:
        """Return the same of rows that are all of one class."""
        keys, values = self._shapes[rows[0][0]].columns(rows)
        return [*map(self._texts.__getitem__, keys)], values

    def _written_format(self, second: int) -> str:
        """Return the format of an event's lines in a second: serial number, nanoseconds, text, value."""
        # Ids of one length that rise are the quickest to look up (blog.mikemccandless.com, "Choosing a fast unique
        # identifier (UUID) for Lucene").
        entry = f'{{"_index":"{self._index(second)}","_id":"{self._run_id}-%010d"}}'
        return f'{{"{self._action}":{entry}}}\n{{"@timestamp":"{rfc3339(second * _NS)[:-10]}%09dZ",%s%s}}}}\n'


def _seconds(timestamps: Sequence[int]) -> Iterator[tuple[int, range]]:
    """Yield each run of rows within one second: the second, and which rows."""
    if not timestamps:
        return
    second = min(timestamps) // _NS
    if second == max(timestamps) // _NS:  # nearly always, where there are many
        yield second, range(len(timestamps))
        return
    start = 0
    for second, run in groupby(timestamp // _NS for timestamp in timestamps):
        stop = start + sum(1 for _ in run)
        yield second, range(start, stop)
        start = stop
