"""Series sinks: merge at the hand-over, then push all that is merged, again and again until a push succeeds.

Merging is CPU work without I/O, so the flush task does it, with checkpoints. The task here only pushes. A failed push
loses nothing: the next snapshot contains what it contained. With nothing new, it pushes every ``refresh`` seconds and
at the end all the same: that nothing is new does not say that the back-end still has it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import trio

from .._concurrency import Turn
from .._events import Batch
from .._ledger import Account, Cohort, Ledger
from ..abc import Payload, Receipt, SeriesSink
from .attempts import Attempts, describe
from .event_delivery import close

__all__ = ["SeriesDelivery"]


class SeriesDelivery:
    """The merging and the task of one series sink."""

    def __init__(
        self, sink: SeriesSink[Any], account: Account, ledger: Ledger, *, run_id: str, trouble: Callable[[], object]
    ) -> None:
        """Deliver to a sink.

        Args:
            sink: the sink.
            account: its account.
            ledger: where events are settled.
            run_id: what payload keys begin with.
            trouble: called when a push has failed or events were given up.
        """
        self.account = account
        self._sink = sink
        self._ledger = ledger
        self._run_id = run_id
        self._trouble = trouble
        self._attempts = Attempts(sink, account, trouble)
        self._merged = False
        """Whether anything was ever merged."""
        self._leaving = False
        self._finished = False
        self._last_push_begun = False
        """Whether an attempt has begun, since the block is being left, that has everything merged so far."""
        self.overflowed: Mapping[str, int] = {}
        """By instrument, how many events lost their labels to ``max_series``; replaced, not changed, at a hand-over."""
        self._news = trio.Event()

    async def merge(self, cohort: Cohort, chunks: Sequence[Batch], count: int, turn: Turn) -> None:
        """Merge a cohort's events.

        Args:
            cohort: where they are accounted.
            chunks: the events, at most 500 each.
            count: how many there are in all.
            turn: the flush task's.
        """
        self._ledger.reach(self.account, count)
        refused: dict[int, str] = {}
        start = 0
        for chunk in chunks:
            if start and turn.over:
                await turn.give_way()
            try:
                refused |= _positions(self._sink.merge(chunk), start, len(chunk))
            except Exception as exc:  # noqa: BLE001 - the sink's own failure: its events are counted as failed
                self._ledger.not_merged(self.account, cohort, count)
                self._attempts.note(f"merge: {describe(exc)}")
                return
            start += len(chunk)
        if len(refused) < count:
            self._merged, self._last_push_begun = True, False
        settle = self._ledger.scraped if self._sink.scraped else self._ledger.merged
        settle(self.account, cohort, count, refused=refused.keys())
        if refused:
            reason = next(iter(refused.values()))
            self._attempts.note(f"{len(refused)} of {count} events refused: {reason}")

    def wake(self) -> None:
        """Something was merged and handed over."""
        self._news.set()
        try:
            overflowed = dict(self._sink.overflowed)
        except Exception as exc:  # noqa: BLE001 - the sink's own failure, and in its last_error; its events are merged
            self._attempts.note(f"overflowed: {describe(exc)}")
            return
        if len(overflowed) > len(self.overflowed):
            self._trouble()
        self.overflowed = overflowed

    def hurry(self) -> None:
        """The block is being left."""
        self._leaving = True
        self._attempts.hurry()

    def finish(self) -> None:
        """Nothing more will be merged."""
        self._finished = True
        self._news.set()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Push until everything merged was pushed, nothing more is to come, and the last push has begun."""
        try:
            await self._push_all()
        finally:
            await close(self._sink, self._attempts)  # noqa: ASYNC102 - like Trio's own aclose: cancelled, it does not wait

    async def _push_all(self) -> None:
        while await self._has_work():
            await self._push()

    async def _has_work(self) -> bool:
        """Wait until there is something to push; False: nothing is left to do."""
        due = trio.current_time() + (math.inf if self._sink.refresh is None else self._sink.refresh)
        while not self._pending:
            if self._finished:
                return self._merged and not self._last_push_begun and not self._sink.scraped
            self._news = trio.Event()
            with trio.move_on_at(due if self._merged and not self._sink.scraped else math.inf) as waiting:
                await self._news.wait()
            self._attempts.rested = True
            if waiting.cancelled_caught:
                return True
        return True

    @property
    def _pending(self) -> int:
        return self.account.unpushed + self.account.covered

    async def _push(self) -> None:
        while True:
            self._last_push_begun = self._leaving
            receipt = await self._attempt()
            if not (receipt.rejected or receipt.retry or receipt.too_large or receipt.error is not None):
                self._ledger.pushed(self.account)
                self._attempts.succeeded()
                return
            self._attempts.note(receipt.error or "the push was refused")
            if self._last_push_begun and not self._pending:
                return
            await self._attempts.pause(receipt.retry_after, math.inf)
            self.account.retries += 1

    async def _attempt(self) -> Receipt:
        key = f"{self._run_id}-{self.account.name}-{self.account.epoch}"
        self._ledger.begin_push(self.account)
        try:
            snapshot = self._sink.snapshot()
        except Exception as exc:  # noqa: BLE001 - the sink's own failure, like one of send
            await trio.lowlevel.checkpoint()
            return Receipt(retry=True, error=f"snapshot: {describe(exc)}")
        return await self._attempts.attempt(Payload(Batch([]), (snapshot,), key))


def _positions(answer: object, start: int, size: int) -> dict[int, str]:
    """Return which events a sink refused to merge, by their position in the whole batch.

    Raises:
        Exception: of any kind, where the answer makes no sense.
    """
    if answer is None:
        return {}
    refused: Any = answer
    found = {at: str(reason) for at, reason in refused.items()}
    if not all(type(at) is int and 0 <= at < size for at in found):
        raise ValueError(f"merge() names events that the {size} it was given do not have")
    return {start + at: reason for at, reason in found.items()}
