"""Slices of batches keep their events, their numbers and their payload together."""

from __future__ import annotations

from trio_batchmetrics import Batch, CacheMetric
from trio_batchmetrics._delivery.in_flight import InFlight, Request
from trio_batchmetrics._delivery.slices import SliceQueue
from trio_batchmetrics._ledger.pending_batch import PendingBatch
from trio_batchmetrics.abc import EventIds, Payload


def _queue(*sizes: int) -> SliceQueue:
    """Return a queue of batches, whose events have serial numbers from 0 on."""
    queue, serial = SliceQueue(), 0
    for number, size in enumerate(sizes):
        batch = PendingBatch([], number + 1)
        serials = range(serial, serial + size)
        events = [CacheMetric("redis", "hit", timestamp=each) for each in serials]
        batch.events = Batch(events, ids=EventIds("run", serials))
        queue.append(batch)
        serial += size
    return queue


def _serials(queue: SliceQueue) -> list[int]:
    """Return the serial numbers of a queue's events, which are also their timestamps."""
    events = queue.events()
    assert [event.timestamp for event in events] == [*events.ids.serials]
    return [*events.ids.serials]


def test_events_that_are_popped_and_pushed_back_keep_their_order() -> None:
    """Across batches, wherever the cut is."""
    for cut in range(8):
        queue = _queue(3, 1, 3)
        popped = queue.pop(cut)
        assert (popped.count, queue.count) == (cut, 7 - cut)
        assert _serials(popped) == list(range(cut))
        queue.push_front(popped)
        assert _serials(queue) == list(range(7))


def test_a_request_that_loses_events_is_encoded_again() -> None:
    """Its payload still has those that were given up to make room."""
    queue = _queue(4)
    request = Request(queue, payload=Payload(queue.events(), ("abcd",), "key"))
    in_flight = InFlight([request])
    assert _serials(in_flight.pop(1)) == [0]
    assert request.payload is None
    assert (in_flight.count, in_flight.oldest_serial) == (3, 1)
