"""Event sinks: one task a sink takes what is queued, tries, settles.

How this works
==============

::

    wait for events → take all that is queued, up to max_events and max_payload_bytes → encode
        (but batch by batch what came while there was nothing to do, as long as each attempt is over at once)
      → attempt within min(timeout, the exit's deadline)
      → delivered | some items rejected | retry after a pause | too large: halve | refused for good
      → settle each event once, through the ledger
      → halved into too many requests: the rest is set aside, and the next payload taken

The payload that is under way is not in the queue any more, so a full queue never gives it up. What is set aside
(:mod:`.shipments`) takes room in the queue; when it goes on, it and the queue take turns. The final
flush is the same loop, except that what is set aside goes first; the deadline is that of the scope around it.
Cancelled, the task leaves events as they are: pending, for ``Ledger.fail_rest``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from contextlib import nullcontext
from typing import Any

import trio

from .._concurrency import Turn
from .._ledger import Account, Ledger, Verdict
from ..abc import EventSink, Payload, Receipt, Sink
from .attempts import DELIVERED, Attempts, describe
from .load import Load, Queue, Span
from .shipments import MOST_REQUESTS, Parcel, SetAside, Shipment

__all__ = ["CHUNK", "EventDelivery"]

CHUNK = 500
"""Events that are worked on between two looks at the time: about 0.5 ms of encoding."""

_AT_ONCE = 0.01
"""Seconds: an attempt that takes longer has waited for something."""

_FEW = 4
"""A sink whose queue is fuller than one part in so many is behind."""


class EventDelivery:
    """The queue and the task of one event sink."""

    def __init__(
        self,
        sink: EventSink[Any],
        account: Account,
        ledger: Ledger,
        *,
        capacity: int,
        run_id: str,
        freed: Callable[[], object],
        trouble: Callable[[], object],
    ) -> None:
        """Deliver to a sink.

        Args:
            sink: the sink.
            account: its account.
            ledger: where events are settled.
            capacity: most events in the queue, beside the payload under way.
            run_id: what payload keys begin with.
            freed: called when the queue has become shorter.
            trouble: called when an attempt has failed or events were given up.
        """
        self.account = account
        self._sink = sink
        self._ledger = ledger
        self._capacity = capacity
        self._run_id = run_id
        self._freed = freed
        self._trouble = trouble
        self._attempts = Attempts(sink, account, trouble)
        self._encodes = type(sink).encode is not EventSink[Any].encode
        self._queue = Queue()
        self._aside = SetAside()
        self._queue_next = False
        """Whether it is the queue's turn, if it has anything: what went last, or is on its way, was set aside."""
        self._payloads = 0
        self._bytes_each = 0.0
        self._turn = Turn()
        self._finished = False
        self._idle = True
        """Whether there is nothing to do: the task waits for something, or has yet to begin."""
        self._under_way = False
        """Whether a payload has been taken, and is not settled yet."""
        self._news = trio.Event()
        self._one_by_one = 0
        """How many spans at the front of the queue get an attempt each."""

    def has_room(self, count: int) -> bool:
        """Tell whether so many events fit into the queue."""
        return count <= self._room

    @property
    def _room(self) -> int:
        """How many events fit into the queue, beside the attempt in flight, or the one that begins in the next pass."""
        room = self._capacity - self._queue.count - self._aside.count
        if not self._under_way and not self._aside.count and self._takes_at_once:
            room += min(self._queue.count, self._capacity, self._sink.max_events or self._capacity)
        return room

    @property
    def _takes_at_once(self) -> bool:
        """Whether an attempt takes all that is queued, up to ``max_events``, whatever size it is encoded."""
        return not self._encodes or self._sink.max_payload_bytes is None

    @property
    def about_to_take(self) -> bool:
        """Whether the task is awake for what is queued, and has not run yet."""
        return self._queue.count > 0 and not self._under_way

    def offer(self, span: Span) -> None:
        """Queue events that the ledger has handed over. What has waited longest is given up if they do not fit."""
        excess = len(span) - self._room
        if excess > 0:
            oldest = self._aside.pull(excess)  # what is set aside is older than all that is queued
            oldest += self._queue.pull(excess - len(oldest))
            oldest.settle(self._ledger, self.account, Verdict.FAILED, "queue_full")
            self._trouble()
        self._queue.append(span)
        keeps_up = self._idle and _FEW * self._queue.count <= self._capacity
        self._one_by_one = self._one_by_one + 1 if keeps_up else 0
        self._turn.wanted()
        self._news.set()

    def hurry(self) -> None:
        """The block is being left."""
        self._attempts.hurry()
        if self._aside.count:
            self._aside.hurry()
            self._news.set()

    def finish(self) -> None:
        """Nothing more will be offered."""
        self._finished = True
        self._news.set()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Deliver until there is nothing left and nothing more to come."""
        self._idle = False
        try:
            await self._deliver_all()
        finally:
            await close(self._sink, self._attempts)  # noqa: ASYNC102 - like Trio's own aclose: cancelled, it does not wait

    async def _deliver_all(self) -> None:
        while (shipment := await self._next()) is not None:
            await self._deliver(shipment)
            if self._one_by_one and trio.current_time() - self._attempts.began > _AT_ONCE:
                self._one_by_one = 0

    async def _next(self) -> Shipment | None:
        """Wait for something to send, and take it; None: nothing is left and nothing more will come."""
        self._under_way = False
        while True:
            if self._aside.count and (shipment := self._set_aside_before()) is not None:
                self._under_way = self._queue_next = True
                return shipment
            self._queue_next = False
            if self._queue.count:
                if not self._attempts.rested:
                    await trio.lowlevel.checkpoint()  # before it takes: what comes in this pass goes along
                    self._attempts.rested = True
                self._under_way = True
                return Shipment([await self._take()])
            if self._finished and not self._aside.count:
                return None
            self._news = trio.Event()
            self._idle = True
            until = trio.CancelScope(deadline=self._aside.due) if self._aside.count else nullcontext()
            try:
                with until:
                    await self._news.wait()
            finally:
                self._idle = False
            self._attempts.rested = True

    def _set_aside_before(self) -> Shipment | None:
        """Take what was set aside and is to go on now; give up what has no time left."""
        now = trio.current_time()
        room = self._aside.count
        if expired := self._aside.expired(now):
            self._give_up(expired, Verdict.FAILED, None, reason="retry_budget")
        queues_turn = self._queue_next and self._queue.count > 0
        shipment = self._aside.take(-math.inf if queues_turn else now)  # the former is what the block's end hurries
        if self._aside.count < room:
            self._freed()
        return shipment

    async def _deliver(self, shipment: Shipment) -> None:
        """See a shipment through, with its halves and leftovers, or as far as so many requests go."""
        parcels = shipment.parcels
        requests = 0
        while parcels:
            parcel = parcels.pop()
            if not parcel.load:
                continue
            if parcel.attempted:
                self.account.retries += 1
            elif requests < MOST_REQUESTS:
                requests += 1
            else:
                parcels.append(parcel)
                await self._set_aside(shipment)
                return
            payload = parcel.payload or await self._pack(parcel)
            if not parcel.load:  # none of it can be encoded
                continue
            parcel.attempted = True
            shipment.budget_ends = min(shipment.budget_ends, trio.current_time() + self._sink.retry_budget)
            receipt = await self._attempts.attempt(payload)
            parcels += reversed(await self._settle(parcel, receipt, shipment.budget_ends))

    async def _set_aside(self, shipment: Shipment) -> None:
        """Let the rest of a shipment wait, and more than that if nothing has arrived since the last failure.

        Everything waits if the shipment comes from the queue: the fault is hardly its own. If not, the others that are
        set aside wait too, so that a back-end that takes nothing is asked about one of them for each backoff.
        """
        failing = self._attempts.failing
        shipment.due = trio.current_time()
        if failing and not self._queue_next:
            self._aside.put(shipment)
            await self._attempts.pause(None, shipment.budget_ends)
            return
        shipment.due += self._attempts.backoff()
        if failing:
            self._aside.postpone(shipment.due)
        self._aside.put(shipment)

    async def _settle(self, parcel: Parcel, receipt: Receipt, budget_ends: float) -> list[Parcel]:
        """Settle what an attempt settled; return what is left to be sent, in order."""
        load = parcel.load
        if receipt is DELIVERED:
            load.settle(self._ledger, self.account, Verdict.DELIVERED)
            self._attempts.succeeded()
            return []
        self._attempts.note(receipt.error)
        if receipt.too_large:
            if len(load) > 1:
                uncertain = parcel.uncertain or receipt.uncertain
                return [Parcel(half, uncertain) for half in load.split(len(load) // 2)]
            self._give_up(load, parcel.refusal, receipt.error or "too large", reason="rejected")
            return []
        if receipt.retry is True and not receipt.rejected:
            delivered, rejected, rest = Load(), Load(), load
        elif receipt.retry or receipt.rejected:
            delivered, rejected, rest = _sorted(load, receipt)
        elif receipt.error is not None:
            self._give_up(load, Verdict.FAILED, receipt.error, reason="refused")
            return []
        else:
            delivered, rejected, rest = load, Load(), Load()
        delivered.settle(self._ledger, self.account, Verdict.DELIVERED)
        if delivered or not rest:
            self._attempts.succeeded(delivered=bool(delivered))
        if rejected:
            reason = next(iter(receipt.rejected.values()))
            error = f"{len(rejected)} of {len(load)} events refused: {reason}"
            self._give_up(rejected, parcel.refusal, error, reason="rejected")
        if not rest:
            return []
        parcel.uncertain = parcel.uncertain or receipt.uncertain
        if trio.current_time() >= budget_ends:
            self._give_up(rest, Verdict.FAILED, receipt.error, reason="retry_budget")
            return []
        self._one_by_one = 0
        await self._attempts.pause(receipt.retry_after, budget_ends)
        return [parcel if rest is load else Parcel(rest, parcel.uncertain, attempted=True)]

    def _give_up(self, load: Load, verdict: Verdict, error: str | None, *, reason: str = "") -> None:
        load.settle(self._ledger, self.account, verdict, reason)
        self._attempts.note(error)

    # -- payloads

    async def _take(self) -> Parcel:
        """Take what is queued, up to the sink's limits, and encode it."""
        most = self._sink.max_events or math.inf
        if self._one_by_one:
            self._one_by_one -= 1
            most = min(most, self._queue.first)
        if self._takes_at_once:
            load = self._queue.pull(most)
            self._freed()
            return Parcel(load, payload=None if self._encodes else self._payload(load, ()))
        taken, parts, size = Load(), list[Any](), 0
        limit = self._sink.max_payload_bytes or math.inf
        step = self._fitting(limit) or 1
        self._turn.begin()
        while self._queue.count and step and len(taken) < most:
            if taken and (self._turn.over or not self._turn.extended):
                await self._turn.give_way()
            chunk = self._queue.pull(min(step, most - len(taken)))
            good, encoded = self._encode(chunk)
            extra = sum(map(_bytes_of, encoded))
            if good:
                self._bytes_each = extra / len(good)
            if size + extra > limit and (taken or len(good) > 1):
                self._queue.put_back(good)
                step = min(self._fitting(limit - size), len(good) - 1) or (0 if taken else 1)
                continue
            taken, size = taken + good, size + extra
            parts += encoded
            step = self._fitting(limit - size)
        self._freed()
        return Parcel(taken, payload=self._payload(taken, parts))

    def _fitting(self, room: float) -> int:
        """Guess, from the last ones, how many events fit into so many bytes; at most a chunk."""
        return int(min(CHUNK, max(room, 0) / self._bytes_each)) if self._bytes_each else CHUNK

    async def _pack(self, parcel: Parcel) -> Payload[Any]:
        """Make a payload of its own of some events of another; those that cannot be encoded are left out."""
        taken, parts, load = Load(), list[Any](), parcel.load
        self._turn.begin()
        while self._encodes and load:
            if taken and (self._turn.over or not self._turn.extended):
                await self._turn.give_way()
            chunk, load = load.split(CHUNK)
            good, encoded = self._encode(chunk)
            taken += good
            parts += encoded
        parcel.load = taken if self._encodes else load
        parcel.payload = payload = self._payload(parcel.load, parts)
        return payload

    def _payload(self, load: Load, parts: Collection[Any]) -> Payload[Any]:
        self._payloads += 1
        key = f"{self._run_id}-{self.account.name}-{self._payloads}"
        return Payload(load.batch(), tuple(parts), key)

    def _encode(self, load: Load) -> tuple[Load, list[Any]]:
        """Encode events; those that cannot be are rejected. Returns the others, and their parts."""
        try:
            return load, [self._sink.encode(load.batch())]
        except Exception as exc:  # noqa: BLE001 - whatever encode raises is the fault of one event or more; find and count them
            if len(load) == 1:
                self._give_up(load, Verdict.REJECTED, f"cannot be encoded: {describe(exc)}")
                return Load(), []
        first, second = load.split(len(load) // 2)
        good, parts = self._encode(first)
        more_good, more_parts = self._encode(second)
        return good + more_good, parts + more_parts


def _bytes_of(part: object) -> int:
    return len(part) if isinstance(part, bytes | bytearray | str) else 0


def _sorted(load: Load, receipt: Receipt) -> tuple[Load, Load, Load]:
    """Sort a payload's events: delivered, rejected, to be tried again."""
    kinds = bytearray([2 if receipt.retry is True else 0]) * len(load)
    for at in () if isinstance(receipt.retry, bool) else receipt.retry:
        kinds[at] = 2
    for at in receipt.rejected:
        kinds[at] = 1
    delivered, rejected, again = load.sort(kinds, 3)
    return delivered, rejected, again


async def close(sink: Sink, attempts: Attempts) -> None:
    """Let a sink release what it holds; what it raises is noted. In a forked child it is the parent's to do."""
    if attempts.in_child:
        return
    try:
        await sink.aclose()
    except Exception as exc:  # noqa: BLE001 - the sink's last act; the application is not to fail because of it
        attempts.note(f"aclose: {describe(exc)}")
    except BaseExceptionGroup as group:
        raise attempts.only_cancelled(group) from None
