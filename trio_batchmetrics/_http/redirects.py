"""Where a redirect points."""

from __future__ import annotations

from typing import Any

import attrs

__all__ = ["MAX_HOPS", "Redirect", "redirect_of"]

MAX_HOPS = 5
"""Maximum number of redirects that a request follows (the advice of RFC 2068 §10.3; more are a loop)."""

_REDIRECTS = range(300, 400)

_METHOD_PRESERVING = frozenset({307, 308})
"""Statuses that keep method and body (RFC 9110 §15.4.8, §15.4.9)."""


@attrs.frozen
class Redirect:
    """The target of a redirect."""

    url: str = attrs.field(repr=False)
    """The whole URL; it must not be shown."""
    origin: str
    """Scheme, host and port."""
    followed: bool
    """Whether to repeat the request there: the status keeps method and body, and the origin, to which the credentials
    belong, is the same."""


def redirect_of(url_class: Any, request_url: str, status: int, location: str | None) -> Redirect | None:
    """Return where a response redirects to; None if it points to no other URL.

    Args:
        url_class: ``httpx2.URL``.
        request_url: the request's URL.
        status: the response's status.
        location: the response's ``Location`` header.
    """
    if status not in _REDIRECTS or location is None:
        return None
    try:
        start = url_class(request_url)
        target = start.join(location).copy_with(username=None, password=None)  # the server's text, not credentials
    except Exception:  # noqa: BLE001 - the server's text, parsed by httpx2: anything it refuses isn't a URL, and points nowhere
        return None
    if target.scheme not in ("http", "https") or not target.host:
        return None
    same = _origin(start) == _origin(target)
    return Redirect(str(target), _origin(target), same and status in _METHOD_PRESERVING)


def _origin(url: Any) -> str:
    """Return scheme, host and port, without the scheme's default port (``netloc`` has no user and password)."""
    return f"{url.scheme}://{url.netloc.decode('ascii', 'replace')}"
