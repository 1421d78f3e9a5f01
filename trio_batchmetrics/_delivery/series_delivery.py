"""Delivers to series sinks: merges at the hand-over, then pushes everything merged until a push succeeds.

Merging is CPU work without I/O, so the flush task does it, with checkpoints. The delivery task only pushes. A failed
push loses nothing: the next snapshot contains everything that the last one did. Even with nothing new, the task pushes
every ``refresh`` seconds and at the end, because the back-end may have lost its state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from types import GeneratorType
from typing import Any, cast

import trio

from .._concurrency import Turn, in_steps
from .._events import Batch
from .._ledger import Ledger, PendingBatch, SinkCounters
from .._series import Listing
from ..abc import Payload, Receipt, SeriesSink
from .base import Delivery
from .receipts import describe

__all__ = ["SeriesDelivery"]


class SeriesDelivery(Delivery):
    """One series sink's merging and delivery task."""

    def __init__(
        self,
        sink: SeriesSink[Any],
        counters: SinkCounters,
        ledger: Ledger,
        *,
        run_id: str,
        report: Callable[[], object],
    ) -> None:
        """Create the delivery of one series sink; :meth:`run` is its task.

        Args:
            sink: the sink.
            counters: its counters.
            ledger: settles the events.
            run_id: the prefix of payload keys.
            report: called when a push has failed or events were given up.
        """
        super().__init__(sink, counters, ledger, run_id=run_id, report=report)
        self._sink = sink
        self._store = None if sink.scraped else sink.snapshot_store
        self._groups = None if self._store is None else self._store.track_groups()
        counters.by_group = self._groups is not None
        self._listing = Listing()
        """The series in the snapshot of the last attempt; empty unless the sink's pushes may reject series."""
        self._has_merged = False
        """Whether anything was ever merged."""
        self._shutting_down = False
        self._final_push_begun = False
        """Whether an attempt with everything merged so far has begun while the block is being left."""
        self.overflowed: Mapping[str, int] = {}
        """How many events lost their labels to ``max_series``, by instrument. Each hand-over replaces the mapping."""

    async def merge(self, batch: PendingBatch, chunks: Sequence[Batch], count: int, turn: Turn) -> None:
        """Merge the events of a batch.

        Args:
            batch: the batch.
            chunks: its valid events, at most 500 per chunk.
            count: the total number of these events.
            turn: the flush task's turn.
        """
        self._ledger.received(self.counters, count)
        refused: dict[int, str] = {}
        groups: list[int] = []
        start = 0
        for chunk in chunks:
            if start and turn.over:
                await turn.yield_to_others()
            try:
                found = self._sink.merge(chunk)
                if found is not None:
                    refused |= _offset_positions(found, start, len(chunk))
                if self._groups is not None:
                    of_last_merge = self._groups.of_last_merge  # shorter if events went past the store: in group 0
                    groups += of_last_merge if len(of_last_merge) == len(chunk) else [0] * len(chunk)
            except Exception as exc:  # noqa: BLE001 - the sink's own failure: its events count as failed
                self._ledger.merge_failed(self.counters, batch, count)
                self._attempts.note_error(f"merge: {describe(exc)}")
                return
            start += len(chunk)
        if len(refused) < count:
            self._has_merged, self._final_push_begun = True, False
        if self._sink.scraped:
            self._ledger.scraped(self.counters, batch, count, refused.keys())
        else:
            self._ledger.merged(self.counters, batch, count, refused.keys(), groups)
        if refused:
            reason = next(iter(refused.values()))
            self._attempts.note_error(f"{len(refused)} of {count} events refused: {reason}")

    def wake(self) -> None:
        """Wake the task to push the events that were merged and handed over."""
        self._work_arrived.set()
        try:
            overflowed = dict(self._sink.overflowed)
        except Exception as exc:  # noqa: BLE001 - the sink's own failure: noted in last_error; its events are merged
            self._attempts.note_error(f"overflowed: {describe(exc)}")
            return
        if len(overflowed) > len(self.overflowed):
            self._report()
        self.overflowed = overflowed

    def begin_shutdown(self) -> None:
        """Cut backoffs short and push once more, because the block is being left."""
        self._shutting_down = True
        super().begin_shutdown()

    async def _wait_for_work(self) -> bool:
        refresh = math.inf if self._sink.refresh is None else self._sink.refresh
        due = trio.current_time() + refresh
        while not (self.counters.unpushed or self.counters.in_snapshot):
            if self._no_more_work:
                return self._has_merged and not self._final_push_begun and not self._sink.scraped
            self._work_arrived = trio.Event()
            with trio.move_on_at(due if self._has_merged and not self._sink.scraped else math.inf) as waiting:
                await self._work_arrived.wait()
            self._attempts.just_resumed = True
            if waiting.cancelled_caught:
                return True
        return True

    async def _deliver(self) -> None:
        """Push until a push succeeds. As the block is being left, one attempt is enough if nothing is pending."""
        while True:
            self._final_push_begun = self._shutting_down
            receipt = await self._attempt()
            if receipt.rejected:
                self._listing.leave_out(receipt.rejected)
                reason = next(iter(receipt.rejected.values()))
                self._attempts.note_error(f"{len(receipt.rejected)} series refused: {reason}")
            match receipt.rest:
                case "delivered":
                    self._attempts.note_error(receipt.error)
                    self._ledger.pushed(self.counters, self._refused_groups(receipt))
                    self._attempts.succeeded()
                    return
                case "failed":
                    self._attempts.note_error(receipt.error or "the push was refused")
                    self._ledger.push_failed(self.counters, "refused")
                    await self._attempts.pause(None, math.inf)
                    return
                case "split":
                    self._sink.points_per_part = max(1, self._sink.points_per_part // 2)
                case "retry":
                    pass
            self._attempts.note_error(receipt.error or "the push was refused")
            if self._final_push_begun and not (self.counters.unpushed or self.counters.in_snapshot):
                return
            await self._attempts.pause(receipt.retry_after, math.inf)
            self.counters.retries += 1

    def _refused_groups(self, receipt: Receipt) -> frozenset[int]:
        """Return the groups of events that a push didn't deliver, although it succeeded."""
        refused = self._listing.refused(receipt.rejected)
        return self._groups.containing_any(refused) if refused and self._groups is not None else frozenset()

    async def _attempt(self) -> Receipt:
        key = f"{self._run_id}-{self.counters.name}-{self.counters.snapshots}"
        self._ledger.begin_push(self.counters)
        try:
            parts = await self._snapshot()
        except Exception as exc:  # noqa: BLE001 - the sink's own failure, handled like a failure of send
            await trio.lowlevel.checkpoint()
            return Receipt.retried(error=f"snapshot: {describe(exc)}")
        return await self._attempts.attempt(Payload(Batch([]), parts, key), len(self._listing))

    async def _snapshot(self) -> tuple[Any, ...]:
        """Return the parts of a snapshot. The run loop gets a turn between two of them after a millisecond.

        Events may be merged then; they count with the next push, whether or not this one has them already.

        Raises:
            Exception: of any kind, from the sink.
        """
        snapshot = self._sink.snapshot()
        steps = cast("Iterator[Any]", snapshot) if isinstance(snapshot, GeneratorType) else iter((snapshot,))
        parts = [*islice(steps, 1)]
        if self._store is not None:
            self._listing = self._store.listing  # at once, as anybody may call points() during the next steps
        return (*parts, *await in_steps(steps))


def _offset_positions(refused: Any, start: int, size: int) -> dict[int, str]:
    """Return the events that a sink refused to merge: their positions in the whole batch, with the reasons.

    Raises:
        Exception: of any kind, if the sink's return value is invalid.
    """
    found = {at: str(reason) for at, reason in refused.items()}
    if not all(type(at) is int and 0 <= at < size for at in found):
        raise ValueError(f"merge() names events outside the {size} it was given")
    return {start + at: reason for at, reason in found.items()}
