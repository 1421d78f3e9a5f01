"""One attempt at a time, and the pause between two: what both kinds of delivery share."""

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
"""Longest pause that a server may ask for, in seconds: the default retry budget."""

_LOG_INTERVAL = 60.0
"""Seconds in which no second outage of less than that is logged: a back-end may come and go with every payload."""


class Attempts:
    """Makes attempts on a sink, each within its time, and pauses after failures.

    The pause doubles with each failure, with full jitter, and is carried over from one payload to the next: a back-end
    that is down is asked rarely. Closing cuts a pause short and starts again at the shortest.
    """

    def __init__(
        self, sink: EventSink[Any] | SeriesSink[Any], counters: SinkCounters, report: Callable[[], object]
    ) -> None:
        """Make attempts on this sink.

        Args:
            sink: an event sink or series sink.
            counters: where retries and errors are noted.
            report: called when an attempt has failed.
        """
        self.sink: EventSink[Any] | SeriesSink[Any] = sink
        self._counters = counters
        self._report = report
        self.just_resumed: bool = True
        """Whether the task has just begun, or waited for something to send: the run loop has had its turn."""
        self.began: float = -math.inf
        """When the latest attempt began, by Trio's clock."""
        self._failures = 0
        self._shutdown = trio.Event()
        self._down_since: float | None = None
        """When the first attempt began that failed since the last one that succeeded, by Trio's clock."""
        self._logged = -math.inf
        """When the end of an outage was last logged."""
        self._random = random.Random()
        self._pid = os.getpid()

    def begin_shutdown(self) -> None:
        """The block is being left: no time for long pauses, neither the one under way nor the next."""
        self._failures = 0
        self._shutdown.set()

    async def attempt(self, payload: Payload[Any]) -> Receipt:
        """Make one attempt; a checkpoint before it unless the task has just resumed, none after the sink has returned.

        Returns:
            The sink's answer. What took too long, raised, or makes no sense is an answer that asks for a retry.
        """
        if self.just_resumed:
            self.just_resumed = False
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()
        if os.getpid() != self._pid:
            await trio.sleep_forever()  # it is the parent's to send
        self.began = began = trio.current_time()
        last_error = self._counters.last_error
        receipt: Receipt | None = None
        try:
            with trio.move_on_after(self.sink.timeout):
                try:
                    returned = await self.sink.send(payload)
                except (Exception, trio.Cancelled) as exc:  # noqa: ASYNC103 - the sink's own failure: noted, retried
                    returned = _failure(exc)
                    if returned is None:
                        raise
                except BaseExceptionGroup as group:
                    # Cut by a deadline, a sink with a nursery may raise Cancelled together with errors of its own. Only
                    # the former may go on, and only if the rest is nothing that must leave the block.
                    raise self.only_cancelled(group) from None
                receipt = DELIVERED if returned is None else normalized_receipt(returned, len(payload.events))
        except (trio.Cancelled, BaseExceptionGroup) as exc:
            silent = self._counters.last_error is last_error  # else it is what the sink said itself
            if silent and _only_cancelled(exc) and not self.in_child:
                cut_off = f"cut off at the end of the block, after {_spent(trio.current_time() - began)}"
                # In an outage the attempts before tell more about it.
                self.note(cut_off if self._down_since is None else f"{last_error}; then {cut_off}")
            raise
        if receipt is None:
            receipt = Receipt(retry=True, uncertain=True, error=f"no answer within {self.sink.timeout:g} s")
        if receipt.retry is True and self._down_since is None:
            self._down_since = began
        return receipt

    def only_cancelled(self, group: BaseExceptionGroup[BaseException]) -> BaseException:
        """Return a group's Cancelled, and note what else is in it; the whole group if that must leave the block."""
        cancelled, rest = group.split(trio.Cancelled)
        if cancelled is None or not isinstance(rest, Exception):
            return group
        self.note(describe(rest))
        return cancelled

    @property
    def in_child(self) -> bool:
        """Whether this is a forked child, which must leave its parent's back-ends alone."""
        return os.getpid() != self._pid

    def note(self, error: str | None) -> None:
        """Keep an error for ``last_error``."""
        if error is not None:
            self._counters.last_error = describe(error)
            self._report()

    def succeeded(self, *, delivered: bool = True) -> None:
        """The back-end is well: the next failure starts at the shortest pause.

        Args:
            delivered: whether it took anything.
        """
        self._failures = 0
        if delivered:
            self._counters.last_success = datetime.now(UTC)
        if self._down_since is not None:
            self._report_outage(self._down_since)
            self._down_since = None

    def _report_outage(self, since: float) -> None:
        now = trio.current_time()
        if max(now - since, now - self._logged) >= _LOG_INTERVAL:
            self._logged = now
            inform("metrics: %s responds again after an outage of %s", self._counters.name, _spent(now - since))

    @property
    def failing(self) -> bool:
        """Whether the back-end has taken nothing since the last failure."""
        return self._failures > 0

    def backoff(self) -> float:
        """Count a failure; return how many seconds to wait after it, at random up to twice as many as the last time."""
        longest = min(self.sink.max_backoff, self.sink.backoff * 2.0 ** min(self._failures, 64))
        self._failures += 1
        return self._random.uniform(0, longest)

    async def pause(self, asked: float | None, until: float) -> None:
        """Wait before a retry.

        Args:
            asked: seconds the back-end asked for, if any.
            until: by Trio's clock, when to try again at the latest.
        """
        usual = self.backoff()
        pause = min(asked, _RETRY_AFTER_MAX) if asked is not None and asked > 0 else usual
        deadline = min(trio.current_time() + pause, until)
        if self._shutdown.is_set():
            left = trio.current_effective_deadline() - trio.current_time()
            if asked is not None and deadline - trio.current_time() >= left:
                # What the back-end asks for would be the end: it is asked before, if there is time for that.
                deadline = trio.current_time() + max(left / 2, self.sink.backoff)
            await trio.sleep_until(deadline)
            return
        with trio.move_on_at(deadline):
            await self._shutdown.wait()


def _failure(error: BaseException) -> Receipt | None:
    """Return the receipt of an attempt in which the sink has raised; None if the task is cancelled."""
    if isinstance(error, Exception):
        return Receipt(retry=True, error=describe(error))
    if trio.current_effective_deadline() == -math.inf:
        return None
    # It belongs to a scope that the sink has left: the attempt has failed, and nothing here was cancelled.
    return Receipt(retry=True, error="Cancelled, of another scope")


def _only_cancelled(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return group.split(trio.Cancelled)[1] is None
    return isinstance(error, trio.Cancelled)


def _spent(seconds: float) -> str:
    """Return a duration as people read it."""
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.3g} s"
