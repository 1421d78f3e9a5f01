"""Loss is never silent: one WARNING at once, then at most one a minute, and one at the end."""

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

_QUIET = 60.0
"""Seconds between two messages of one collector."""

_logger = logging.getLogger("trio_batchmetrics")


def warn(message: str, *args: object, error: BaseException | None = None) -> None:
    """Log a WARNING; what a handler raises stays here.

    Args:
        message: a format.
        args: for the format.
        error: logged with its traceback.
    """
    try:
        _logger.warning(message, *args, exc_info=error)
    except Exception:  # noqa: BLE001, S110 - logging that is broken must not break the application; the loss is counted
        pass


def inform(message: str, *args: object) -> None:
    """Log at INFO; what a handler raises stays here.

    Args:
        message: a format.
        args: for the format.
    """
    try:
        _logger.info(message, *args)
    except Exception:  # noqa: BLE001, S110 - logging that is broken must not break the application; nothing was lost
        pass


class LossReporter:
    """Says what was lost, once in a while."""

    def __init__(self, ledger: Ledger, waker: Waker, invalid: InvalidEvents) -> None:
        """Report from this ledger, and why events are invalid."""
        self._ledger = ledger
        self._invalid = invalid
        self._waker = waker
        self._thread = get_ident()
        self.noticed: bool = False
        """Whether calling :meth:`trouble` again would do nothing."""
        self.overflowing: Callable[[], Collection[str]] = tuple
        """Returns the instruments that have more label sets than ``max_series``."""
        self._overflowing: set[str] = set()
        self._ended = False
        self._trouble = trio.Event()
        self._told = BatchMetricsStats()

    def trouble(self) -> None:
        """Something was lost or has failed; called from anywhere, often."""
        if self.noticed:
            return
        if not self._ended:
            self._waker(self._wake)
            self.noticed = True  # not before: asking may fail, where the stack is used up
        elif self._may_log():
            self.noticed = True
            warn("metrics: recorded after the collector's block was left; counted as closed")

    def _may_log(self) -> bool:
        """Return whether to log is to wait for nobody: it takes locks, which a thread that records may hold."""
        return get_ident() == self._thread and (trio.lowlevel.in_trio_task() or not trio.lowlevel.in_trio_run())

    def be_still(self) -> None:
        """Say nothing more, in a forked child."""
        self.noticed = True

    def _wake(self) -> None:
        self._trouble.set()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Report until cancelled."""
        self._waker.fragile.add(trio.lowlevel.current_task())
        while True:
            await self._trouble.wait()
            self._tell()
            await trio.sleep(_QUIET)
            self._trouble = trio.Event()
            self.noticed = False
            if self._news() or not self._overflowing.issuperset(self.overflowing()):
                self.trouble()

    def _news(self) -> list[str]:
        """Return what happened since the last message."""
        now, before = self._ledger.snapshot(None), self._told
        news = _grown("dropped", now.dropped, before.dropped)
        for name, sink in now.sinks.items():
            old = before.sinks.get(name)
            news += _grown(f"{name}: failed", sink.failures, old.failures if old else {})
            if sink.rejected > (old.rejected if old else 0):
                news.append(f"{name}: rejected {sink.rejected - (old.rejected if old else 0)}")
            if sink.last_error and sink.last_error != (old.last_error if old else None):
                news.append(f"{name}: {sink.last_error}")
        return news

    def _tell_overflow(self) -> None:
        for name in self.overflowing():
            if name not in self._overflowing:
                self._overflowing.add(name)
                warn("metrics: %r has more label sets than max_series; the rest share its overflow series", name)

    def _tell(self) -> None:
        self._tell_overflow()
        self._invalid.log()
        if news := self._news():
            self._told = self._ledger.snapshot(None)
            warn("metrics: %s", "; ".join(news))

    def tell_at_the_end(self) -> None:
        """Say in one line what was lost of all that was recorded, if anything was."""
        self._ended, self.noticed = True, False
        self._tell_overflow()
        self._invalid.log()
        stats = self._ledger.snapshot(None)
        if stats.dropped_events + stats.failed_events:
            warn(
                "metrics: lost %d of %d events: %s",
                stats.dropped_events + stats.failed_events,
                stats.total_events,
                stats,
            )


def _grown(what: str, now: Mapping[str, int], before: Mapping[str, int]) -> list[str]:
    grown = {reason: count - before.get(reason, 0) for reason, count in now.items()}
    return [f"{what} {count} ({reason})" for reason, count in grown.items() if count > 0]
