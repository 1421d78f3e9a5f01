"""Reports every loss in the log: one WARNING at once, then at most one per minute, and one at the end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from threading import get_ident

import trio

from .._concurrency import Waker
from .._events import InvalidEvents
from .ledger import Ledger
from .stats import BatchMetricsStats

__all__ = ["LossReporter", "inform", "warn"]

_LOG_INTERVAL = 60.0
"""The minimum time between two messages of one collector, in seconds."""

_logger = logging.getLogger("trio_batchmetrics")


def warn(message: str, *args: object, error: BaseException | None = None) -> None:
    """Log a WARNING. An ``Exception`` from a log handler doesn't propagate.

    Args:
        message: a format string.
        args: the arguments of the format string.
        error: an exception to log with its traceback.
    """
    try:
        _logger.warning(message, *args, exc_info=error)
    except Exception:  # noqa: BLE001, S110 - broken logging must not break the application; the loss is counted
        pass


def inform(message: str, *args: object) -> None:
    """Log at INFO. An ``Exception`` from a log handler doesn't propagate.

    Args:
        message: a format string.
        args: the arguments of the format string.
    """
    try:
        _logger.info(message, *args)
    except Exception:  # noqa: BLE001, S110 - broken logging must not break the application; nothing was lost
        pass


class LossReporter:
    """Logs the losses of one collector, at most once per minute."""

    def __init__(
        self,
        ledger: Ledger,
        waker: Waker,
        invalid: InvalidEvents,
        overflowing: Callable[[], Collection[str]] = tuple,
        first_over_limit: Callable[[], str | None] = lambda: None,
    ) -> None:
        """Create a reporter; :meth:`run` is its task.

        Args:
            ledger: counts the losses.
            waker: wakes the reporter's task.
            invalid: records why events are invalid.
            overflowing: returns the names of the instruments that have more label sets than ``max_series``.
            first_over_limit: returns the first name of a bound instrument beyond ``max_instruments``.
        """
        self._ledger = ledger
        self._invalid = invalid
        self._waker = waker
        self._thread = get_ident()
        self.notified: bool = False
        """Whether calling :meth:`notify` again would do nothing."""
        self._get_overflowing = overflowing
        self._overflow_reported: set[str] = set()
        self._first_over_limit = first_over_limit
        self._limit_reported = False
        self._ended = False
        self._signal = trio.Event()
        self._reported = BatchMetricsStats()

    def notify(self) -> None:
        """Note that something was lost or has failed. Callable from anywhere, and called often."""
        if self.notified:
            return
        if not self._ended:
            self._waker(self._wake)
            self.notified = True  # only now: the request fails if the stack is full
        elif self._may_log():
            self.notified = True
            warn("metrics: recorded after the collector's block was left; counted as closed")

    def _may_log(self) -> bool:
        """Return whether logging can't deadlock here: it takes locks, which a recording thread may hold."""
        return get_ident() == self._thread and (trio.lowlevel.in_trio_task() or not trio.lowlevel.in_trio_run())

    def mute(self) -> None:
        """Stop reporting, in a forked child or a disabled collector."""
        self.notified = True

    def _wake(self) -> None:
        self._signal.set()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Report until cancelled."""
        self._waker.woken.add(trio.lowlevel.current_task())
        while True:
            await self._signal.wait()
            self._report()
            await trio.sleep(_LOG_INTERVAL)
            self._signal = trio.Event()
            self.notified = False
            if self._new_losses() or not self._overflow_reported.issuperset(self._get_overflowing()):
                self.notify()

    def _new_losses(self) -> list[str]:
        """Return a description of each loss and error since the last message."""
        now, before = self._ledger.snapshot(None), self._reported
        losses = _increases("dropped", now.dropped, before.dropped)
        for name, sink in now.sinks.items():
            old = before.sinks.get(name)
            losses += _increases(f"{name}: failed", sink.failures, old.failures if old else {})
            if sink.rejected > (old.rejected if old else 0):
                losses.append(f"{name}: rejected {sink.rejected - (old.rejected if old else 0)}")
            if sink.last_error and sink.last_error != (old.last_error if old else None):
                losses.append(f"{name}: {sink.last_error}")
        return losses

    def _report_overflow(self) -> None:
        first_over_limit = self._first_over_limit()
        if first_over_limit is not None and not self._limit_reported:
            self._limit_reported = True
            warn(
                "metrics: %r and further names are more than max_instruments; their updates are dropped",
                first_over_limit[:100],
            )
        for name in self._get_overflowing():
            if name not in self._overflow_reported:
                self._overflow_reported.add(name)
                warn("metrics: %r has more label sets than max_series; the rest share its overflow series", name)

    def _report(self) -> None:
        self._report_overflow()
        self._invalid.log()
        if losses := self._new_losses():
            self._reported = self._ledger.snapshot(None)
            warn("metrics: %s", "; ".join(losses))

    def report_at_the_end(self) -> None:
        """Log all losses in one line, if there are any. Called at the end."""
        self._ended, self.notified = True, False
        self._report_overflow()
        self._invalid.log()
        stats = self._ledger.snapshot(None)
        if stats.dropped_events + stats.failed_events:
            warn(
                "metrics: lost %d of %d events: %s",
                stats.dropped_events + stats.failed_events,
                stats.total_events,
                stats,
            )


def _increases(what: str, now: Mapping[str, int], before: Mapping[str, int]) -> list[str]:
    increases = {reason: count - before.get(reason, 0) for reason, count in now.items()}
    return [f"{what} {count} ({reason})" for reason, count in increases.items() if count > 0]
