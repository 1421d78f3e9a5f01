"""Columns: the events of one class in a batch, one sequence per label and per measured field.

The flush task transposes a batch once, when it validates the batch. All sinks read the same columns. A slice of a batch
slices its columns. A payload that spans several batches joins their columns.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise, repeat
from operator import itemgetter
from typing import Any, cast, overload

import attrs

from .._reprs import tolerant_repr
from .schema import Schema

__all__ = ["Columns", "EventIds", "Extra", "concatenated", "join_columns", "pick"]

Extra = tuple[Mapping[str, Any], Any]
"""Labels that a recorder has added to an event, and its exemplar (or None)."""

_NO_GIVEN_IDS: Mapping[int, str] = {}


@tolerant_repr
class EventIds(Sequence[str]):
    """The permanent ids of some events, ``run_id:serial``. They are built on access.

    An event's id is the same for every sink and in each attempt, so back-ends can use it for idempotency.

    Example:
        >>> from trio_batchmetrics.abc import EventIds
        >>> [*EventIds("5f1c", range(7, 9))]
        ['5f1c:7', '5f1c:8']
    """

    __slots__ = ("_all_serials", "_positions", "_serials", "given", "run_id")

    def __init__(self, run_id: str, serials: Sequence[int], given: Mapping[int, str] = _NO_GIVEN_IDS) -> None:
        """Create the ids of some events.

        Args:
            run_id: identifies the collector's run.
            serials: the events' serial numbers within the run.
            given: by serial number, the ids of events that came with an id of their own.
        """
        self.run_id: str = run_id
        """Identifies the collector's run."""
        self.given: Mapping[int, str] = given
        """By serial number, the ids of events that came with an id of their own, such as a relay's; usually empty."""
        self._serials: Sequence[int] | None = serials
        self._all_serials: Sequence[int] = ()
        self._positions: Sequence[int] = ()

    @property
    def serials(self) -> Sequence[int]:
        """The events' serial numbers: unique within the run, increasing in recording order."""
        if self._serials is None:
            self._serials = pick(self._all_serials, self._positions)
        return self._serials

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self._positions if self._serials is None else self._serials)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> EventIds: ...
    def __getitem__(self, index: int | slice) -> str | EventIds:
        """Return one id, or the ids of several events."""
        if isinstance(index, slice):
            return EventIds(self.run_id, self.serials[index], self.given)
        serial = self.serials[index]
        return self.given.get(serial) or f"{self.run_id}:{serial}"

    def at(self, positions: Sequence[int]) -> EventIds:
        """Return the ids at some positions. They are picked on first access."""
        found = EventIds(self.run_id, (), self.given)
        found._serials, found._all_serials, found._positions = None, self.serials, positions
        return found

    def __repr__(self) -> str:
        """Show the run and the number of events."""
        return f"<EventIds of {len(self)} events of {self.run_id!r}>"


@tolerant_repr
@attrs.define(eq=False)
class Columns:
    """The events of one class in a batch, by column: validated, and reduced to plain values. Don't change them.

    Two labels in one column are equal only if their texts are. A label is a ``str``, an ``int``, None (left out), or a
    ``bool`` if the field is declared as one. Anything else is text, except that a ``bool``, ``float`` or ``int`` that
    would equal another value with a different text is a :class:`~trio_batchmetrics.abc.LabelValue`. ``labels_of`` and
    ``json_lines`` convert all of them to text, as ``str`` does except for bools.

    Example:
        >>> from trio_batchmetrics import Batch, CacheMetric, HttpRequest
        >>> events = [CacheMetric("redis", "hit"), HttpRequest("GET", "/", 200, 0.25), CacheMetric("redis", "miss")]
        >>> caches, requests = Batch(events).columns()
        >>> caches, [*caches.positions], [*caches.labels[1]]
        (<Columns of 2 CacheMetric>, [0, 2], ['hit', 'miss'])
        >>> [each.name for each in requests.schema.measures], [*requests.values[0]]
        (['http.server.request.duration'], [0.25])
    """

    schema: Schema
    """The declaration of the class; ``schema.event_class`` is the class."""
    positions: Sequence[int]
    """The position of each event in the batch, increasing."""
    ids: EventIds
    """The permanent id of each event."""
    timestamps: Sequence[int]
    """Wall-clock nanoseconds since 1970 (UTC), one per event."""
    labels: tuple[Sequence[Any], ...]
    """One column for each of ``schema.labels``. For named events (``schema.named``), two columns: the names of the
    instruments, and the labels, each as a tuple of pairs of name and value. Static labels aren't included."""
    values: tuple[Sequence[Any], ...]
    """One column of floats for each measured field (``schema.measured``). The fields of a ``HistogramPoint`` are
    unchanged."""
    extra: Sequence[Extra | None] | None = None
    """Labels and exemplars beyond the event's own fields; None if no event has any."""

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.timestamps)

    def __repr__(self) -> str:
        """Show the number of events and their class."""
        return f"<Columns of {len(self)} {self.schema.event_class.__name__}>"

    @property
    def label_sets(self) -> Sequence[tuple[Any, ...]]:
        """A hashable key of each event's labels (for named events, of name and labels).

        Within a class, keys are equal only if the texts of all labels are. Sinks look up the data of a series by key:
        ``map(kept.__getitem__, columns.label_sets)``, with one mapping per class. The keys are built on each iteration,
        which is cheaper than keeping them. :meth:`Schema.label_pairs` turns a key into names and values.
        """
        return LabelSets(self)

    def between(self, start: int, stop: int) -> Columns | None:
        """Return the columns of the events at the batch's positions ``start:stop``; None if there are none."""
        first, last = bisect_left(self.positions, start), bisect_left(self.positions, stop)
        if first == last:
            return None
        if first == start == 0 and last == len(self):
            return self
        part = slice(first, last)
        positions = self.positions[part]
        return Columns(
            self.schema,
            _shifted(positions, -start),
            self.ids[part],
            self.timestamps[part],
            tuple([column[part] for column in self.labels]),
            tuple([column[part] for column in self.values]),
            None if self.extra is None else self.extra[part],
        )


class LabelSets(Sequence[tuple[Any, ...]]):
    """The label keys of some columns."""

    __slots__ = ("_columns",)

    def __init__(self, columns: Columns) -> None:
        """Create the label keys of these columns."""
        self._columns = columns

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self._columns)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """Yield the key of each event."""
        columns = self._columns
        keys = zip(*columns.labels, strict=True) if columns.labels else repeat((), len(columns))
        return keys if columns.extra is None else map(_with_extra, keys, columns.extra)

    @overload
    def __getitem__(self, index: int) -> tuple[Any, ...]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[tuple[Any, ...]]: ...
    def __getitem__(self, index: int | slice) -> tuple[Any, ...] | Sequence[tuple[Any, ...]]:
        """Return one key, or several."""
        if isinstance(index, slice):
            return [*self][index]
        key = tuple([column[index] for column in self._columns.labels])
        extra = self._columns.extra
        return key if extra is None else _with_extra(key, extra[index])


def _with_extra(key: tuple[Any, ...], extra: Extra | None) -> tuple[Any, ...]:
    return (*key, *extra[0].items()) if extra else key


def join_columns(parts: Iterable[tuple[int, Sequence[Columns]]], ids: EventIds) -> list[Columns]:
    """Return the columns of several batches, one after the other.

    Args:
        parts: the position of each batch's first event, and its columns.
        ids: the ids of all events.
    """
    by_class: dict[int, list[tuple[int, Columns]]] = {}
    for start, batch in parts:
        for columns in batch:
            by_class.setdefault(id(columns.schema), []).append((start, columns))
    return [_join_class(same, ids) for same in by_class.values()]


def _join_class(parts: list[tuple[int, Columns]], ids: EventIds) -> Columns:
    if len(parts) == 1 and parts[0][0] == 0:
        return parts[0][1]
    columns_of_parts = [columns for _, columns in parts]
    first = columns_of_parts[0]
    extra = None
    if any(each.extra is not None for each in columns_of_parts):
        extra = _chained([each.extra if each.extra is not None else [None] * len(each) for each in columns_of_parts])
    positions = concatenated([_shifted(columns.positions, start) for start, columns in parts])
    return Columns(
        first.schema,
        positions,
        ids if len(positions) == len(ids) else ids.at(positions),
        _chained([each.timestamps for each in columns_of_parts]),
        tuple([_chained([each.labels[at] for each in columns_of_parts]) for at in range(len(first.labels))]),
        tuple([_chained([each.values[at] for each in columns_of_parts]) for at in range(len(first.values))]),
        extra,
    )


def _chained(sequences: Sequence[Sequence[Any]]) -> Sequence[Any]:
    return sequences[0] if len(sequences) == 1 else [*chain.from_iterable(sequences)]


def concatenated(sequences: Sequence[Sequence[Any]]) -> Sequence[Any]:
    """Return the values of several sequences as one sequence; adjacent ranges become one range."""
    if len(sequences) == 1:
        return sequences[0]
    if all(type(each) is range for each in sequences):
        ranges = cast("Sequence[range]", sequences)
        if all(before.stop == after.start for before, after in pairwise(ranges)):
            return range(ranges[0].start, ranges[-1].stop)
    return _chained(sequences)


def _shifted(positions: Sequence[int], by: int) -> Sequence[int]:
    if not by:
        return positions
    if isinstance(positions, range):
        return range(positions.start + by, positions.stop + by)
    return [*map(by.__add__, positions)]


def pick(values: Sequence[Any], positions: Sequence[int]) -> Sequence[Any]:
    """Return the values at some positions."""
    if isinstance(positions, range) and positions.step == 1:
        return values[positions.start : positions.stop]
    if len(positions) == 1:
        return (values[positions[0]],)
    return cast("Sequence[Any]", itemgetter(*positions)(values)) if positions else ()
