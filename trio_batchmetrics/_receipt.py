"""The outcome of an attempt, as a sink reports it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, Self

import attrs

from ._exceptions import bad_setting
from ._reprs import tolerant_repr

__all__ = ["Receipt"]

_OUTCOMES = ("delivered", "retry", "split", "failed")


@tolerant_repr
@attrs.frozen(kw_only=True)
class Receipt:
    """The outcome of an attempt: the refused events, and one outcome for the others.

    ``Receipt()`` means the same as None: delivered. Events are identified by their position in ``payload.events``.

    * ``Receipt(rejected={3: "bad"})``: event 3 is permanently refused, the others are delivered.
    * ``Receipt.retried(error="503")``: nothing is delivered; try everything again.
    * ``Receipt.retried(20, error="429")``: the same, and the back-end asked for 20 seconds.
    * ``Receipt.retried(retry=[1, 4], rejected={3: "bad"})``: try 1 and 4 again; 3 is refused, the others are delivered.
    * ``Receipt.split(error="413")``: halve the payload and try the halves. An event that is alone is permanently
      refused. After 64 requests, the rest is set aside: it resumes after a backoff, while later events are delivered.
    * ``Receipt.split(rejected={3: "bad"})``: 3 is refused; halve the others and try again. If only one other event is
      left, it is sent again alone.
    * ``Receipt.failed("401")``: nothing is delivered and a retry is useless.
    * ``Receipt(error="2 of 7 points were dropped")``: delivered, and the error is shown as ``last_error``.

    For a series sink's push, ``rejected`` names series, by their position in the snapshot
    (``SeriesSink.snapshot_store``). ``"retry"`` pushes a fresh snapshot, ``"split"`` does so in smaller parts, and
    ``"failed"`` fails the events that the snapshot contained and goes on with those merged since.

    Raises:
        ConfigError: (a ``ValueError``) the fields contradict each other.
    """

    rejected: Mapping[int, str] = attrs.field(factory=dict[int, str])
    """The permanently refused events (of a series sink, series): position to reason."""
    rest: Literal["delivered", "retry", "split", "failed"] = "delivered"
    """The outcome of the others. ``"split"``: halve them and try again, because the payload is too large or one event
    spoils the others. ``"failed"``: nothing arrived, and a retry is useless."""
    retry: Collection[int] | None = None
    """With ``rest="retry"``: the positions of the events to retry, all others being delivered. None: all others."""
    retry_after: float | None = None
    """With ``rest="retry"``: the seconds to wait before the retry, at most 300 and within the retry budget. None, 0 or
    less: the usual backoff."""
    error: str | None = None
    """The error, for ``last_error``; never a credential."""
    in_doubt: bool = False
    """With ``rest="retry"`` or ``rest="split"``: whether the events to be tried again may already have arrived, as when
    a response was lost. If they are refused later, they count as failed, not as rejected: only *failed* says that they
    may be there."""

    def __attrs_post_init__(self) -> None:
        if self.rest not in _OUTCOMES:
            raise bad_setting("rest", f"one of {', '.join(_OUTCOMES)}", self.rest)
        if self.rest != "retry":
            for name, value in (("retry", self.retry), ("retry_after", self.retry_after)):
                if value is not None:
                    raise bad_setting(name, f"None if rest is {self.rest!r}", value)
            if self.in_doubt and self.rest != "split":
                raise bad_setting("in_doubt", f"False if rest is {self.rest!r}", self.in_doubt)
        if not isinstance(self.retry, Collection):  # None; or a mistake, which the delivery task reports
            return
        if self.rejected and (both := [*{*self.retry}.intersection(self.rejected)]):
            raise bad_setting("retry", "positions that are not in rejected", both)

    @classmethod
    def retried(
        cls,
        after: float | None = None,
        *,
        error: str | None = None,
        retry: Collection[int] | None = None,
        rejected: Mapping[int, str] | None = None,
        in_doubt: bool = False,
    ) -> Self:
        """Return a receipt that asks for a retry.

        Args:
            after: the seconds that the back-end asked for; None, 0 or less: the usual backoff.
            error: the error, for ``last_error``.
            retry: the positions of the events to retry, all others being delivered; None: all that aren't rejected.
            rejected: the permanently refused events: position to reason.
            in_doubt: whether the events to retry may already have arrived.

        Raises:
            ConfigError: (a ``ValueError``) a position is in both ``retry`` and ``rejected``.
        """
        return cls(
            rejected=_given(rejected), rest="retry", retry=retry, retry_after=after, error=error, in_doubt=in_doubt
        )

    @classmethod
    def split(
        cls, *, rejected: Mapping[int, str] | None = None, error: str | None = None, in_doubt: bool = False
    ) -> Self:
        """Return a receipt that asks for smaller payloads.

        Args:
            rejected: the permanently refused events: position to reason.
            error: the error, for ``last_error``.
            in_doubt: whether the other events may already have arrived.
        """
        return cls(rejected=_given(rejected), rest="split", error=error, in_doubt=in_doubt)

    @classmethod
    def failed(cls, error: str) -> Self:
        """Return a receipt for events that did not arrive, where a retry is useless.

        Args:
            error: the error, for ``last_error``.
        """
        return cls(rest="failed", error=error)


def _given(rejected: Mapping[int, str] | None) -> Mapping[int, str]:
    return {} if rejected is None else rejected
