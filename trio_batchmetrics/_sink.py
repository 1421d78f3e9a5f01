"""The base of both kinds of sink."""

from __future__ import annotations

from datetime import timedelta

from ._series import SinkContext
from ._sink_settings import checked_seconds

__all__ = ["Sink"]


class Sink:
    """The base of both kinds of sink: a name, timeouts and backoff. Don't subclass it directly."""

    name: str | None = None
    """The sink's key in ``stats().sinks``; None: derived from the class's name."""
    timeout: float = 30.0
    """The maximum duration of an attempt, in seconds."""
    retry_budget: float = 300.0
    """How long after a payload's first attempt retries may begin, in seconds. A push of cumulative series has no such
    limit."""
    backoff: float = 0.5
    """The maximum pause before the first retry, in seconds; doubled with each failure until an attempt succeeds, with
    full jitter."""
    max_backoff: float = 30.0
    """The maximum pause before any retry, in seconds."""
    context: SinkContext = SinkContext()
    """The collector's settings and declarations; set by :meth:`bind`."""

    def __init__(
        self,
        *,
        name: str | None = None,
        timeout: float | timedelta = 30.0,
        retry_budget: float | timedelta = 300.0,
        backoff: float | timedelta = 0.5,
        max_backoff: float | timedelta = 30.0,
    ) -> None:
        """Configure the sink's delivery. A subclass that doesn't call this keeps the defaults.

        Args:
            name: the sink's key in ``stats().sinks``.
            timeout: the maximum duration of an attempt, in seconds or as a ``timedelta``.
            retry_budget: how long after a payload's first attempt retries may begin, likewise.
            backoff: the maximum pause before the first retry, likewise.
            max_backoff: the maximum pause before any retry, likewise.

        Raises:
            ConfigError: (a ``ValueError``) a duration isn't finite and above 0.
        """
        self.name = name
        self.timeout = checked_seconds("timeout", timeout)
        self.retry_budget = checked_seconds("retry_budget", retry_budget)
        self.backoff = checked_seconds("backoff", backoff)
        self.max_backoff = checked_seconds("max_backoff", max_backoff)

    def bind(self, context: SinkContext) -> None:
        """Receive the opening collector's context. Synchronous, no I/O; ``async with`` raises its exceptions."""
        self.context = context

    async def aclose(self) -> None:
        """Release the sink's resources. Called once, after the last attempt.

        It may be called in a cancelled scope, like Trio's own ``aclose``: then release them without waiting.
        """
