"""Timestamps that never collide within a series: InfluxDB keeps one point per series and timestamp.

How this works
==============

Two lines of one series with the same nanosecond would be one point; so the later one moves to the next free nanosecond.
This must be the same one each time the line is written (in a repeated attempt, in a half, in the rest after a partial
write), else it would be stored twice. So the timestamp that a line was given is kept with its event's serial number.

Recorders take the time when they are called, so a chunk's timestamps nearly always increase, and are later than all
earlier ones. Then nothing can collide, and the chunk is only recorded (:meth:`Timestamps.beyond`). Otherwise each line
is looked up among the most recent ones; for that, chunks with nearby times are indexed, once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from operator import lt

import attrs

from ...abc import EventIds

__all__ = ["EARLIEST", "LATEST", "WINDOW", "Timestamps"]

EARLIEST, LATEST = -(2**63) + 2, 2**63 - 2
"""The timestamps that InfluxDB accepts (``models.MinNanoTime``, ``models.MaxNanoTime``)."""

WINDOW = 50_000
"""The number of lines remembered: ten payloads of the default ``max_events``; 2.5 MB, 15 MB if indexed."""

_TEXT_MAX_CHARS = 20_000_000
"""Maximum number of characters built for the remembered lines: 400 for each, if they are all of new series."""

_SMALL = 50
"""A chunk of fewer lines is joined to the one before, to limit the number of chunks."""

_JOINED = 100
"""Maximum number of lines in a joined chunk."""

_LINES = 1 << 16
"""The multiplier of an event's serial number: below it, the numbers of the event's lines distinguish them."""


_OTHER_RUNS = 10_000
"""Maximum number of other runs that are remembered."""

_DIGITS = 19
"""The most digits of a serial number of another run."""

_RUN = 1 << 64
"""The multiplier of another run's number: the serial numbers of its events are below it."""


@attrs.define(eq=False)
class _Chunk:
    """Consecutive lines."""

    heads: Sequence[str]
    stamps: Sequence[int]
    """Their assigned timestamps."""
    serials: Sequence[int]
    """Their events."""
    first: int
    """A line's identifier is this plus its event's serial number times ``scale``."""
    low: int
    high: int
    owned: bool
    """Whether it is indexed."""
    scale: int = _LINES
    text: int = 0
    """The number of characters that its series added."""

    def join(self, other: _Chunk) -> None:
        """Append another chunk's lines; both must be indexed, or neither."""
        self.heads = [*self.heads, *other.heads]
        self.stamps = [*self.stamps, *other.stamps]
        self.serials = [*self.ids(), *other.ids()]
        self.first, self.scale = 0, 1
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self.text += other.text

    def slots(self) -> Iterator[tuple[str, int]]:
        """Yield each line's series and timestamp."""
        return zip(self.heads, self.stamps, strict=True)

    def ids(self) -> list[int]:
        """Return each line's identifier."""
        return [self.first + serial * self.scale for serial in self.serials]


class Timestamps:
    """Assigns timestamps to lines."""

    def __init__(self, window: int = WINDOW) -> None:
        """Create an assignment that remembers no lines yet.

        Args:
            window: the number of lines to remember.
        """
        self._window = window
        self._chunks: deque[_Chunk] = deque()
        self._lines = 0
        self._text = 0
        self._high = EARLIEST - 1
        self._owners: dict[tuple[str, int], int] = {}
        """The line that owns each timestamp of each series."""
        self._skips: dict[tuple[str, int], int] = {}
        """Where to continue the search after a taken timestamp, if not at the next one."""
        self._moved: dict[int, tuple[str, int, int]] = {}
        """Series, own timestamp and assigned timestamp of lines that have moved."""
        self._run = 0
        self._other_runs: dict[str, int] = {}
        """The numbers of other runs, whose events a relay passes on with their own ids."""
        self._runs_met = 0

    def beyond(self, stamps: Sequence[int]) -> bool:
        """Return whether the timestamps of some events increase strictly, and are later than all earlier ones.

        Args:
            stamps: at least one timestamp.

        Raises:
            ValueError: InfluxDB does not accept such a time.
        """
        rising = all(map(lt, stamps, islice(stamps, 1, None)))
        low, high = (stamps[0], stamps[-1]) if rising else (min(stamps), max(stamps))
        if low < EARLIEST or high > LATEST:
            raise ValueError(f"timestamp must fit into 64 bits (got {low if low < EARLIEST else high})")
        beyond = rising and low > self._high
        self._high = max(self._high, high)
        return beyond

    def given(
        self,
        heads: Sequence[str],
        stamps: Sequence[int],
        serials: Sequence[int],
        line: int,
        *,
        beyond: bool,
        text: int = 0,
    ) -> Sequence[int]:
        """Return the timestamps assigned to some lines.

        Args:
            heads: each line's series.
            stamps: each line's own timestamp.
            serials: each line's event.
            line: the number of these lines within their events, the same for all of them.
            beyond: the result of :meth:`beyond` for the events.
            text: the number of characters built for the heads; a head shared with other lines is the same object.

        Raises:
            ValueError: there is no later timestamp to move to.
        """
        first = self._run + line
        if beyond:
            self._note(_Chunk(heads, stamps, serials, first, stamps[0], stamps[-1], owned=False, text=text))
            return stamps
        low, high = min(stamps), max(stamps)
        self._index(low, high + self._window)
        found: list[int] = []
        new: list[tuple[str, int, int]] = []  # series, timestamp, event
        for head, stamp, serial in zip(heads, stamps, serials, strict=True):
            me = first + serial * _LINES
            was_head, was, now = self._moved.get(me, ("", 0, 0))
            slot = (head, now if was == stamp and was_head == head else stamp)
            owner = self._owners.get(slot)
            if owner is None or owner != me:
                if owner is not None:
                    slot = (head, self._free(*slot))
                    self._moved[me] = (head, stamp, slot[1])
                self._owners[slot] = me
                new.append((head, slot[1], serial))
            found.append(slot[1])
        if new:
            series, times, events = ([*each] for each in zip(*new, strict=True))
            self._note(_Chunk(series, times, events, first, min(times), max(times), owned=True, text=text))
            self._high = max(self._high, *found)
        return found

    def numbers(self, ids: EventIds) -> Sequence[int]:
        """Return a number for each event: its serial number, unless it came with the id of another run.

        Args:
            ids: the events' ids.
        """
        if not ids.given:
            return ids.serials
        return [self._number(ids.given.get(serial), serial) for serial in ids.serials]

    def _number(self, given: str | None, serial: int) -> int:
        if given is None:
            return serial
        run, _, its_serial = given.rpartition(":")
        if not (its_serial.isascii() and its_serial.isdecimal() and len(its_serial) <= _DIGITS):
            run, its_serial = given, "0"
        if run not in self._other_runs:
            if len(self._other_runs) >= _OTHER_RUNS:
                self._other_runs.clear()
            self._runs_met += 1
            self._other_runs[run] = self._runs_met
        return int(its_serial) + self._other_runs[run] * _RUN

    def renew(self) -> None:
        """Start over with serial numbers: from now on they belong to other events."""
        self._run += 1 << 128

    def _free(self, head: str, stamp: int) -> int:
        """Return a series' next free timestamp; remember to skip the taken ones next time."""
        passed: list[tuple[str, int]] = []
        while (slot := (head, stamp)) in self._owners:
            passed.append(slot)
            stamp = self._skips.get(slot, stamp + 1)
        if stamp > LATEST:
            raise ValueError("timestamp must be earlier: its series has no free one after it")
        self._skips.update(dict.fromkeys(passed, stamp))
        return stamp

    def _note(self, chunk: _Chunk) -> None:
        """Remember a chunk, and forget the oldest ones."""
        count, last = len(chunk.heads), self._chunks[-1] if self._chunks else None
        if last is not None and count < _SMALL and count + len(last.heads) <= _JOINED:
            if last.owned != chunk.owned:
                self._own(chunk if last.owned else last)
            last.join(chunk)
        else:
            self._chunks.append(chunk)
        self._lines += count
        self._text += chunk.text
        while (self._lines > self._window or self._text > _TEXT_MAX_CHARS) and len(self._chunks) > 1:
            oldest = self._chunks.popleft()
            self._lines -= len(oldest.heads)
            self._text -= oldest.text
            if oldest.owned:
                for slot in oldest.slots():
                    self._owners.pop(slot, None)
                    self._skips.pop(slot, None)
                for me in oldest.ids():
                    self._moved.pop(me, None)

    def _index(self, low: int, high: int) -> None:
        """Index the chunks with lines between two times."""
        for chunk in self._chunks:
            if not chunk.owned and chunk.low <= high and chunk.high >= low:
                self._own(chunk)

    def _own(self, chunk: _Chunk) -> None:
        self._owners.update(zip(chunk.slots(), chunk.ids(), strict=True))
        chunk.owned = True
