"""The events that a sink has taken from its queue at one time, and those that are set aside as too large.

How this works
==============

An :class:`InFlight` has one request to begin with. A back-end that finds it too large gets its halves instead, down to
single events that are too large alone. Where many events are at fault, that takes two requests per event, so after
:data:`MAX_REQUESTS` the rest is set aside: it waits for a backoff of its own, here, while the events queued behind it
are delivered. It goes on where it stopped, with as many requests again.
"""

from __future__ import annotations

import math
from typing import Any

import attrs

from .._ledger import Verdict
from ..abc import Payload
from .slices import SliceQueue

__all__ = ["MAX_REQUESTS", "InFlight", "Request", "SetAside"]

MAX_REQUESTS = 64
"""Requests that a payload may be halved into before its rest is set aside: one event of 5 000 is found with 26."""


@attrs.define(eq=False)
class Request:
    """Events that go in one request, and each attempt at it."""

    events: SliceQueue
    in_doubt: bool = False
    """Whether an attempt ended without telling whether these events arrived."""
    attempted: bool = False
    """Whether another attempt with these events is a retry."""
    payload: Payload[Any] | None = None
    """The encoded events; None until the request is next."""

    @property
    def refusal(self) -> Verdict:
        """The verdict for a permanent refusal: failed if an earlier attempt is in doubt, else rejected."""
        return Verdict.FAILED if self.in_doubt else Verdict.REJECTED


@attrs.define(eq=False)
class InFlight:
    """What is left to send of the events that were taken from the queue at one time."""

    requests: list[Request]
    """The last one is next, and has the oldest events."""
    retry_deadline: float = math.inf
    """When no retry begins any more, by Trio's clock; infinite until the first attempt."""
    due: float = -math.inf
    """When it goes on, once it is set aside."""

    @property
    def count(self) -> int:
        """How many events are left."""
        return sum([request.events.count for request in self.requests])

    @property
    def oldest(self) -> int:
        """The serial number of its oldest event."""
        return self.requests[-1].events.oldest

    def pop(self, limit: float) -> SliceQueue:
        """Take its oldest events out, at most so many; the rest is to be encoded again."""
        popped = SliceQueue()
        while self.requests and popped.count < limit:
            request = self.requests[-1]
            popped.extend(request.events.pop(limit - popped.count))
            request.payload = None
            if not request.events.count:
                self.requests.pop()
        return popped


class SetAside:
    """Events in flight that wait for their backoff."""

    __slots__ = ("_waiting", "count")

    def __init__(self) -> None:
        """Start without events."""
        self._waiting: list[InFlight] = []
        self.count: int = 0
        """How many events wait."""

    @property
    def due(self) -> float:
        """When some of them go on or reach their retry deadline, by Trio's clock; infinite if there are none."""
        return min((min(each.due, each.retry_deadline) for each in self._waiting), default=math.inf)

    def put(self, in_flight: InFlight) -> None:
        """Set events aside until they are due."""
        self._waiting.append(in_flight)
        self.count += in_flight.count

    def take(self, now: float) -> InFlight | None:
        """Take those that have been due longest, if any are due."""
        first = min(self._waiting, key=lambda each: each.due, default=None)
        if first is None or first.due > now:
            return None
        self._remove(first)
        return first

    def pop_expired(self, now: float) -> SliceQueue:
        """Take the events out that have reached their retry deadline."""
        expired = SliceQueue()
        for each in [each for each in self._waiting if each.retry_deadline <= now]:
            self._remove(each)
            expired.extend(each.pop(math.inf))
        return expired

    def pop(self, limit: int) -> SliceQueue:
        """Take the oldest events out, at most so many."""
        popped = SliceQueue()
        while self._waiting and popped.count < limit:
            oldest = min(self._waiting, key=lambda each: each.oldest)
            self._remove(oldest)
            popped.extend(oldest.pop(limit - popped.count))
            if oldest.requests:
                self.put(oldest)
        return popped

    def postpone(self, until: float) -> None:
        """Have none of them go on before a time."""
        for each in self._waiting:
            each.due = max(each.due, until)

    def begin_shutdown(self) -> None:
        """Make all of them due, before everything that is queued."""
        for each in self._waiting:
            each.due = -math.inf

    def _remove(self, in_flight: InFlight) -> None:
        self._waiting.remove(in_flight)
        self.count -= in_flight.count
