"""Responses, and their meaning for a payload.

===============================================  =========================================
2xx                                              delivered, whatever its body is
no response, 408, 425, 429, 5xx                  retried, after ``Retry-After`` if given
413                                              halved; an event that is too large alone is rejected
any other                                        given up, with the server's text in the error
===============================================  =========================================

Redirects with 307 and 308 within one origin have already been followed. For any other redirect, the error names the
origin that it points to: a redirected POST would arrive as a GET, or take its credentials elsewhere.
"""

from __future__ import annotations

import math
import time
from collections.abc import Container, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Protocol

import attrs

from ..abc import Receipt

__all__ = ["NoResponseError", "Response", "excerpt", "push_receipt_from", "receipt_from", "retry_after"]

_EXCERPT_MAX_CHARS = 300
"""Maximum number of characters of a server's response in an error."""

_EXCERPT_BYTES = 20_000
"""Number of bytes at the start of a response from which the excerpt is taken."""

_RETRYABLE = frozenset({408, 425, 429, *range(500, 1000)})
"""Statuses after which the same request may succeed (RFC 9110 §15.5.9 and §15.6, RFC 8470 §5.2, RFC 6585 §4)."""

_HALVED = frozenset({413})
"""Statuses after which a smaller request may succeed (RFC 9110 §15.5.14)."""

_NOT_PROCESSED = frozenset({425, 429, 503})
"""Statuses that say that the request was not carried out; after 408, 500, 502 or 504 it may have been."""


@attrs.frozen
class Response:
    """A server's response."""

    status: int
    headers: Mapping[str, str]
    """By name, in any case."""
    body: bytes
    """The decoded body, as far as it was read."""
    incomplete_reason: str | None = None
    """Why the body is incomplete; None if it is complete."""
    too_long: bool = False
    """Whether it is incomplete because it is too long."""
    redirect_origin: str | None = None
    """The origin that a redirect points to."""

    @property
    def words(self) -> str:
        """The start of the body as one line, still to be scrubbed and then cut.

        The NULs of UTF-16 are removed: they would hide a secret from the scrubber but not from a reader.
        """
        return " ".join(self.body[:_EXCERPT_BYTES].replace(b"\0", b"").decode(errors="replace").split())


class NoResponseError(Exception):
    """The server did not respond; the payload is in doubt unless ``in_doubt`` is False."""

    def __init__(self, error: str, *, in_doubt: bool = True) -> None:
        """Create the exception.

        Args:
            error: the reason, without credentials.
            in_doubt: whether anything may have been sent.
        """
        super().__init__(error)
        self.in_doubt: bool = in_doubt

    @property
    def receipt(self) -> Receipt:
        """The receipt for the payload."""
        return Receipt.retried(error=str(self), in_doubt=self.in_doubt)


class Scrubbing(Protocol):
    """An object that removes credentials from text."""

    def scrubbed(self, words: str) -> str:
        """Return the text without credentials."""
        ...


def excerpt(text: str, endpoint: Scrubbing) -> str:
    """Return the start of a server's text as one line, without credentials."""
    return endpoint.scrubbed(" ".join(text.split()))[:_EXCERPT_MAX_CHARS]


def receipt_from(
    response: Response,
    endpoint: Scrubbing,
    *,
    retryable: Container[int] = _RETRYABLE,
    halved: Container[int] = _HALVED,
) -> Receipt:
    """Return the receipt that a response means for the whole payload.

    Args:
        response: the server's response.
        endpoint: removes credentials from the server's text.
        retryable: the statuses after which the payload is sent again.
        halved: the statuses after which its halves are sent.
    """
    status = response.status
    if 200 <= status < 300:
        return Receipt()
    status_text = f"HTTP {status}"
    if response.redirect_origin is not None:
        scheme, mark, host = response.redirect_origin.partition("://")
        status_text = f"{status_text} to {scheme}{mark}{endpoint.scrubbed(host)}"  # the host is the server's text, too
    words = excerpt(response.words, endpoint)
    error = f"{status_text}: {words}" if words else status_text
    if status in halved:
        return Receipt.split(error=error)
    if status in retryable:
        pause = retry_after(response.headers.get("retry-after"))
        return Receipt.retried(pause, error=error, in_doubt=status not in _NOT_PROCESSED)
    return Receipt.failed(error)


def push_receipt_from(response: Response, endpoint: Scrubbing) -> Receipt:
    """Return the receipt that a response means for a push of cumulative series.

    Like :func:`receipt_from`, but a push that the server refuses for good is repeated: the next one has everything.
    """
    receipt = receipt_from(response, endpoint)
    return Receipt.retried(error=receipt.error) if receipt.rest == "failed" else receipt


def retry_after(header: str | None) -> float | None:
    """Return the number of seconds that ``Retry-After`` asks for, as a number or a date (RFC 9110 §10.2.3).

    None if there is no such header, or it makes no sense. A date in the past gives 0 or less. A date without a zone, as
    C's ``asctime`` writes it, and one with ``-0000`` are in UTC (RFC 9110 §5.6.7). The delivery engine caps pauses that
    are too long.
    """
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            date = parsedate_to_datetime(header)
            seconds = (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return seconds if math.isfinite(seconds) else None
