"""Takes events from a queue and encodes them, within the limits of the sink."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

from .._concurrency import Pace, Turn
from .._events import Batch
from ..abc import EventSink, Payload
from .in_flight import Request
from .receipts import describe
from .slices import SliceQueue

__all__ = ["Packer", "next_chunk_size"]


def next_chunk_size(max_events: int, bytes_left: float, bytes_per_event: float) -> int:
    """Return how many events to encode next.

    Args:
        max_events: the maximum.
        bytes_left: the bytes left in the payload.
        bytes_per_event: the average encoded size of the latest events; 0 if none were encoded yet.
    """
    return int(min(max_events, max(bytes_left, 0) / bytes_per_event)) if bytes_per_event else max_events


class Packer:
    """Builds the payloads of one event sink."""

    def __init__(self, sink: EventSink[Any], key: str, reject: Callable[[SliceQueue, str], object]) -> None:
        """Create the packer of one event sink.

        Args:
            sink: the sink.
            key: the prefix of payload keys.
            reject: called with an event that cannot be encoded, and the reason.
        """
        self.turn: Turn = Turn()
        self._pace = Pace()
        self._sink = sink
        self.encodes: bool = type(sink).encode is not EventSink[Any].encode
        """Whether the sink encodes events. Then its ``max_payload_bytes`` applies, which it may change at any time."""
        self._key = key
        self._reject = reject
        self._payload_count = 0
        self._bytes_per_event = 0.0

    async def take(self, queue: SliceQueue, limit: float) -> Request:
        """Take the oldest events of a queue that fit into ``max_payload_bytes``.

        Args:
            queue: the queue.
            limit: the maximum number of events.
        """
        taken, parts, size = SliceQueue(), list[Any](), 0
        max_bytes = self._sink.max_payload_bytes or math.inf
        step = next_chunk_size(self._pace.size, max_bytes, self._bytes_per_event) or 1
        self.turn.begin()
        while queue.count and step and taken.count < limit:
            if taken.count:
                await self._yield_if_due()
            encodable, encoded = await self._encode(queue.pop(min(step, limit - taken.count)))
            size_of_encoded = sum(map(_bytes_of, encoded))
            if encodable.count:
                self._bytes_per_event = size_of_encoded / encodable.count
            if size + size_of_encoded > max_bytes and (taken.count or encodable.count > 1):
                queue.push_front(encodable)
                step = min(
                    next_chunk_size(self._pace.size, max_bytes - size, self._bytes_per_event), encodable.count - 1
                )
                step = step or (0 if taken.count else 1)
                continue
            taken.extend(encodable)
            parts += encoded
            size += size_of_encoded
            step = next_chunk_size(self._pace.size, max_bytes - size, self._bytes_per_event)
        return Request(taken, payload=self._payload(taken, parts))

    async def pack(self, request: Request) -> Payload[Any]:
        """Encode the events of a request. Events that cannot be encoded are rejected and removed from it."""
        events, parts, batch = request.events, list[Any](), None
        if self.encodes and events.count > self._pace.size:
            rest, events = events, SliceQueue()
            self.turn.begin()
            while rest.count:
                if events.count:
                    await self._yield_if_due()
                encodable, encoded = await self._encode(rest.pop(self._pace.size))
                events.extend(encodable)
                parts += encoded
        elif self.encodes and events.count:
            batch = events.events()
            self.turn.begin()
            events, parts = await self._encode(events, batch)
        payload = self._payload(events, parts, batch if events is request.events else None)
        request.events, request.payload = events, payload
        return payload

    async def _yield_if_due(self) -> None:
        if self.turn.over or not self.turn.extended:
            await self.turn.yield_to_others()

    def _payload(self, events: SliceQueue, parts: Collection[Any], batch: Batch | None = None) -> Payload[Any]:
        self._payload_count += 1
        return Payload(events.events() if batch is None else batch, tuple(parts), f"{self._key}-{self._payload_count}")

    async def _encode(self, events: SliceQueue, batch: Batch | None = None) -> tuple[SliceQueue, list[Any]]:
        """Encode events and reject those that cannot be encoded. Returns the others and their parts."""
        self._pace.begin()
        try:
            encoded = [self._sink.encode(events.events() if batch is None else batch)]
            self._pace.end(events.count)
            return events, encoded
        except Exception as exc:  # noqa: BLE001 - any error is the fault of at least one event; find and count those
            if events.count == 1:
                self._reject(events, f"cannot be encoded: {describe(exc)}")
                return SliceQueue(), []
        await self._yield_if_due()
        encodable, parts = await self._encode(events.pop(events.count // 2))
        await self._yield_if_due()
        more_encodable, more_parts = await self._encode(events)
        encodable.extend(more_encodable)
        return encodable, parts + more_parts


def _bytes_of(part: object) -> int:
    return len(part) if isinstance(part, bytes | bytearray | str) else 0
