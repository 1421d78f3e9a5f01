"""Timestamps that never collide within a series: InfluxDB keeps one point for each series and timestamp.

How this works
==============

Two lines of one series with the same nanosecond would be one point; so the later one moves to the next nanosecond that
is free. It must be the same one each time the line is made (an attempt that is made again, a half, what is left after a
partial write), else it would arrive twice: what a line was given is kept with the serial number of its event.

Recorders take the time as they are called, so the timestamps of a chunk nearly always rise, and from beyond all that
came before: then nothing can collide, and the chunk is only noted (:meth:`Timestamps.beyond`). Otherwise each line is
looked up among those that were noted last; chunks whose times are near are indexed for that, once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from operator import lt

import attrs

__all__ = ["EARLIEST", "LATEST", "WINDOW", "Timestamps"]

EARLIEST, LATEST = -(2**63) + 2, 2**63 - 2
"""The timestamps that InfluxDB takes (``models.MinNanoTime``, ``models.MaxNanoTime``)."""

WINDOW = 50_000
"""Lines that are remembered: ten payloads of the default ``max_events``; 2.5 MB, indexed 15 MB."""

_TEXT_MAX_CHARS = 20_000_000
"""Most characters that were made for the lines that are remembered: 400 for each, if they are all of new series."""

_SMALL = 50
"""A chunk of fewer lines is joined to the one before, so that there are not too many of them."""

_JOINED = 100
"""Most lines of chunks that are joined."""

_LINES = 1 << 16
"""An event's lines are told apart by their number below this."""


@attrs.define(eq=False)
class _Chunk:
    """Lines that were made, in a row."""

    heads: Sequence[str]
    stamps: Sequence[int]
    """Their timestamps as they were given."""
    serials: Sequence[int]
    """Their events."""
    first: int
    """What identifies a line: this and its event's serial number times ``scale``."""
    low: int
    high: int
    owned: bool
    """Whether it is indexed."""
    scale: int = _LINES
    text: int = 0
    """Characters that its series added to those that were there."""

    def join(self, other: _Chunk) -> None:
        """Take another's lines; it is indexed, or not, as this one."""
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
        """Return what identifies each line."""
        return [self.first + serial * self.scale for serial in self.serials]


class Timestamps:
    """Gives lines their timestamps."""

    def __init__(self, window: int = WINDOW) -> None:
        """Remember no lines yet.

        Args:
            window: how many to remember.
        """
        self._window = window
        self._chunks: deque[_Chunk] = deque()
        self._lines = 0
        self._text = 0
        self._high = EARLIEST - 1
        self._owners: dict[tuple[str, int], int] = {}
        """Whose each timestamp of each series is."""
        self._skips: dict[tuple[str, int], int] = {}
        """Where to look on from one that is taken, if not at the next."""
        self._moved: dict[int, tuple[str, int, int]] = {}
        """Series, own timestamp and timestamp given, of lines that have moved."""
        self._run = 0

    def beyond(self, stamps: Sequence[int]) -> bool:
        """Tell whether the timestamps of some events rise, from beyond all that came before.

        Args:
            stamps: at least one.

        Raises:
            ValueError: InfluxDB has no such time.
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
        """Return the timestamps of some lines.

        Args:
            heads: each line's series.
            stamps: each line's own timestamp.
            serials: each line's event.
            line: which of its event's lines it is, for all of them.
            beyond: what :meth:`beyond` told about the events.
            text: how many characters were made for the heads; those that others have as well are the same objects.

        Raises:
            ValueError: there is no time left to move to.
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

    def renew(self) -> None:
        """Serial numbers begin anew, for other events."""
        self._run += 1 << 96

    def _free(self, head: str, stamp: int) -> int:
        """Return the next timestamp that no line of a series has; what was passed on the way is skipped next time."""
        passed: list[tuple[str, int]] = []
        while (slot := (head, stamp)) in self._owners:
            passed.append(slot)
            stamp = self._skips.get(slot, stamp + 1)
        if stamp > LATEST:
            raise ValueError("timestamp must be below the last that there is: others of the series have those")
        self._skips.update(dict.fromkeys(passed, stamp))
        return stamp

    def _note(self, chunk: _Chunk) -> None:
        """Remember a chunk, and forget the oldest."""
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
