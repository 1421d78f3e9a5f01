"""What is taken from a queue at one time, and what waits because it took too many requests.

How this works
==============

A :class:`Shipment` is one payload to begin with. A back-end that finds it too large gets its halves instead, down to
the events that are too large alone; these are its parcels. Where much is at fault, that takes two requests for each
event, so after :data:`MOST_REQUESTS` the rest is set aside: it waits for a backoff of its own, here, while the events
queued behind it are delivered. It goes on where it stopped, with as many requests again.
"""

from __future__ import annotations

import math
from typing import Any

import attrs

from .._ledger import Verdict
from ..abc import Payload
from .load import Load

__all__ = ["MOST_REQUESTS", "Parcel", "SetAside", "Shipment"]

MOST_REQUESTS = 64
"""Requests that a payload may be halved into before its rest is set aside: one event of 5 000 is found with 26."""


@attrs.define(eq=False)
class Parcel:
    """Events that go in one request."""

    load: Load
    uncertain: bool = False
    """Whether an attempt with these events has ended so that they may have arrived."""
    attempted: bool = False
    """Whether another attempt with these events is a retry."""
    payload: Payload[Any] | None = None
    """What the request is made of; None until its turn has come."""

    @property
    def refusal(self) -> Verdict:
        """What it means for an event to be refused for good."""
        return Verdict.FAILED if self.uncertain else Verdict.REJECTED


@attrs.define(eq=False)
class Shipment:
    """What is left to be sent of what was taken from the queue at one time."""

    parcels: list[Parcel]
    """The last one is the next, and has the oldest events."""
    budget_ends: float = math.inf
    """When no retry begins any more, by Trio's clock; infinite until the first attempt."""
    due: float = -math.inf
    """Set aside: when it is to go on."""

    def __len__(self) -> int:
        """Return how many events are left."""
        return sum(len(parcel.load) for parcel in self.parcels)

    @property
    def oldest(self) -> int:
        """The serial number of its oldest event."""
        return self.parcels[-1].load.spans[0].serials.start

    def pull(self, most: float) -> Load:
        """Take its oldest events, at most so many; the rest is to be encoded anew."""
        pulled = Load()
        while self.parcels and most > 0:
            parcel = self.parcels[-1]
            first, parcel.load = parcel.load.split(int(min(most, len(parcel.load))))
            parcel.payload = None
            pulled, most = pulled + first, most - len(first)
            if not parcel.load:
                self.parcels.pop()
        return pulled


class SetAside:
    """Shipments that wait for their backoff."""

    __slots__ = ("_shipments", "count")

    def __init__(self) -> None:
        """Start without shipments."""
        self._shipments: list[Shipment] = []
        self.count: int = 0
        """How many events wait."""

    @property
    def due(self) -> float:
        """When there is something to do by Trio's clock: a shipment goes on, or its budget ends; else infinite."""
        return min((min(each.due, each.budget_ends) for each in self._shipments), default=math.inf)

    def put(self, shipment: Shipment) -> None:
        """Set a shipment aside until it is due; it has events."""
        self._shipments.append(shipment)
        self.count += len(shipment)

    def take(self, now: float) -> Shipment | None:
        """Take the shipment that has been due longest, if there is one."""
        first = min(self._shipments, key=lambda shipment: shipment.due, default=None)
        if first is None or first.due > now:
            return None
        self._remove(first)
        return first

    def expired(self, now: float) -> Load:
        """Take the events of shipments whose budget has ended."""
        expired = Load()
        for shipment in [each for each in self._shipments if each.budget_ends <= now]:
            self._remove(shipment)
            expired += shipment.pull(math.inf)
        return expired

    def pull(self, most: int) -> Load:
        """Take the oldest events, at most so many."""
        pulled = Load()
        while self._shipments and len(pulled) < most:
            oldest = min(self._shipments, key=lambda shipment: shipment.oldest)
            self._remove(oldest)
            pulled += oldest.pull(most - len(pulled))
            if oldest.parcels:
                self.put(oldest)
        return pulled

    def postpone(self, until: float) -> None:
        """Have none of them go on before that."""
        for shipment in self._shipments:
            shipment.due = max(shipment.due, until)

    def hurry(self) -> None:
        """The block is being left: all of them are due, before everything else."""
        for shipment in self._shipments:
            shipment.due = -math.inf

    def _remove(self, shipment: Shipment) -> None:
        self._shipments.remove(shipment)
        self.count -= len(shipment)
