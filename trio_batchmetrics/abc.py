"""What the author of a sink implements, and what the library promises to call.

A sink says how events become something to send, and makes *one attempt* to send it. Queue, retries, backoff, deadline
and accounts are the library's, once, for all sinks. Calls to one sink never overlap. All of them are made in Trio's
thread.

* A plain ``async def my_sink(batch)`` is an event sink too.
* A sink that waits without end or raises an ``Exception`` costs its own events and nobody else's. One that shields
  itself from cancellation, or blocks the thread, outlives any deadline; what it raises beside ``Exception``
  (``SystemExit``) leaves the collector's block, unwrapped.
* :func:`labels_of`, :func:`fields_of`, :func:`json_form` and :func:`json_line` read any event, a user's own included.
* :class:`SeriesStore` adds events up to series, for a sink that wants those.
* Construct a sink with no I/O; connect at the first attempt. ``aclose`` is called once, at the end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Generic, TypeVar

import attrs

from ._events import Batch, Kind, Limits, Measure, MetricEvent, fields_of, json_form, json_line, labels_of
from ._reprs import tolerant_repr
from ._series import Metric, Point, SeriesStore, SinkContext
from ._sink_settings import check_settings, seconds

__all__ = [
    "EventSink",
    "Kind",
    "Limits",
    "Measure",
    "Metric",
    "Payload",
    "Point",
    "Receipt",
    "SeriesSink",
    "SeriesStore",
    "Sink",
    "SinkContext",
    "fields_of",
    "json_form",
    "json_line",
    "labels_of",
]

PartT = TypeVar("PartT")


@tolerant_repr
@attrs.frozen
class Payload(Generic[PartT]):
    """What one attempt sends."""

    events: Batch
    """The events in it, in recording order; empty for a series sink."""
    parts: tuple[PartT, ...]
    """What ``encode`` returned, one part for each call; for a series sink the one snapshot."""
    key: str
    """Names the payload: the same for each attempt, unlike any other's; for back-ends that can tell a repetition."""


@tolerant_repr
@attrs.frozen(kw_only=True)
class Receipt:
    """What became of a payload, where that is not simply "delivered".

    ``Receipt()`` is the same as None: delivered. Items are named by their position in ``payload.events``.

    * ``Receipt(rejected={3: "bad"})``: item 3 refused for good, the others delivered.
    * ``Receipt(retry=True, error="503")``: nothing delivered (but what is in ``rejected``), to be tried again.
    * ``Receipt(retry=[1, 4], rejected={3: "bad"})``: 1 and 4 to be tried again, 3 refused, the others delivered.
    * ``Receipt(too_large=True)``: to be halved; an event that is too large alone counts as rejected. What is left after
      64 requests is set aside: it goes on after a backoff, and later events are delivered meanwhile.
    * ``Receipt(error="401")``: with neither of these, nothing arrived and trying again is no use: failed.
    """

    rejected: Mapping[int, str] = attrs.field(factory=dict[int, str])
    """Items refused for good: position to reason."""
    retry: bool | Collection[int] = False
    """Whether to try again: all that is not rejected, or these items."""
    retry_after: float | None = None
    """Seconds to wait before; at most 300, and never past the payload's budget; None, 0 or less: the usual backoff."""
    too_large: bool = False
    """The payload as a whole is too large."""
    error: str | None = None
    """What went wrong, for ``last_error``; never a credential."""
    uncertain: bool = False
    """Whether what is to be tried again may have arrived all the same, as where an answer was lost (or the attempt took
    too long). If it is refused later, it counts as failed, not as rejected: only *failed* says that it may be there."""


class Sink:
    """What both kinds of sink share: a name and how patiently attempts are made. Not for subclassing by itself."""

    name: str | None = None
    """Its key in ``stats().sinks``; None: made of the class's name."""
    timeout: float = 30.0
    """The longest an attempt may take, in seconds."""
    retry_budget: float = 300.0
    """Seconds after a payload's first attempt from which on no retry begins. A push of cumulative series has none."""
    backoff: float = 0.5
    """Longest pause before the first retry, in seconds; doubled each time until one succeeds, with full jitter."""
    max_backoff: float = 30.0
    """The longest pause, in seconds."""
    context: SinkContext = SinkContext()
    """What the collector told; set by :meth:`bind`."""

    def __init__(
        self,
        *,
        name: str | None = None,
        timeout: float | timedelta = 30.0,
        retry_budget: float | timedelta = 300.0,
        backoff: float | timedelta = 0.5,
        max_backoff: float | timedelta = 30.0,
    ) -> None:
        """Set up the sink's delivery; a subclass that does not call this has the defaults.

        Args:
            name: key in ``stats().sinks``.
            timeout: the longest an attempt may take, in seconds or as a ``timedelta``.
            retry_budget: time after a payload's first attempt from which on no retry begins, likewise.
            backoff: the longest pause before the first retry, likewise.
            max_backoff: the longest pause before any, likewise.

        Raises:
            ConfigError: (a ``ValueError``) a duration is not finite and above 0.
        """
        self.name = name
        self.timeout = seconds("timeout", timeout)
        self.retry_budget = seconds("retry_budget", retry_budget)
        self.backoff = seconds("backoff", backoff)
        self.max_backoff = seconds("max_backoff", max_backoff)

    def bind(self, context: SinkContext) -> None:
        """Take what the collector tells as it opens. Synchronous, no I/O; what it raises, ``collector()`` raises."""
        self.context = context

    async def aclose(self) -> None:
        """Release what the sink holds; called once, after the last attempt.

        It may be called in a cancelled scope, like Trio's own ``aclose``: then release without waiting.
        """


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
    """Most events in a payload; None: all that is queued."""
    max_payload_bytes: int | None = None
    """Most bytes (``len`` of its parts) in a payload; one event may exceed it alone. None: no limit."""

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
        """Set up the sink's delivery; a subclass that does not call this has the class's defaults.

        Args:
            name: key in ``stats().sinks``.
            timeout: the longest an attempt may take, in seconds or as a ``timedelta``.
            retry_budget: time after a payload's first attempt from which on no retry begins, likewise.
            backoff: the longest pause before the first retry, likewise.
            max_backoff: the longest pause before any, likewise.
            max_events: most events in a payload; None keeps the class's.
            max_payload_bytes: most bytes in a payload; None keeps the class's.

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

    def encode(self, events: Sequence[MetricEvent]) -> PartT | None:
        """Turn events into one part of a payload.

        Synchronous and pure: it may be called again for the same events. At most 500 events a call, checkpoints
        between. An event that it raises an ``Exception`` for is rejected, alone. By default there are no parts:
        ``send`` looks at ``payload.events``.
        """
        raise NotImplementedError  # never called: the engine sees that it is not overridden

    @abstractmethod
    async def send(self, payload: Payload[PartT]) -> Receipt | None:
        """Make one attempt.

        Cancelled when ``timeout`` or the collector's shutdown deadline passes; the outcome is unknown then, and the
        payload is sent again with the same ``key`` if there is time.

        Returns:
            None once it is delivered, in the sense the sink's docstring gives; else a :class:`Receipt`. To return
            anything else, or to raise an ``Exception``, means: nothing arrived, try again. Be careful to return with no
            checkpoint after the back-end's word: what is cancelled there is sent again.
        """


class SeriesSink(Sink, ABC, Generic[PartT]):
    """A sink that keeps cumulative series and pushes all of them at once.

    A failed push loses nothing while a later one succeeds, so there is no retry budget and no queue. Events count as
    delivered once a push that contains them succeeds; what no push contained by the end of the block has failed.

    Once anything was merged, a push is made at the end of the block and every ``refresh`` seconds until then, so that a
    back-end that has lost its memory is full again. If nothing is pending, the one at the end is a single attempt, and
    its failure loses nothing. With ``shutdown_timeout=0`` there is none.
    """

    scraped: bool = False
    """True: the back-end comes and fetches. Merged is delivered, and ``send`` is never called."""
    refresh: float | None = 60.0
    """Seconds after a push until everything is pushed again, be there news or not; None: never. Prometheus scrapes a
    Pushgateway once a minute by default, and looks back five minutes for a gauge."""

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
        """Set up the sink's delivery; a subclass that does not call this has the defaults.

        Args:
            name: key in ``stats().sinks``.
            timeout: the longest an attempt may take, in seconds or as a ``timedelta``.
            retry_budget: accepted as by every sink. It has no effect: a push always has the latest state.
            backoff: the longest pause before the first retry, likewise.
            max_backoff: the longest pause before any, likewise.
            refresh: time after a push until everything is pushed again, likewise; None: never.

        Raises:
            ConfigError: (a ``ValueError``) a duration isn't finite and above 0, or the name isn't a str or is empty.
        """
        super().__init__(
            name=name, timeout=timeout, retry_budget=retry_budget, backoff=backoff, max_backoff=max_backoff
        )
        self.refresh = None if refresh is None else seconds("refresh", refresh)
        check_settings(self)

    @property
    def overflowed(self) -> Mapping[str, int]:
        """By instrument, how many events lost their labels to ``max_series``; read after each hand-over."""
        return {}

    @abstractmethod
    def merge(self, events: Sequence[MetricEvent]) -> Mapping[int, str] | None:
        """Add events to the series, each event once. Synchronous, no I/O; at most 500 a call, checkpoints between.

        Should it raise an ``Exception``, the whole batch counts as failed here.

        Returns:
            Events that are refused for good, by position, with the reason: they count as rejected at once. None: all
            are merged.
        """

    def snapshot(self) -> PartT | None:
        """Return what the next attempt sends: all that is merged so far. Synchronous, no I/O, for each attempt anew."""
        return None

    @abstractmethod
    async def send(self, payload: Payload[PartT]) -> Receipt | None:
        """Make one attempt to push ``payload.parts[0]``, the snapshot. Returns as :meth:`EventSink.send` does."""
