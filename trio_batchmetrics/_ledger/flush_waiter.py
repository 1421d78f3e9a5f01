"""A flush that waits for batches to settle."""

from __future__ import annotations

from collections.abc import Callable

from .stats import FlushReport

__all__ = ["FlushWaiter"]


class FlushWaiter:
    """A flush that waits until all batches up to a number have settled."""

    def __init__(self, notify: Callable[[], object], through: int, target: int, base: list[int]) -> None:
        """Create a waiter for the batches up to a number.

        Args:
            notify: called once all of them have settled.
            through: the number of the last batch to wait for.
            target: how many events the batches up to that number contain.
            base: how many of these events had settled when the flush was called, by outcome.
        """
        self.through: int = through
        self.target: int = target
        self._base = base
        self._notify = notify
        self._report: FlushReport | None = None

    @property
    def finished(self) -> bool:
        """Whether all these batches have settled."""
        return self._report is not None

    def finish(self, settled: list[int]) -> None:
        """Fix the report, if it isn't fixed yet, and notify the flush.

        Args:
            settled: how many events of the batches up to ``through`` have settled, by outcome.
        """
        self._report = self.report(settled)
        self._notify()

    def report(self, settled: list[int]) -> FlushReport:
        """Return the outcomes of the events that were pending when the flush was called."""
        if self._report is not None:
            return self._report
        processed, spooled, failed, dropped = [now - before for now, before in zip(settled, self._base, strict=True)]
        pending = self.target - sum(settled)
        return FlushReport(processed=processed, spooled=spooled, failed=failed, dropped=dropped, pending=pending)
