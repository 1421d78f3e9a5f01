"""Series sinks: merge at the hand-over, then push all that is merged, again and again until a push succeeds.

Merging is CPU work without I/O, so the flush task does it, with checkpoints. The task here only pushes. A failed push
loses nothing: the next snapshot contains what it contained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import trio

from ._accounts import Account, Cohort
from ._attempts import Attempts, describe
from ._batch import Batch
from ._delivery import close
from ._ledger import Ledger
from .abc import Payload, Receipt, SeriesSink

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
        self._finished = False
        self._news = trio.Event()

    async def merge(self, cohort: Cohort, chunks: Sequence[Batch], count: int) -> None:
        """Merge a cohort's events; a checkpoint between any 500.

        Args:
            cohort: where they are accounted.
            chunks: the events, at most 500 each.
            count: how many there are in all.
        """
        self._ledger.reach(self.account, count)
        for number, chunk in enumerate(chunks):
            if number:
                await trio.lowlevel.checkpoint()
            try:
                self._sink.merge(chunk)
            except Exception as exc:  # noqa: BLE001 - the sink's own failure: its events are counted as failed
                self._ledger.not_merged(self.account, cohort, count)
                self._attempts.note(f"merge: {describe(exc)}")
                return
        if self._sink.scraped:
            self._ledger.scraped(self.account, count)
        else:
            self._ledger.merged(self.account, cohort, count)

    def wake(self) -> None:
        """Something was merged and handed over."""
        self._news.set()

    def hurry(self) -> None:
        """The block is being left."""
        self._attempts.hurry()

    def finish(self) -> None:
        """Nothing more will be merged."""
        self._finished = True
        self._news.set()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Push until everything merged was pushed and nothing more is to come."""
        try:
            while await self._has_work():
                await self._push()
        finally:
            await close(self._sink, self._attempts)  # noqa: ASYNC102 - like Trio's own aclose: cancelled, it does not wait

    async def _has_work(self) -> bool:
        while not self.account.unpushed + self.account.covered:
            if self._finished:
                return False
            self._news = trio.Event()
            await self._news.wait()
            self._attempts.rested = True
        return True

    async def _push(self) -> None:
        while True:
            receipt = await self._attempt()
            if not (receipt.rejected or receipt.retry or receipt.too_large or receipt.error is not None):
                self._ledger.pushed(self.account)
                self._attempts.succeeded()
                return
            self._attempts.note(receipt.error or "the push was refused")
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
