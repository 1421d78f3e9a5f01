"""Slices of batches keep their events, their numbers and their payload together."""

from __future__ import annotations

from typing import Any

from trio_batchmetrics._delivery.in_flight import InFlight, Request
from trio_batchmetrics._delivery.slices import SliceQueue
from trio_batchmetrics._events.batch import is_plain
from trio_batchmetrics._ledger.pending_batch import PendingBatch
from trio_batchmetrics.abc import Payload


def _queue(*sizes: int, plain: tuple[bool, ...] = ()) -> SliceQueue:
    """Return a queue of batches; each row is its event's serial number."""
    queue, serial = SliceQueue(), 0
    for number, size in enumerate(sizes):
        rows: list[Any] = [*range(serial, serial + size)]
        batch = PendingBatch(rows, number + 1)
        batch.first_serial, batch.plain = serial, plain[number] if plain else True
        queue.append(batch)
        serial += size
    return queue


def test_events_of_several_batches_are_plain_only_if_all_of_them_are() -> None:
    """Otherwise a sink would take labels for text that are none yet."""
    assert is_plain(_queue(2, 2, plain=(True, True)).events())
    for plain in ((True, False), (False, True)):
        assert not is_plain(_queue(2, 2, plain=plain).events())


def test_events_that_are_popped_and_pushed_back_keep_their_order() -> None:
    """Across batches, wherever the cut is."""
    for cut in range(8):
        queue = _queue(3, 1, 3)
        popped = queue.pop(cut)
        assert (popped.count, queue.count) == (cut, 7 - cut)
        assert list(popped.events().serials) == list(range(cut))
        queue.push_front(popped)
        assert list(queue.events().serials) == list(range(7))


def test_a_request_that_loses_events_is_encoded_again() -> None:
    """Its payload still has those that were given up to make room."""
    queue = _queue(4)
    request = Request(queue, payload=Payload(queue.events(), ("abcd",), "key"))
    in_flight = InFlight([request])
    assert list(in_flight.pop(1).events().serials) == [0]
    assert request.payload is None
    assert (in_flight.count, in_flight.oldest) == (3, 1)
