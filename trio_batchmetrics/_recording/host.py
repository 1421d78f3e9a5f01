"""What recorders and instruments need of their collector."""

from __future__ import annotations

from collections.abc import Callable

import trio

from .._buffer import Buffer
from .._concurrency import Waker
from .._events import InvalidError, InvalidEvents
from .._ledger import LossReporter

__all__ = ["Host"]


class Host:
    """Refuses bad values, wakes tasks and tells the time, for the instruments of one collector."""

    def __init__(
        self,
        buffer: Buffer,
        waker: Waker,
        reporter: LossReporter,
        invalid: InvalidEvents,
        clock: trio.abc.Clock,
        *,
        enabled: bool,
    ) -> None:
        """Serve the instruments of one collector.

        Args:
            buffer: where their points go, and which counts refused updates.
            waker: makes calls that touch Trio.
            reporter: reports losses.
            invalid: notes why updates are invalid.
            clock: the Trio run's.
            enabled: whether the collector is.
        """
        self._buffer = buffer
        self._reporter = reporter
        self._invalid = invalid
        self._enabled = enabled
        self.wake: Callable[[Callable[[], object]], None] = waker
        """Makes a call that touches Trio, as soon as that is safe."""
        self.now: Callable[[], float] = clock.current_time
        """Returns the time by the clock of the collector's Trio run, also after it."""

    @property
    def state(self) -> str:
        """``open``, ``closed`` (updates count as closed) or ``disabled`` (they do nothing)."""
        if not self._enabled:
            return "disabled"
        return "closed" if self._buffer.closed else "open"

    def refuse(self, reason: str, fault: InvalidError | None = None) -> None:
        """Count an event or update that is refused, from any thread; as ``closed`` after the block.

        Args:
            reason: why it is refused.
            fault: what makes it invalid, to be logged.
        """
        if fault is not None and self.state == "open":
            self._invalid.note(fault)
        self._buffer.refuse("closed" if self._buffer.closed else reason)

    def report(self) -> None:
        """Have the reporter look, soon: something happened that the log should say. Nothing is logged in the call."""
        self._reporter.notify()
