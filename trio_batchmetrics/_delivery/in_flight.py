"""The events that were taken from a sink's queue together, and those that are set aside because they were too large.

How this works
==============

An :class:`InFlight` starts with one request. If the back-end finds that too large, it gets the halves instead, down to
single events that are too large by themselves. If many events are at fault, this takes two requests per event, so after
:data:`MAX_REQUESTS` the rest is set aside: it waits here for its own backoff, while the events queued behind it are
delivered. It then resumes where it stopped, with the same number of requests again.
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
"""The maximum number of requests for one payload before its rest is set aside. Finding one of 5 000 events takes 26."""


@attrs.define(eq=False)
class Request:
    """The events that are sent together in one request, in one attempt or more."""

    events: SliceQueue
    in_doubt: bool = False
    """Whether an attempt has ended without showing if these events arrived."""
    attempted: bool = False
    """Whether another attempt with these events counts as a retry."""
    payload: Payload[Any] | None = None
    """The encoded events; None until the request is next in line."""

    @property
    def refusal(self) -> Verdict:
        """The verdict for a permanent refusal: failed if an earlier attempt is in doubt, else rejected."""
        return Verdict.FAILED if self.in_doubt else Verdict.REJECTED


@attrs.define(eq=False)
class InFlight:
    """The unsettled rest of the events that were taken from the queue together."""

    requests: list[Request]
    """The remaining requests. The last one is next, and has the oldest events."""
    retry_deadline: float = math.inf
    """The time after which no retry begins, by Trio's clock; infinite until the first attempt."""
    due: float = -math.inf
    """When it resumes after it was set aside, by Trio's clock."""

    @property
    def count(self) -> int:
        """How many events are left to send."""
        return sum([request.events.count for request in self.requests])

    @property
    def oldest_serial(self) -> int:
        """The serial number of its oldest event."""
        return self.requests[-1].events.oldest_serial

    def pop(self, limit: float) -> SliceQueue:
        """Remove and return up to ``limit`` of the oldest events. A request that is cut must be encoded again."""
        popped = SliceQueue()
        while self.requests and popped.count < limit:
            request = self.requests[-1]
            popped.extend(request.events.pop(limit - popped.count))
            request.payload = None
            if not request.events.count:
                self.requests.pop()
        return popped


class SetAside:
    """Events that are set aside until their backoff has passed."""

    __slots__ = ("_waiting", "count")

    def __init__(self) -> None:
        """Create an empty collection."""
        self._waiting: list[InFlight] = []
        self.count: int = 0
        """How many events are set aside."""

    @property
    def due(self) -> float:
        """When the first of them resume or reach their retry deadline, by Trio's clock; infinite if there are none."""
        return min((min(each.due, each.retry_deadline) for each in self._waiting), default=math.inf)

    def put(self, in_flight: InFlight) -> None:
        """Set events aside until they are due."""
        self._waiting.append(in_flight)
        self.count += in_flight.count

    def take(self, now: float) -> InFlight | None:
        """Remove and return the events that have been due longest, or None if none are due."""
        first = min(self._waiting, key=lambda each: each.due, default=None)
        if first is None or first.due > now:
            return None
        self._remove(first)
        return first

    def pop_expired(self, now: float) -> SliceQueue:
        """Remove and return the events that have reached their retry deadline."""
        expired = SliceQueue()
        for each in [each for each in self._waiting if each.retry_deadline <= now]:
            self._remove(each)
            expired.extend(each.pop(math.inf))
        return expired

    def pop(self, limit: int) -> SliceQueue:
        """Remove and return up to ``limit`` of the oldest events."""
        popped = SliceQueue()
        while self._waiting and popped.count < limit:
            oldest = min(self._waiting, key=lambda each: each.oldest_serial)
            self._remove(oldest)
            popped.extend(oldest.pop(limit - popped.count))
            if oldest.requests:
                self.put(oldest)
        return popped

    def postpone(self, until: float) -> None:
        """Let none of them resume before this time."""
        for each in self._waiting:
            each.due = max(each.due, until)

    def begin_shutdown(self) -> None:
        """Make all of them due, ahead of the queue."""
        for each in self._waiting:
            each.due = -math.inf

    def _remove(self, in_flight: InFlight) -> None:
        self._waiting.remove(in_flight)
        self.count -= in_flight.count
