"""Where a redirect points."""

from __future__ import annotations

from typing import Any

import attrs

__all__ = ["MAX_HOPS", "Redirect", "redirect_of"]

MAX_HOPS = 5
"""Most redirects that a request follows (the advice of RFC 2068 §10.3; more are a loop)."""

_REDIRECTS = range(300, 400)

_KEPT = frozenset({307, 308})
"""Those that keep method and body (RFC 9110 §15.4.8, §15.4.9)."""


@attrs.frozen
class Redirect:
    """Where an answer points."""

    url: str = attrs.field(repr=False)
    """The whole URL; not to be shown."""
    origin: str
    """Scheme, host and port."""
    followed: bool
    """Whether to make the same request there: method and body stay, and so does the origin, to which the credentials
    belong."""


def redirect_of(url_class: Any, asked: str, status: int, location: str | None) -> Redirect | None:
    """Return where an answer points, if it does.

    Args:
        url_class: ``httpx2.URL``.
        asked: the URL of the request.
        status: the answer's.
        location: its header of that name.
    """
    if status not in _REDIRECTS or location is None:
        return None
    try:
        start = url_class(asked)
        target = start.join(location).copy_with(username=None, password=None)  # the server's own words, not credentials
    except Exception:  # noqa: BLE001 - a server's words, to be read by httpx2: what it raises isn't a URL, and points nowhere
        return None
    if target.scheme not in ("http", "https") or not target.host:
        return None
    same = _origin(start) == _origin(target)
    return Redirect(str(target), _origin(target), same and status in _KEPT)


def _origin(url: Any) -> str:
    """Return scheme, host and port, without a port that is the scheme's own (``netloc`` has no user and password)."""
    return f"{url.scheme}://{url.netloc.decode('ascii', 'replace')}"
