"""Batches: events on their way to a sink, with their permanent ids, and their columns, read once for all sinks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar, cast, overload

import attrs

from .._reprs import tolerant_repr
from .builtin import BUILTIN
from .columns import Columns, EventIds, concatenated, join_columns
from .rows import ClassNumbers, Row, UnusualRow, class_of, event_of
from .schema import MetricEvent
from .validation import columns_of
from .values import ReadOnlyDict

__all__ = ["Batch", "Origin", "join", "origin_of"]


@attrs.define(eq=False)
class Origin:
    """The data that all batches of one collector's run share."""

    run_id: str = ""
    """The prefix of their events' ids."""
    static_labels: Mapping[str, str] = attrs.field(factory=ReadOnlyDict[str, str])
    """Labels of every event, as text; an event's own label wins."""
    classes: ClassNumbers = attrs.field(factory=lambda: ClassNumbers(dict(enumerate(BUILTIN))), repr=False)
    """The event classes, by their numbers in rows."""
    writers: dict[Any, Any] = attrs.field(factory=dict[Any, Any], repr=False)
    """The JSON writers that sinks share, by their limits (:mod:`.documents`)."""


@tolerant_repr
class Batch(Sequence[MetricEvent]):
    """A sequence of events in recording order.

    Events are built on first access, once each; counting them by kind builds none. Immutable.

    Example:
        >>> from trio_batchmetrics import Batch, CacheMetric
        >>> batch = Batch([CacheMetric("redis", "hit", timestamp=1), CacheMetric("redis", "miss", timestamp=2)])
        >>> len(batch), batch.kinds(), batch[-1].operation
        (2, {'CacheMetric': 2}, 'miss')
    """

    __slots__ = ("_columns", "_count", "_ids", "_origin", "_own_rows", "_parts", "_timestamps")

    def __init__(
        self,
        events: Sequence[Row] = (),
        *,
        ids: EventIds | None = None,
        origin: Origin | None = None,
        columns: Sequence[Columns] | None = None,
        timestamps: Sequence[int] | None = None,
        parts: Sequence[tuple[Batch, int, int]] = (),
    ) -> None:
        """Create a batch of events.

        Args:
            events: the events, in recording order. For the library, also rows, which become events on access; it keeps
                a list, and copies any other sequence.
            ids: the events' ids; by default, their serial numbers count from 0. For the library.
            origin: the data that the batch shares with others of its collector. For the library.
            columns: the events by class and column, if they have been read. For the library.
            timestamps: their timestamps, if these have been read. For the library.
            parts: the batches, with start and stop, whose slices these events are, one after the other; their rows and
                ids are copied on access. For the library.
        """
        self._own_rows: list[Row] | None = None if parts else events if isinstance(events, list) else list(events)
        self._count: int = sum([stop - start for _, start, stop in parts]) if parts else len(events)
        self._origin: Origin = Origin() if origin is None else origin
        self._ids: EventIds | None = ids
        self._columns: Sequence[Columns] | None = columns
        self._parts: Sequence[tuple[Batch, int, int]] = parts
        self._timestamps: Sequence[int] | None = timestamps

    @staticmethod
    def of(events: Sequence[MetricEvent]) -> Batch:
        """Return events as a batch; a batch is returned unchanged."""
        return events if isinstance(events, Batch) else Batch([*events])

    @property
    def ids(self) -> EventIds:
        """The permanent id of each event, ``run_id:serial``: the same in each attempt and for every sink."""
        if self._ids is None:
            self._ids = self._make_ids()
        return self._ids

    def _make_ids(self) -> EventIds:
        run_id = self._origin.run_id
        if not self._parts:
            return EventIds(run_id, range(self._count))
        ids = [batch.ids[start:stop] for batch, start, stop in self._parts]
        given = {serial: event_id for each in ids for serial, event_id in each.given.items()}
        return EventIds(run_id, concatenated([each.serials for each in ids]), given)

    @property
    def _rows(self) -> list[Row]:
        if self._own_rows is None:
            self._own_rows = [*chain.from_iterable([batch._rows[start:stop] for batch, start, stop in self._parts])]
        return self._own_rows

    def columns(self) -> Sequence[Columns]:
        """Return the events by class and column, validated and reduced to plain values; see :class:`Columns`.

        They are read once for all sinks. A slice of a batch has slices of its columns.

        Raises:
            ValueError: an event is invalid. The batches that sinks get from a collector contain none.
        """
        if self._columns is None:
            if self._parts:
                self._columns = _columns_of_parts(self._parts, self.ids)
            else:
                self._columns = columns_of(self._rows, self.ids, self._origin.classes)
        return self._columns

    @property
    def timestamps(self) -> Sequence[int]:
        """The timestamp of each event, in nanoseconds since 1970 (UTC).

        Raises:
            ValueError: an event is invalid; see :meth:`columns`.
        """
        if self._timestamps is None:
            self._timestamps = self._make_timestamps()
        return self._timestamps

    def _make_timestamps(self) -> Sequence[int]:
        if self._parts:
            return concatenated([batch.timestamps[start:stop] for batch, start, stop in self._parts])
        found = self.columns()
        return found[0].timestamps if len(found) == 1 else _merged_timestamps(found, self._count)

    def __len__(self) -> int:
        """Return the number of events."""
        return self._count

    @overload
    def __getitem__(self, index: int) -> MetricEvent: ...
    @overload
    def __getitem__(self, index: slice) -> Batch: ...
    def __getitem__(self, index: int | slice) -> MetricEvent | Batch:
        """Return one event, or a batch of several."""
        if isinstance(index, slice):
            start, stop, step = index.indices(self._count)
            if step == 1:
                parts = self._parts_between(start, stop)
            else:
                parts = [part for at in range(start, stop, step) for part in self._parts_between(at, at + 1)]
            if parts:
                return Batch(parts=parts, origin=self._origin)
            return Batch(self._rows[index], ids=self.ids[index], origin=self._origin)
        row = self._rows[index]
        if type(row) is tuple or type(row) is UnusualRow:
            row = self._rows[index] = event_of(row, self._origin.classes)
        return cast("MetricEvent", row)

    def _parts_between(self, start: int, stop: int) -> Sequence[tuple[Batch, int, int]]:
        """Return the parts of batches that together make up a slice and its columns; none if they weren't read."""
        if self._columns is not None:
            return ((self, start, stop),) if start < stop else ()
        parts: list[tuple[Batch, int, int]] = []
        position = 0
        for batch, first, last in self._parts:
            begin, end = max(start - position, 0), min(stop - position, last - first)
            if begin < end:
                parts.append((batch, first + begin, first + end))
            position += last - first
        return parts

    def __iter__(self) -> Iterator[MetricEvent]:
        """Yield the events in recording order."""
        return map(self.__getitem__, range(self._count))

    def __eq__(self, other: object) -> bool:
        """Compare with another sequence of events; a list or tuple is fine."""
        if not isinstance(other, Batch | list | tuple):
            return NotImplemented
        return list(self) == list(cast("Sequence[object]", other))

    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleMethodOverride]

    def __repr__(self) -> str:
        """Show the number of events of each kind."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.kinds().items())
        return f"<Batch of {len(self)}: {kinds}>" if kinds else "<Batch of 0>"

    def kinds(self) -> dict[str, int]:
        """Count the events by kind: class name to count, sorted by name."""
        classes = self._origin.classes
        counts = Counter(class_of(row, classes).__name__ for row in self._rows)
        return dict(sorted(counts.items()))


def _merged_timestamps(found: Sequence[Columns], size: int) -> list[int]:
    """Return the timestamps of all classes in recording order."""
    timestamps = [0] * size
    for columns in found:
        for at, timestamp in zip(columns.positions, columns.timestamps, strict=True):
            timestamps[at] = timestamp
    return timestamps


def _columns_of_parts(parts: Sequence[tuple[Batch, int, int]], ids: EventIds) -> Sequence[Columns]:
    found: list[tuple[int, Sequence[Columns]]] = []
    position = 0
    for batch, start, stop in parts:
        part = batch.columns()
        if start > 0 or stop < len(batch):
            part = [cut for columns in part if (cut := columns.between(start, stop)) is not None]
        found.append((position, part))
        position += stop - start
    return found[0][1] if len(found) == 1 else join_columns(found, ids)


def join(parts: Sequence[tuple[Batch, int, int]]) -> Batch:
    """Return the events of several slices of one collector's batches, one after the other, as one batch.

    Args:
        parts: each batch, with the start and the stop of the slice; at least one.
    """
    if len(parts) == 1:
        batch, start, stop = parts[0]
        return batch if start == 0 and stop == len(batch) else batch[start:stop]
    return Batch(parts=parts, origin=origin_of(parts[0][0]))


def origin_of(batch: Batch) -> Origin:
    """Return the data that a batch shares with others of its collector. For the library."""
    return batch._origin  # pyright: ignore[reportPrivateUsage]
