"""The interface from recorders and instruments back to their collector."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy

import trio

from .._buffer import Buffer
from .._concurrency import Waker
from .._events import ClassNumbers, InvalidError, InvalidEvents
from .._ledger import LossReporter

__all__ = ["Host"]


class Host:
    """Refuses invalid values, wakes tasks and provides the time, for the instruments of one collector."""

    def __init__(
        self,
        buffer: Buffer,
        waker: Waker,
        reporter: LossReporter,
        invalid: InvalidEvents,
        clock: trio.abc.Clock,
        classes: ClassNumbers,
        *,
        enabled: bool,
    ) -> None:
        """Create the host for the instruments of one collector.

        Args:
            buffer: receives their points and counts refused updates.
            waker: makes calls that touch Trio.
            reporter: reports losses.
            invalid: records why updates are invalid.
            clock: the Trio run's clock.
            classes: the event classes, by their numbers in rows.
            enabled: whether the collector is enabled.
        """
        self._buffer = buffer
        self._reporter = reporter
        self._invalid = invalid
        self._enabled = enabled
        self.classes: ClassNumbers = classes
        """The event classes, by their numbers in rows."""
        self._dropping: str | None = None
        """The reason for which every update is refused; None: valid ones aren't."""
        self.wake: Callable[[Callable[[], object]], None] = waker
        """Makes a call that touches Trio, as soon as it is safe."""
        self.now: Callable[[], float] = clock.current_time
        """Returns the time by the clock of the collector's Trio run, even after that run."""

    @property
    def state(self) -> str:
        """``open``, ``closed`` (updates count as closed) or ``disabled`` (they do nothing)."""
        if not self._enabled:
            return "disabled"
        return "closed" if self._buffer.closed or self._dropping is not None else "open"

    def dropping(self, reason: str) -> Host:
        """Return a host for instruments of which every update is refused for this reason, while the block is open."""
        host = copy(self)
        host._dropping = reason
        return host

    def refuse(self, reason: str, fault: InvalidError | None = None) -> None:
        """Count a refused event or update, from any thread; after the block it counts as ``closed``.

        Args:
            reason: the reason for the refusal.
            fault: the fault that makes it invalid, for the log.
        """
        if fault is not None and self.state == "open":
            self._invalid.note(fault)
        self._buffer.refuse("closed" if self._buffer.closed else self._dropping or reason)

    def report(self) -> None:
        """Wake the reporter: something happened that belongs in the log. This call itself logs nothing."""
        self._reporter.notify()
