"""Delivers to event sinks: one task per sink takes the queued events, makes attempts, and settles the events.

How this works
==============

::

    wait for events → take all queued events, up to max_events and max_payload_bytes → encode
        (batches that arrive while the sink is idle are sent one by one, as long as each attempt ends at once)
      → attempt within min(timeout, the exit's deadline)
      → some events are rejected; the others are delivered | retried after a pause | split in halves | failed
      → settle each event once, through the ledger
      → split into too many requests: set the rest aside, and take the next payload

Events in flight are no longer in the queue, so a full queue never gives them up. Events that are set aside
(:mod:`.in_flight`) take room in the queue; when they resume, they and the queue take turns. The final flush is the same
loop, except that events set aside go first; its deadline is that of the enclosing scope.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import trio

from .._ledger import Ledger, PendingBatch, SinkCounters, Verdict
from ..abc import EventSink, Receipt
from .base import Delivery
from .in_flight import MAX_REQUESTS, InFlight, Request, SetAside
from .packing import Packer
from .receipts import DELIVERED
from .room import RoomSignal
from .slices import SliceQueue

__all__ = ["EventDelivery"]

_INSTANT_SECONDS = 0.01
"""The duration, in seconds, above which an attempt must have waited for something."""

_KEEPS_UP_FRACTION = 4
"""A sink keeps up as long as its queue is at most 1 / ``_KEEPS_UP_FRACTION`` full."""


class EventDelivery(Delivery):
    """The queue and the task of one event sink."""

    def __init__(
        self,
        sink: EventSink[Any],
        counters: SinkCounters,
        ledger: Ledger,
        *,
        capacity: int,
        run_id: str,
        room: RoomSignal,
        report: Callable[[], object],
    ) -> None:
        """Create the delivery of one event sink; :meth:`run` is its task.

        Args:
            sink: the sink.
            counters: its counters.
            ledger: settles the events.
            capacity: the maximum number of events in the queue, not counting those in flight.
            run_id: the prefix of payload keys.
            room: notified when the queue has become shorter.
            report: called when an attempt has failed or events were given up.
        """
        super().__init__(sink, counters, ledger, run_id=run_id, report=report)
        self._sink = sink
        self._capacity = capacity
        self._room = room
        self._packer = Packer(sink, f"{run_id}-{counters.name}", self._reject)
        self._queue = SliceQueue()
        self._aside = SetAside()
        self._in_flight: InFlight | None = None
        self._queue_next = False
        """Whether it is the queue's turn, unless the queue is empty: events that were set aside had the last one."""
        self._idle = True
        """Whether the task is waiting for work, or hasn't started yet."""
        self._one_by_one = 0
        """How many slices at the front of the queue get one attempt each."""

    @property
    def room(self) -> int:
        """How many more events fit into the queue, not counting those in flight or about to be taken."""
        queued, aside = self._queue.count, self._aside.count
        room = self._capacity - queued - aside
        any_size = self._sink.max_payload_bytes is None or not self._packer.encodes
        if any_size and self._in_flight is None and not aside:
            room += min(queued, self._capacity, self._sink.max_events or self._capacity)
        return room

    def has_room_for(self, count: int) -> bool:
        """Return whether so many more events fit into the queue."""
        return self._queue.count + self._aside.count + count <= self._capacity or count <= self.room

    @property
    def about_to_take(self) -> bool:
        """Whether the task has been woken for queued events, but hasn't taken any yet."""
        return self._queue.count > 0 and self._in_flight is None

    def offer(self, batch: PendingBatch) -> None:
        """Queue a batch that was handed over. If it doesn't fit, the oldest events fail as ``queue_full``."""
        count = len(batch.events)
        if not self.has_room_for(count):
            excess = count - self.room
            oldest = self._aside.pop(excess)  # events set aside are older than all queued events
            oldest.extend(self._queue.pop(excess - oldest.count))
            oldest.settle(self._ledger, self.counters, Verdict.FAILED, "queue_full")
            self._report()
        self._queue.append(batch)
        keeps_up = self._idle and _KEEPS_UP_FRACTION * self._queue.count <= self._capacity
        self._one_by_one = self._one_by_one + 1 if keeps_up else 0
        self._packer.turn.note_work()
        self._work_arrived.set()

    def begin_shutdown(self) -> None:
        """Cut backoffs short, because the block is being left."""
        super().begin_shutdown()
        if self._aside.count:
            self._aside.begin_shutdown()
            self._work_arrived.set()

    # -- work

    async def _wait_for_work(self) -> bool:
        self._in_flight, self._idle = None, False
        while True:
            if self._aside.count and self._resume_set_aside():
                self._queue_next = True
                return True
            self._queue_next = False
            if self._queue.count:
                if not self._attempts.just_resumed:
                    await trio.lowlevel.checkpoint()  # before taking, so that events from this pass are included
                    self._attempts.just_resumed = True
                self._in_flight = InFlight([])
                self._in_flight.requests.append(await self._take())
                if self._room.awaited:
                    self._room.notify()
                return True
            if self._no_more_work and not self._aside.count:
                return False
            self._work_arrived = trio.Event()
            self._idle = True
            until = trio.CancelScope(deadline=self._aside.due) if self._aside.count else nullcontext()
            try:
                with until:
                    await self._work_arrived.wait()
            finally:
                self._idle = False
            self._attempts.just_resumed = True

    async def _take(self) -> Request:
        """Take the oldest events of the queue, as many as fit into one payload."""
        limit = self._sink.max_events or math.inf
        if self._one_by_one:
            self._one_by_one -= 1
            limit = min(limit, self._queue.first_size)
        if self._packer.encodes and self._sink.max_payload_bytes is not None:
            return await self._packer.take(self._queue, limit)
        return Request(self._queue.pop(limit))

    def _resume_set_aside(self) -> bool:
        """Resume events that were set aside, if any are due; give up those whose retry deadline has passed."""
        now = trio.current_time()
        before = self._aside.count
        expired = self._aside.pop_expired(now)
        if expired.count:
            self._give_up(expired, Verdict.FAILED, None, reason="retry_budget")
        queue_goes_first = self._queue_next and self._queue.count > 0
        # At the end of the block, events set aside go first even so: their due time is -inf.
        self._in_flight = self._aside.take(-math.inf if queue_goes_first else now)
        if self._aside.count < before:
            self._room.notify()
        return self._in_flight is not None

    async def _deliver(self) -> None:
        """Send the requests in flight and those they are split into: at most :data:`MAX_REQUESTS`, plus retries."""
        in_flight = self._in_flight
        assert in_flight is not None  # noqa: S101 - _wait_for_work has set it
        requests, sent = in_flight.requests, 0
        while requests:
            request = requests.pop()
            if request.attempted:
                self.counters.retries += 1
            elif sent == MAX_REQUESTS:
                requests.append(request)
                await self._set_aside(in_flight)
                return
            else:
                sent += 1
            payload = request.payload or await self._packer.pack(request)
            if not request.events.count:  # none of them can be encoded
                continue
            request.attempted = True
            if in_flight.retry_deadline == math.inf:
                in_flight.retry_deadline = trio.current_time() + self._sink.retry_budget
            receipt = await self._attempts.attempt(payload)
            requests += reversed(await self._settle(request, receipt, in_flight.retry_deadline))
        if self._one_by_one and trio.current_time() - self._attempts.began > _INSTANT_SECONDS:
            self._one_by_one = 0

    async def _set_aside(self, in_flight: InFlight) -> None:
        """Set the remaining requests aside. If the sink has accepted nothing since it last failed, delay others too.

        If these events come from the queue, the whole task pauses: the events themselves are hardly at fault. Otherwise
        everything else that is set aside is delayed too, so that a back-end that accepts nothing gets one of these
        payloads per backoff.
        """
        failing = self._attempts.failing
        in_flight.due = trio.current_time()
        if failing and not self._queue_next:
            self._aside.put(in_flight)
            await self._attempts.pause(None, in_flight.retry_deadline)
            return
        in_flight.due += self._attempts.backoff()
        if failing:
            self._aside.postpone(in_flight.due)
        self._aside.put(in_flight)

    # -- outcomes

    async def _settle(self, request: Request, receipt: Receipt, retry_deadline: float) -> list[Request]:
        """Settle the events whose outcome the receipt decides; return the requests left to send, in order."""
        if receipt is DELIVERED:
            request.events.settle(self._ledger, self.counters, Verdict.DELIVERED)
            self._attempts.succeeded()
            return []
        self._attempts.note_error(receipt.error)
        rejected, others, delivered = _divide(request.events, receipt)
        if rejected.count:
            reason = next(iter(receipt.rejected.values()))
            error = f"{rejected.count} of {request.events.count} events refused: {reason}"
            self._give_up(rejected, request.refusal, error, reason="rejected")
        if not others.count:
            self._delivered(delivered)
            return []
        match receipt.rest:
            case "delivered":
                self._delivered(others)
            case "failed":
                self._give_up(others, Verdict.FAILED, receipt.error, reason="refused")
            case "split":
                return self._split(request, others, receipt)
            case "retry":
                if delivered.count:
                    self._delivered(delivered)
                return await self._retry(request, others, receipt, retry_deadline)
        return []

    def _delivered(self, events: SliceQueue) -> None:
        """Settle delivered events; even without any, the back-end has responded."""
        events.settle(self._ledger, self.counters, Verdict.DELIVERED)
        self._attempts.succeeded(delivered=events.count > 0)

    def _split(self, request: Request, events: SliceQueue, receipt: Receipt) -> list[Request]:
        """Return requests for the halves of events that don't arrive together. An event that was alone is at fault."""
        if request.events.count == events.count == 1:
            self._give_up(events, request.refusal, receipt.error or "too large", reason="rejected")
            return []
        in_doubt = request.in_doubt or receipt.in_doubt
        return [Request(half, in_doubt) for half in (events.pop(events.count // 2), events) if half.count]

    async def _retry(
        self, request: Request, events: SliceQueue, receipt: Receipt, retry_deadline: float
    ) -> list[Request]:
        """Pause, and return the request for another attempt; at the deadline, give the events up instead."""
        if trio.current_time() >= retry_deadline:
            self._give_up(events, Verdict.FAILED, receipt.error, reason="retry_budget")
            return []
        self._one_by_one = 0
        await self._attempts.pause(receipt.retry_after, retry_deadline)
        request.in_doubt = request.in_doubt or receipt.in_doubt
        return [request if events is request.events else Request(events, request.in_doubt, attempted=True)]

    def _reject(self, events: SliceQueue, error: str) -> None:
        self._give_up(events, Verdict.REJECTED, error)

    def _give_up(self, events: SliceQueue, verdict: Verdict, error: str | None, *, reason: str = "") -> None:
        events.settle(self._ledger, self.counters, verdict, reason)
        self._attempts.note_error(error)


def _divide(events: SliceQueue, receipt: Receipt) -> tuple[SliceQueue, SliceQueue, SliceQueue]:
    """Divide a payload's events into the rejected ones, those to which ``rest`` applies, and the delivered ones."""
    if not receipt.rejected and receipt.retry is None:
        return SliceQueue(), events, SliceQueue()
    labels = bytearray([1 if receipt.retry is None else 2]) * events.count
    for at in receipt.retry or ():
        labels[at] = 1
    for at in receipt.rejected:
        labels[at] = 0
    rejected, others, delivered = events.partition(labels, 3)
    return rejected, others, delivered
