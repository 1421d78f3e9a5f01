"""Batches: events on their way to a sink, with their serial numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, ClassVar, cast, overload

from .._reprs import tolerant_repr
from .schema import MetricEvent

__all__ = ["Batch", "Groups", "Row", "UnusualRow", "event_of", "is_plain", "plain_as_they_stand", "rows_and_groups"]

Row = tuple[Any, ...] | MetricEvent
"""A recorder's output: ``(class, timestamp, *fields)``, or an event that the application built."""


class UnusualRow(tuple[Any, ...]):
    """A row with an explicit timestamp, or with a label of another type than declared; validation makes it plain."""

    __slots__ = ()


Groups = dict[type[MetricEvent], list[tuple[Any, ...]]]
"""Plain rows by class, in recording order: two of their labels are equal only if their texts are."""


def event_of(row: Row) -> MetricEvent:
    """Return the event that a row represents."""
    if type(row) is tuple:
        event: MetricEvent = row[0](*row[2:], timestamp=row[1])
        return event
    assert isinstance(row, MetricEvent)  # noqa: S101 - a row is either a tuple or an event
    return row


@tolerant_repr
class Batch(Sequence[MetricEvent]):
    """A sequence of events in recording order.

    Events are built on first access, once each; counting them by kind builds none. Immutable.

    Example:
        >>> from trio_batchmetrics import CacheMetric
        >>> from trio_batchmetrics._events.batch import Batch
        >>> batch = Batch([CacheMetric("redis", "hit", timestamp=1), CacheMetric("redis", "miss", timestamp=2)])
        >>> len(batch), batch.kinds(), batch[-1].operation
        (2, {'CacheMetric': 2}, 'miss')
    """

    __slots__ = ("_groups", "_plain", "_rows", "_runs")

    def __init__(
        self,
        rows: Sequence[Row],
        groups: Groups | None = None,
        runs: Sequence[range] | None = None,
        *,
        plain: bool = False,
    ) -> None:
        """Create a batch of rows; a list is kept, not copied, and its rows become events on access.

        Args:
            rows: the events, in recording order.
            groups: the same events by class, if they have been grouped.
            runs: the serial numbers of the events; by default from 0 on.
            plain: whether the rows have passed validation, and those that are tuples are plain.
        """
        self._rows: list[Row] = rows if isinstance(rows, list) else list(rows)
        self._groups: Groups | None = groups
        self._runs: Sequence[range] = (range(len(self._rows)),) if runs is None else runs
        self._plain: bool = plain

    @property
    def serials(self) -> Sequence[int]:
        """The serial number of each event: unique within the collector's life, and the same each time it is encoded.

        Together with :attr:`SinkContext.run_id` it identifies the event wherever it is sent.
        """
        return self._runs[0] if len(self._runs) == 1 else [*chain.from_iterable(self._runs)]

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> MetricEvent: ...
    @overload
    def __getitem__(self, index: slice) -> Batch: ...
    def __getitem__(self, index: int | slice) -> MetricEvent | Batch:
        """Return one event, or a batch of several."""
        if isinstance(index, slice):
            return Batch(self._rows[index], None, _runs(self.serials[index]), plain=self._plain)
        row = self._rows[index]
        if isinstance(row, tuple):
            row = self._rows[index] = event_of(row)
        return row

    def __iter__(self) -> Iterator[MetricEvent]:
        """Yield the events in recording order."""
        return map(self.__getitem__, range(len(self._rows)))

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
        counts = Counter(row[0].__name__ if type(row) is tuple else type(row).__name__ for row in self._rows)
        return dict(sorted(counts.items()))


def _runs(serials: Sequence[int]) -> Sequence[range]:
    if isinstance(serials, range):
        return (serials,)
    return [range(serial, serial + 1) for serial in serials] or (range(0),)


def plain_as_they_stand(batch: Batch) -> list[tuple[Any, ...]] | None:
    """Return a batch's rows if they are all plain and none of its events has been accessed yet; else None."""
    rows: list[Any] = batch._rows  # pyright: ignore[reportPrivateUsage]  # for the library; not for users
    return rows if batch._plain and {*map(type, rows)} == {tuple} else None  # pyright: ignore[reportPrivateUsage]


def rows_and_groups(batch: Batch) -> tuple[list[Row], Groups | None]:
    """Return a batch's rows (its own list, not a copy), and the same by class if they have been grouped."""
    return batch._rows, batch._groups  # pyright: ignore[reportPrivateUsage]  # for the library; not for users


def is_plain(batch: Batch) -> bool:
    """Return whether those of a batch's rows that are tuples are plain."""
    return batch._plain  # pyright: ignore[reportPrivateUsage]  # for the library; not for users
