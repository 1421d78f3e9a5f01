"""The interfaces that a sink's author implements, and the library's guarantees when it calls them.

A sink defines how events are encoded, and makes *one attempt* to send them. The library provides the queue, retries,
backoff, deadline and accounting, once for all sinks. Calls to one sink never overlap. All of them are made in Trio's
thread.

* A plain ``async def my_sink(batch)`` is an event sink too.
* A sink that waits indefinitely or raises an ``Exception`` loses its own events, but doesn't affect other sinks. A sink
  that shields itself from cancellation, or blocks the thread, outlives any deadline. A ``BaseException`` that isn't an
  ``Exception``, such as ``SystemExit``, leaves the collector's block, unwrapped.
* :func:`labels_of`, :func:`fields_of`, :func:`json_form` and :func:`json_line` read any event, including user-defined
  ones.
* :meth:`Batch.columns` has the events of a batch by column, read once for all sinks, and :func:`json_lines` writes
  them: with these, a sink is as fast as the library's own.
* :class:`SeriesStore` aggregates events into series, for a sink that needs them. A :class:`SeriesObserver` keeps an
  object of the sink's next to each series; an :class:`Identity` decides which series are the same to the back-end.
* :func:`in_steps` lets a sink do lengthy work without blocking the run loop.
* Construct a sink without I/O; connect at the first attempt. ``aclose`` is called once, at the end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Generic, TypeVar

import attrs

from ._concurrency import in_steps, joined
from ._events import (
    LIMITS,
    Batch,
    Columns,
    EventIds,
    JSONWriter,
    Kind,
    LabelField,
    LabelValue,
    Limits,
    Measure,
    MetricEvent,
    Schema,
    by_second,
    fields_of,
    json_form,
    json_line,
    json_lines,
    labels_of,
    nanosecond_texts,
    number_texts,
    padded_texts,
    rfc3339,
)
from ._events import text as label_text
from ._exceptions import ConfigError
from ._receipt import Receipt
from ._reprs import tolerant_repr
from ._series import Identity, Metric, Point, Series, SeriesFamily, SeriesObserver, SeriesStore, SinkContext
from ._sink import Sink
from ._sink_settings import check_settings, checked_seconds

__all__ = [
    "LIMITS",
    "Batch",
    "Columns",
    "ConfigError",
    "EventIds",
    "EventSink",
    "Identity",
    "JSONWriter",
    "Kind",
    "LabelField",
    "LabelValue",
    "Limits",
    "Measure",
    "Metric",
    "MetricEvent",
    "Payload",
    "Point",
    "Receipt",
    "Schema",
    "Series",
    "SeriesFamily",
    "SeriesObserver",
    "SeriesSink",
    "SeriesStore",
    "Sink",
    "SinkContext",
    "by_second",
    "checked_seconds",
    "fields_of",
    "in_steps",
    "joined",
    "json_form",
    "json_line",
    "json_lines",
    "label_text",
    "labels_of",
    "nanosecond_texts",
    "number_texts",
    "padded_texts",
    "rfc3339",
]

PartT = TypeVar("PartT")


@tolerant_repr
@attrs.frozen
class Payload(Generic[PartT]):
    """The data that one attempt sends."""

    events: Batch
    """The payload's events, in recording order; empty for a series sink."""
    parts: tuple[PartT, ...]
    """The return values of ``encode``, one per call; for a series sink, the parts of the snapshot."""
    key: str
    """Identifies the payload: the same for each of its attempts, and unique; for back-ends that detect duplicates."""


class EventSink(Sink, ABC, Generic[PartT]):
    """A sink that delivers events.

    Example:
        >>> from trio_batchmetrics.abc import EventSink, Payload
        >>> class Terminal(EventSink[str]):
        ...     def encode(self, events):
        ...         return "; ".join(map(str, events))
        ...
        ...     async def send(self, payload):
        ...         print("; ".join(payload.parts))
    """

    max_events: int | None = None
    """The maximum number of events per payload; None: all queued events."""
    max_payload_bytes: int | None = None
    """The maximum size of a payload in bytes (``len`` of its parts); a single event may exceed it. None: no limit."""

    def __init__(
        self,
        *,
        name: str | None = None,
        timeout: float | timedelta = 30.0,
        retry_budget: float | timedelta = 300.0,
        backoff: float | timedelta = 0.5,
        max_backoff: float | timedelta = 30.0,
        max_events: int | None = None,
        max_payload_bytes: int | None = None,
    ) -> None:
        """Configure the sink's delivery. A subclass that doesn't call this keeps the class's defaults.

        Args:
            name: the sink's key in ``stats().sinks``.
            timeout: the maximum duration of an attempt, in seconds or as a ``timedelta``.
            retry_budget: how long after a payload's first attempt retries may begin, likewise.
            backoff: the maximum pause before the first retry, likewise.
            max_backoff: the maximum pause before any retry, likewise.
            max_events: the maximum number of events per payload; None keeps the class's value.
            max_payload_bytes: the maximum size of a payload in bytes; None keeps the class's value.

        Raises:
            ConfigError: (a ``ValueError``) a duration isn't finite and above 0, ``max_events`` or
                ``max_payload_bytes`` isn't an int >= 1, or the name isn't a str or is empty.
        """
        super().__init__(
            name=name, timeout=timeout, retry_budget=retry_budget, backoff=backoff, max_backoff=max_backoff
        )
        if max_events is not None:
            self.max_events = max_events
        if max_payload_bytes is not None:
            self.max_payload_bytes = max_payload_bytes
        check_settings(self)

    def encode(self, events: Batch) -> PartT | None:
        """Encode events as one part of a payload.

        Synchronous and pure: it may be called again for the same events. It gets a :class:`Batch` of at most 500 events
        per call, with checkpoints between calls; :meth:`Batch.columns` reads them without creating event objects, and
        :meth:`Batch.of` has that type for type checkers. An event for which it raises an ``Exception`` is rejected; the
        others aren't. If it isn't overridden, payloads have no parts, and ``send`` reads ``payload.events``.
        """
        raise NotImplementedError  # never called: the library detects that it isn't overridden

    @abstractmethod
    async def send(self, payload: Payload[PartT]) -> Receipt | None:
        """Make one attempt.

        It is cancelled when ``timeout`` or the collector's shutdown deadline passes. The payload is then in doubt, and
        is sent again with the same ``key`` if there is time.

        Returns:
            None once the payload is delivered, in the sense the sink's docstring defines; otherwise a :class:`Receipt`.
            Any other return value, or an ``Exception``, means that nothing arrived, and causes a retry. Return without
            a checkpoint after the back-end's response: a payload whose attempt is cancelled there is sent again.
        """


class SeriesSink(Sink, ABC, Generic[PartT]):
    """A sink that keeps cumulative series and pushes all of them at once.

    A failed push loses nothing as long as a later one succeeds, so there is no retry budget and no queue. Events count
    as delivered once a push that contains them succeeds. Events that no successful push contained by the end of the
    block have failed.

    Once anything was merged, the library pushes at the end of the block and every ``refresh`` seconds until then, which
    restores a back-end that has lost its state. If nothing is pending, the push at the end is a single attempt, and its
    failure loses nothing. With ``shutdown_timeout=0`` there is no push at the end.
    """

    scraped: bool = False
    """True: the back-end scrapes the series. Merged events count as delivered, and ``send`` is never called."""
    snapshot_store: SeriesStore | None = None
    """The store whose :meth:`SeriesStore.points` the snapshot gives, if the back-end may refuse single series: then
    ``rejected`` in a receipt names their positions there. Such a series is left out of ``points()`` until it changes.
    Once a push succeeds, exactly the events merged into it since the last successful push are rejected. Set it in
    ``bind``. None: a receipt that names positions is invalid, and the push is repeated."""
    points_per_part: int = 2000
    """How many series to put into one part at most, for a sink that sends each part by itself. Halved by
    ``Receipt.split``."""
    refresh: float | None = 60.0
    """The seconds after a push until everything is pushed again, even without new events; None: never. Prometheus
    scrapes a Pushgateway once a minute by default, and looks back five minutes for a gauge."""

    def __init__(
        self,
        *,
        name: str | None = None,
        timeout: float | timedelta = 30.0,
        retry_budget: float | timedelta = 300.0,
        backoff: float | timedelta = 0.5,
        max_backoff: float | timedelta = 30.0,
        refresh: float | timedelta | None = 60.0,
    ) -> None:
        """Configure the sink's delivery. A subclass that doesn't call this keeps the defaults.

        Args:
            name: the sink's key in ``stats().sinks``.
            timeout: the maximum duration of an attempt, in seconds or as a ``timedelta``.
            retry_budget: accepted as by every sink, but without effect: a push always contains the latest state.
            backoff: the maximum pause before the first retry, likewise.
            max_backoff: the maximum pause before any retry, likewise.
            refresh: the time after a push until everything is pushed again, likewise; None: never.

        Raises:
            ConfigError: (a ``ValueError``) a duration isn't finite and above 0, or the name isn't a str or is empty.
        """
        super().__init__(
            name=name, timeout=timeout, retry_budget=retry_budget, backoff=backoff, max_backoff=max_backoff
        )
        self.refresh = None if refresh is None else checked_seconds("refresh", refresh)
        check_settings(self)

    @property
    def overflowed(self) -> Mapping[str, int]:
        """How many events lost their labels to ``max_series``, by instrument; read after each hand-over."""
        return {}

    @abstractmethod
    def merge(self, events: Sequence[MetricEvent]) -> Mapping[int, str] | None:
        """Add events to the series. Each event is merged once.

        Synchronous, no I/O. It gets at most 500 events per call, with checkpoints between calls. If it raises an
        ``Exception``, the whole batch counts as failed for this sink.

        Returns:
            The permanently refused events, as a mapping from position to reason; they count as rejected at once. None:
            all are merged.
        """

    def snapshot(self) -> PartT | Iterator[PartT] | None:
        """Return the data for the next attempt: at least everything merged before the call.

        Synchronous, no I/O; called per attempt. It may be a generator (``types.GeneratorType``): each value that it
        yields is one part of the payload. The run loop gets a turn between two parts whenever a millisecond has passed,
        and events may be merged then. Write it so if there may be thousands of series: see ``SeriesStore.points``.

        Raises:
            Exception: of any kind, at the call or at any part: the attempt has failed, and is repeated after a backoff.
        """
        return None

    @abstractmethod
    async def send(self, payload: Payload[PartT]) -> Receipt | None:
        """Make one attempt to push ``payload.parts``: the snapshot, or what it yielded.

        Return as in :meth:`EventSink.send`, except that ``rejected`` names series (see ``snapshot_store``). A push that
        is to be retried or split is repeated with a fresh snapshot. After ``Receipt.failed``, the events in the
        snapshot have failed, and the sink goes on with those merged since.
        """
