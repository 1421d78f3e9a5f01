"""Event sinks: one task a sink takes what is queued, tries, settles.

How this works
==============

::

    wait for events → take all that is queued, up to max_events and max_payload_bytes → encode
      → attempt within min(timeout, the exit's deadline)
      → delivered | some items rejected | retry after a pause | too large: halve | refused for good
      → settle each event once, through the ledger

The payload that is under way is not in the queue any more, so a full queue never gives it up. The final flush is the
same loop; the deadline is that of the scope around it. Cancelled, the task leaves events as they are: pending, for
``Ledger.fail_rest``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import attrs
import trio

from ._accounts import Account, Verdict
from ._attempts import DELIVERED, Attempts, describe
from ._ledger import Ledger
from ._load import Load, Queue, Span
from ._turns import Turn
from .abc import EventSink, Payload, Receipt, Sink

__all__ = ["CHUNK", "EventDelivery"]

CHUNK = 500
"""Events that are worked on between two looks at the time: about 0.5 ms of encoding."""


@attrs.define
class _Parcel:
    """A payload, and the events in it."""

    load: Load
    payload: Payload[Any]
    budget_ends: float | None
    """When no retry begins any more, by Trio's clock; None until the first attempt."""
    uncertain: bool = False
    """Whether an attempt with these events has ended so that they may have arrived."""

    @property
    def refusal(self) -> Verdict:
        """What it means for an event to be refused for good."""
        return Verdict.FAILED if self.uncertain else Verdict.REJECTED


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
        self._payloads = 0
        self._bytes_each = 0.0
        self._turn = Turn()
        self._finished = False
        self._idle = False
        self._news = trio.Event()

    def has_room(self, count: int) -> bool:
        """Tell whether so many events fit into the queue."""
        return self._queue.count + count <= self._capacity

    @property
    def about_to_take(self) -> bool:
        """Whether the task is awake for what is queued, and has not run yet."""
        return self._idle and self._queue.count > 0

    def offer(self, span: Span) -> None:
        """Queue events that the ledger has handed over. What has waited longest is given up if they do not fit."""
        excess = self._queue.count + len(span) - self._capacity
        if excess > 0:
            self._queue.pull(excess).settle(self._ledger, self.account, Verdict.FAILED, "queue_full")
            self._trouble()
        self._queue.append(span)
        self._turn.wanted()
        self._news.set()

    def hurry(self) -> None:
        """The block is being left."""
        self._attempts.hurry()

    def finish(self) -> None:
        """Nothing more will be offered."""
        self._finished = True
        self._news.set()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Deliver until there is nothing left and nothing more to come."""
        try:
            while await self._has_work():
                await self._deliver()
        finally:
            await close(self._sink, self._attempts)  # noqa: ASYNC102 - like Trio's own aclose: cancelled, it does not wait

    async def _has_work(self) -> bool:
        while not self._queue.count:
            if self._finished:
                return False
            self._news = trio.Event()
            self._idle = True
            try:
                await self._news.wait()
            finally:
                self._idle = False
            self._attempts.rested = True
        return True

    async def _deliver(self) -> None:
        """Take one payload and see it through, with its halves and leftovers."""
        parcels = [await self._take()]
        while parcels:
            parcel = parcels.pop()
            if not parcel.load:
                continue
            if parcel.budget_ends is None:
                parcel.budget_ends = trio.current_time() + self._sink.retry_budget
            else:
                self.account.retries += 1
            receipt = await self._attempts.attempt(parcel.payload)
            parcels += reversed(await self._settle(parcel, receipt, parcel.budget_ends))

    async def _settle(self, parcel: _Parcel, receipt: Receipt, budget_ends: float) -> list[_Parcel]:
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
                return [await self._pack(half, None, uncertain) for half in load.split(len(load) // 2)]
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
        await self._attempts.pause(receipt.retry_after, budget_ends)
        return [parcel if rest is load else await self._pack(rest, budget_ends, parcel.uncertain)]

    def _give_up(self, load: Load, verdict: Verdict, error: str | None, *, reason: str = "") -> None:
        load.settle(self._ledger, self.account, verdict, reason)
        self._attempts.note(error)

    # -- payloads

    async def _take(self) -> _Parcel:
        """Take what is queued, up to the sink's limits, and encode it."""
        most = self._sink.max_events or math.inf
        if not self._encodes:
            parcel = self._parcel(self._queue.pull(most), ())
            self._freed()
            return parcel
        taken, parts, size = Load(), list[Any](), 0
        limit = self._sink.max_payload_bytes or math.inf
        step = self._fitting(limit) or 1
        self._turn.begin()
        while self._queue.count and step and len(taken) < most:
            if taken and self._turn.over:
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
        return self._parcel(taken, parts)

    def _fitting(self, room: float) -> int:
        """Guess, from the last ones, how many events fit into so many bytes; at most a chunk."""
        return int(min(CHUNK, max(room, 0) / self._bytes_each)) if self._bytes_each else CHUNK

    async def _pack(self, load: Load, budget_ends: float | None, uncertain: bool) -> _Parcel:
        """Make a payload of its own of some events of another; what is left after an attempt shares its budget."""
        taken, parts = Load(), list[Any]()
        self._turn.begin()
        while self._encodes and load:
            if taken and self._turn.over:
                await self._turn.give_way()
            chunk, load = load.split(CHUNK)
            good, encoded = self._encode(chunk)
            taken += good
            parts += encoded
        return self._parcel(taken if self._encodes else load, parts, budget_ends, uncertain)

    def _parcel(
        self, load: Load, parts: Collection[Any], budget_ends: float | None = None, uncertain: bool = False
    ) -> _Parcel:
        self._payloads += 1
        key = f"{self._run_id}-{self.account.name}-{self._payloads}"
        return _Parcel(load, Payload(load.batch(), tuple(parts), key), budget_ends, uncertain)

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
