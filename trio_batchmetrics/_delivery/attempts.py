"""Makes single attempts and the pauses between them, for both kinds of delivery."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import trio

from .._ledger import SinkCounters, inform
from ..abc import EventSink, Payload, Receipt, SeriesSink
from .receipts import DELIVERED, describe, normalized_receipt

__all__ = ["Attempts"]

_RETRY_AFTER_MAX = 300.0
"""The longest pause that a server may request, in seconds: the default retry budget."""

_LOG_INTERVAL = 60.0
"""The period, in seconds, in which at most one shorter outage is logged: a back-end may fail with every payload."""


class Attempts:
    """Makes attempts on a sink, each within its timeout, and pauses after failures.

    The pause doubles with each failure, with full jitter, and carries over from one payload to the next, so that a
    back-end that is down gets few requests. Leaving the block cuts a pause short and restarts the backoff.
    """

    def __init__(
        self, sink: EventSink[Any] | SeriesSink[Any], counters: SinkCounters, report: Callable[[], object]
    ) -> None:
        """Set up the attempts on one sink, with the backoff at its shortest.

        Args:
            sink: an event sink or series sink.
            counters: the sink's counters, which get the last error and the last success.
            report: called when an attempt has failed.
        """
        self.sink: EventSink[Any] | SeriesSink[Any] = sink
        self._counters = counters
        self._report = report
        self.just_resumed: bool = True
        """Whether the task has just started or waited for work, so that no further checkpoint is needed."""
        self.began: float = -math.inf
        """When the latest attempt began, by Trio's clock."""
        self._failures = 0
        self._shutdown = trio.Event()
        self._down_since: float | None = None
        """When the first failed attempt since the last success began, by Trio's clock."""
        self._outage_logged_at = -math.inf
        """When the end of an outage was last logged."""
        self._random = random.Random()
        self._pid = os.getpid()

    def begin_shutdown(self) -> None:
        """End the current pause and restart the backoff: there is no time for long pauses once the block is left."""
        self._failures = 0
        self._shutdown.set()

    async def attempt(self, payload: Payload[Any], items: int | None = None) -> Receipt:
        """Make one attempt.

        It is preceded by a checkpoint unless the task has just resumed. No checkpoint follows the sink's return.

        Args:
            payload: the data to send.
            items: how many events or series a receipt may name; None: as many as the payload has events.

        Returns:
            The sink's receipt. If the attempt timed out or raised, or the receipt is invalid: one that asks for a
            retry.
        """
        if self.just_resumed:
            self.just_resumed = False
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()
        if os.getpid() != self._pid:
            await trio.sleep_forever()  # a forked child: only the parent may send
        self.began = began = trio.current_time()
        last_error = self._counters.last_error
        receipt: Receipt | None = None
        try:
            with trio.move_on_after(self.sink.timeout):
                try:
                    returned = await self.sink.send(payload)
                except (Exception, trio.Cancelled) as exc:  # noqa: ASYNC103 - the sink's own failure: noted and retried
                    returned = _failure(exc)
                    if returned is None:
                        raise
                except BaseExceptionGroup as group:
                    # When a deadline cuts off a sink with a nursery, the sink may raise Cancelled together with its own
                    # errors. Only the Cancelled may propagate, unless the rest contains something that must leave the
                    # block.
                    raise self.only_cancelled(group) from None
                receipt = (
                    DELIVERED
                    if returned is None
                    else normalized_receipt(returned, len(payload.events) if items is None else items)
                )
        except (trio.Cancelled, BaseExceptionGroup) as exc:
            silent = self._counters.last_error is last_error  # otherwise, the sink's own error has been noted
            if silent and _only_cancelled(exc) and not self.in_child:
                cut_off = f"cut off at the end of the block, after {_duration_text(trio.current_time() - began)}"
                # In an outage, the error of the earlier attempts says more, so it is kept.
                self.note_error(cut_off if self._down_since is None else f"{last_error}; then {cut_off}")
            raise
        if receipt is None:
            receipt = Receipt.retried(error=f"no answer within {self.sink.timeout:g} s", in_doubt=True)
        if receipt.rest == "retry" and receipt.retry is None and self._down_since is None:
            self._down_since = began
        return receipt

    def only_cancelled(self, group: BaseExceptionGroup[BaseException]) -> BaseException:
        """Return the group's Cancelled and note its other errors. If these must leave the block, return the group."""
        cancelled, rest = group.split(trio.Cancelled)
        if cancelled is None or not isinstance(rest, Exception):
            return group
        self.note_error(describe(rest))
        return cancelled

    @property
    def in_child(self) -> bool:
        """Whether this is a forked child, which must not use its parent's connections."""
        return os.getpid() != self._pid

    def note_error(self, error: str | None) -> None:
        """Keep an error as ``last_error`` and report it. None is ignored."""
        if error is not None:
            self._counters.last_error = describe(error)
            self._report()

    def succeeded(self, *, delivered: bool = True) -> None:
        """Note that the back-end responds: the backoff restarts, and an outage has ended.

        Args:
            delivered: whether it accepted any events.
        """
        self._failures = 0
        if delivered:
            self._counters.last_success = datetime.now(UTC)
        if self._down_since is not None:
            self._report_outage(self._down_since)
            self._down_since = None

    def _report_outage(self, since: float) -> None:
        now = trio.current_time()
        if max(now - since, now - self._outage_logged_at) >= _LOG_INTERVAL:
            self._outage_logged_at = now
            inform("metrics: %s responds again after an outage of %s", self._counters.name, _duration_text(now - since))

    @property
    def failing(self) -> bool:
        """Whether the back-end has accepted nothing since the last failure."""
        return self._failures > 0

    def backoff(self) -> float:
        """Count a failure; return the pause after it, in seconds: random, up to twice the previous maximum."""
        longest = min(self.sink.max_backoff, self.sink.backoff * 2.0 ** min(self._failures, 64))
        self._failures += 1
        return self._random.uniform(0, longest)

    async def pause(self, requested: float | None, until: float) -> None:
        """Wait before a retry.

        Args:
            requested: the pause that the back-end requested, in seconds, if any.
            until: the latest time for the retry, by Trio's clock.
        """
        backoff = self.backoff()
        pause = min(requested, _RETRY_AFTER_MAX) if requested is not None and requested > 0 else backoff
        deadline = min(trio.current_time() + pause, until)
        if self._shutdown.is_set():
            left = trio.current_effective_deadline() - trio.current_time()
            if requested is not None and deadline - trio.current_time() >= left:
                # The requested pause would outlast the block. Retry earlier, if there is time.
                deadline = trio.current_time() + max(left / 2, self.sink.backoff)
            await trio.sleep_until(deadline)
            return
        with trio.move_on_at(deadline):
            await self._shutdown.wait()


def _failure(error: BaseException) -> Receipt | None:
    """Return the receipt of an attempt in which the sink raised; None if the task is cancelled."""
    if isinstance(error, Exception):
        return Receipt.retried(error=describe(error))
    if trio.current_effective_deadline() == -math.inf:
        return None
    # The Cancelled comes from a scope that the sink has left: the attempt has failed, but nothing here is cancelled.
    return Receipt.retried(error="Cancelled leaked from a scope that had been left")


def _only_cancelled(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return group.split(trio.Cancelled)[1] is None
    return isinstance(error, trio.Cancelled)


def _duration_text(seconds: float) -> str:
    """Return a duration in human-readable form."""
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.3g} s"
