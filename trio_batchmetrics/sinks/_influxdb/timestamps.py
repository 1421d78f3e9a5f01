"""Timestamps that never collide within a series: InfluxDB keeps one point per series and timestamp.

How this works
==============

Two lines of one series with the same nanosecond would be one point, so the later one moves to the next free nanosecond.
This must be the same one each time the line is written (in a repeated attempt, in a half, in the rest after a partial
write). Otherwise, the line would be stored twice. So the assigned timestamp is kept by the event's serial number.

Recorders take the time when they are called, so a chunk's timestamps nearly always increase, and are later than all
earlier ones (:meth:`Timestamps.are_later`). Then nothing can collide, and the chunk is only recorded. Otherwise, each
line is looked up among the most recent ones. For this, chunks with nearby times are indexed, once.
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

_PREFIXES_MAX_CHARS = 20_000_000
"""Maximum number of characters built for the remembered lines: 400 per line, if every line is of a new series."""

_SMALL_CHUNK_LINES = 50
"""A chunk with fewer lines is joined to the previous one, to limit the number of chunks."""

_JOINED_MAX_LINES = 100
"""Maximum number of lines in a joined chunk."""

_LINES_PER_EVENT = 1 << 16
"""The multiplier of an event's serial number. The event's lines have numbers below it."""


_MAX_OTHER_RUNS = 10_000
"""Maximum number of other runs that are remembered."""

_MAX_SERIAL_DIGITS = 19
"""Maximum number of digits in another run's serial number."""

_SERIALS_PER_RUN = 1 << 64
"""The multiplier of another run's number. The serial numbers of its events are below it."""


@attrs.define(eq=False)
class _Chunk:
    """Consecutive lines."""

    prefixes: Sequence[str]
    timestamps: Sequence[int]
    """The assigned timestamps."""
    serials: Sequence[int]
    """The serial numbers of the lines' events."""
    first: int
    """A line's identifier is this plus its event's serial number times ``scale``."""
    low: int
    high: int
    indexed: bool
    """Whether its lines are in the index."""
    scale: int = _LINES_PER_EVENT
    prefix_chars: int = 0
    """The number of characters built for its prefixes."""

    def join(self, other: _Chunk) -> None:
        """Append another chunk's lines; both must be indexed, or neither."""
        self.prefixes = [*self.prefixes, *other.prefixes]
        self.timestamps = [*self.timestamps, *other.timestamps]
        self.serials = [*self.line_ids(), *other.line_ids()]
        self.first, self.scale = 0, 1
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self.prefix_chars += other.prefix_chars

    def slots(self) -> Iterator[tuple[str, int]]:
        """Yield each line's series and timestamp."""
        return zip(self.prefixes, self.timestamps, strict=True)

    def line_ids(self) -> list[int]:
        """Return each line's identifier."""
        return [self.first + serial * self.scale for serial in self.serials]


class Timestamps:
    """Assigns timestamps to lines."""

    def __init__(self, window: int = WINDOW) -> None:
        """Create an assignment without remembered lines.

        Args:
            window: the number of lines to remember.
        """
        self._window = window
        self._chunks: deque[_Chunk] = deque()
        self._lines = 0
        self._prefix_chars = 0
        self._latest = EARLIEST - 1
        self._owners: dict[tuple[str, int], int] = {}
        """The line that owns each timestamp of each series."""
        self._skips: dict[tuple[str, int], int] = {}
        """Where to continue the search after a taken timestamp, if not at the next one."""
        self._moved: dict[int, tuple[str, int, int]] = {}
        """Series, own timestamp and assigned timestamp of lines that have moved."""
        self._run = 0
        self._other_runs: dict[str, int] = {}
        """The numbers of other runs, whose events a relay passes on with their own ids."""
        self._other_run_count = 0

    def are_later(self, stamps: Sequence[int]) -> bool:
        """Return whether timestamps are strictly increasing, and later than all earlier ones.

        Args:
            stamps: at least one timestamp.

        Raises:
            ValueError: InfluxDB does not accept one of them.
        """
        increasing = all(map(lt, stamps, islice(stamps, 1, None)))
        low, high = (stamps[0], stamps[-1]) if increasing else (min(stamps), max(stamps))
        if low < EARLIEST or high > LATEST:
            raise ValueError(f"timestamp must fit into 64 bits (got {low if low < EARLIEST else high})")
        later = increasing and low > self._latest
        self._latest = max(self._latest, high)
        return later

    def assign(
        self,
        prefixes: Sequence[str],
        stamps: Sequence[int],
        serials: Sequence[int],
        line: int,
        *,
        later: bool,
        prefix_chars: int = 0,
    ) -> Sequence[int]:
        """Assign timestamps to lines and return them.

        Args:
            prefixes: each line's series.
            stamps: each line's own timestamp.
            serials: each line's event.
            line: the number of these lines within their events, the same for all of them.
            later: the result of :meth:`are_later` for the events.
            prefix_chars: the number of characters built for the prefixes; lines of one series share one object.

        Raises:
            ValueError: a line must move, and no later timestamp is free.
        """
        first = self._run + line
        if later:
            self._remember(
                _Chunk(
                    prefixes, stamps, serials, first, stamps[0], stamps[-1], indexed=False, prefix_chars=prefix_chars
                )
            )
            return stamps
        low, high = min(stamps), max(stamps)
        self._index(low, high + self._window)
        assigned_timestamps: list[int] = []
        new: list[tuple[str, int, int]] = []  # series, timestamp, event
        for prefix, stamp, serial in zip(prefixes, stamps, serials, strict=True):
            line_id = first + serial * _LINES_PER_EVENT
            moved_prefix, original, assigned = self._moved.get(line_id, ("", 0, 0))
            slot = (prefix, assigned if original == stamp and moved_prefix == prefix else stamp)
            owner = self._owners.get(slot)
            if owner is None or owner != line_id:
                if owner is not None:
                    slot = (prefix, self._next_free(*slot))
                    self._moved[line_id] = (prefix, stamp, slot[1])
                self._owners[slot] = line_id
                new.append((prefix, slot[1], serial))
            assigned_timestamps.append(slot[1])
        if new:
            series, times, events = ([*each] for each in zip(*new, strict=True))
            self._remember(
                _Chunk(series, times, events, first, min(times), max(times), indexed=True, prefix_chars=prefix_chars)
            )
            self._latest = max(self._latest, *assigned_timestamps)
        return assigned_timestamps

    def numbers(self, ids: EventIds) -> Sequence[int]:
        """Return a number per event: its serial number, unless it came with the id of another run.

        Args:
            ids: the events' ids.
        """
        if not ids.given:
            return ids.serials
        return [self._number(ids.given.get(serial), serial) for serial in ids.serials]

    def _number(self, given: str | None, serial: int) -> int:
        if given is None:
            return serial
        run, _, other_serial = given.rpartition(":")
        if not (other_serial.isascii() and other_serial.isdecimal() and len(other_serial) <= _MAX_SERIAL_DIGITS):
            run, other_serial = given, "0"
        if run not in self._other_runs:
            if len(self._other_runs) >= _MAX_OTHER_RUNS:
                self._other_runs.clear()
            self._other_run_count += 1
            self._other_runs[run] = self._other_run_count
        return int(other_serial) + self._other_runs[run] * _SERIALS_PER_RUN

    def begin_run(self) -> None:
        """Begin a new run: from now on, serial numbers belong to other events."""
        self._run += 1 << 128

    def _next_free(self, prefix: str, stamp: int) -> int:
        """Return a series' next free timestamp; remember to skip the taken ones next time."""
        taken: list[tuple[str, int]] = []
        while (slot := (prefix, stamp)) in self._owners:
            taken.append(slot)
            stamp = self._skips.get(slot, stamp + 1)
        if stamp > LATEST:
            raise ValueError("timestamp must be earlier: its series has no free one after it")
        self._skips.update(dict.fromkeys(taken, stamp))
        return stamp

    def _remember(self, chunk: _Chunk) -> None:
        """Remember a chunk, and forget the oldest ones."""
        count, last = len(chunk.prefixes), self._chunks[-1] if self._chunks else None
        if last is not None and count < _SMALL_CHUNK_LINES and count + len(last.prefixes) <= _JOINED_MAX_LINES:
            if last.indexed != chunk.indexed:
                self._index_chunk(chunk if last.indexed else last)
            last.join(chunk)
        else:
            self._chunks.append(chunk)
        self._lines += count
        self._prefix_chars += chunk.prefix_chars
        while (self._lines > self._window or self._prefix_chars > _PREFIXES_MAX_CHARS) and len(self._chunks) > 1:
            oldest = self._chunks.popleft()
            self._lines -= len(oldest.prefixes)
            self._prefix_chars -= oldest.prefix_chars
            if oldest.indexed:
                for slot in oldest.slots():
                    self._owners.pop(slot, None)
                    self._skips.pop(slot, None)
                for line_id in oldest.line_ids():
                    self._moved.pop(line_id, None)

    def _index(self, low: int, high: int) -> None:
        """Index the chunks with lines between two times."""
        for chunk in self._chunks:
            if not chunk.indexed and chunk.low <= high and chunk.high >= low:
                self._index_chunk(chunk)

    def _index_chunk(self, chunk: _Chunk) -> None:
        self._owners.update(zip(chunk.slots(), chunk.line_ids(), strict=True))
        chunk.indexed = True
