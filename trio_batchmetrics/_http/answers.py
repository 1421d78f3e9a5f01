"""Answers, and what they mean for a payload.

===============================================  =========================================
2xx                                              delivered, whatever its body is
no answer, 408, 425, 429, 5xx                    tried again, after ``Retry-After`` if given
413                                              halved; an event that is too large alone is rejected
any other                                        given up, with the server's words
===============================================  =========================================

307 and 308 within one origin have been followed before this is asked. For any other redirect the error says which
origin it points to: a POST that is redirected arrives as a GET, or takes its credentials elsewhere.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Protocol

import attrs

from ..abc import Receipt

__all__ = ["Answer", "NoAnswer", "receipt_of", "retry_after"]

_WORDS = 300
"""Most characters of a server's answer in an error."""

_LOOKED_AT = 20_000
"""Bytes of an answer in which its words are looked for."""

_RETRYABLE = frozenset({408, 425, 429})
"""Statuses below 500 after which the same request may succeed (RFC 9110 §15.5.9, RFC 8470 §5.2, RFC 6585 §4)."""

_NOT_TAKEN = frozenset({425, 429, 503})
"""Those that say that the request was not carried out; after 408, 500, 502 or 504 it may have been."""


@attrs.frozen
class Answer:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    """By name; any case will do."""
    body: bytes
    """As far as it was read, decoded."""
    unread: str | None = None
    """Why that is not all of it."""
    too_long: bool = False
    """Whether that is because it is too long."""
    points_to: str | None = None
    """The origin that a redirect points to."""

    @property
    def words(self) -> str:
        """The body as one line, as far as it is worth looking at: to be scrubbed, and then cut.

        Without the NULs of UTF-16, between which nothing would be found that people still read.
        """
        return " ".join(self.body[:_LOOKED_AT].replace(b"\0", b"").decode(errors="replace").split())


class NoAnswer(Exception):  # noqa: N818 - it is none: whether the request arrived is unknown
    """The server did not answer; what was sent may have arrived, unless ``uncertain`` is False."""

    def __init__(self, error: str, *, uncertain: bool = True) -> None:
        """Say why.

        Args:
            error: in words, without a credential.
            uncertain: whether anything may have been sent.
        """
        super().__init__(error)
        self.uncertain: bool = uncertain

    @property
    def receipt(self) -> Receipt:
        """What that means for the payload."""
        return Receipt(retry=True, uncertain=self.uncertain, error=str(self))


class Scrubbing(Protocol):
    """Whatever takes credentials out of words."""

    def scrubbed(self, words: str) -> str:
        """Return words without a credential."""
        ...


def receipt_of(answer: Answer, endpoint: Scrubbing) -> Receipt:
    """Say what an answer means for the whole payload.

    Args:
        answer: the server's.
        endpoint: takes credentials out of the server's words.
    """
    status = answer.status
    if 200 <= status < 300:
        return Receipt()
    what = f"HTTP {status}"
    if answer.points_to is not None:
        scheme, mark, host = answer.points_to.partition("://")
        what = f"{what} to {scheme}{mark}{endpoint.scrubbed(host)}"  # the server's words, too
    words = endpoint.scrubbed(answer.words)[:_WORDS]
    error = f"{what}: {words}" if words else what
    if status == 413:
        return Receipt(too_large=True, error=error)
    if status in _RETRYABLE or status >= 500:
        pause = retry_after(answer.headers.get("retry-after"))
        return Receipt(retry=True, retry_after=pause, error=error, uncertain=status not in _NOT_TAKEN)
    return Receipt(error=error)


def retry_after(header: str | None) -> float | None:
    """Return the seconds that ``Retry-After`` asks for, given as a number or a date (RFC 9110 §10.2.3).

    None where there is no such header, or it makes no sense. A date in the past is 0 or less. A date without a zone, as
    C's ``asctime`` writes it, and one with ``-0000`` are UTC (RFC 9110 §5.6.7). The delivery engine caps what is too
    long.
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
