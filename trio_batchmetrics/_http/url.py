"""The base URL of a server."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote, urlsplit

from ..abc import ConfigError

__all__ = ["parsed_url"]

_BLANK = re.compile(r"[\x00-\x20\x7f\s]")
"""Characters that no URL contains (RFC 3986 §2): a space, a line end or another control character."""


def parsed_url(url: str, auth: Any) -> tuple[str, str, Any]:
    """Return a base URL without credentials and final slash, its host and port, and the credentials.

    Args:
        url: the user's URL.
        auth: the separate ``auth=``, if any.

    Raises:
        ConfigError: it cannot be a base URL; the message does not show it.
    """
    if not isinstance(url, str):
        raise ConfigError(f"url must be an http or https URL (got {type(url).__name__})")
    if blank := _BLANK.search(url):
        raise ConfigError(
            f"url must be an http or https URL (got one with a space or control character at {blank.start()})"
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ConfigError("url must be an http or https URL (got one that cannot be read)") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError("url must be an http or https URL with a host")
    if parts.query or parts.fragment:
        raise ConfigError("url must be a base URL, without a query or a fragment")
    if parts.username is not None:
        if auth is not None:
            raise ConfigError("url and auth= both have credentials")
        auth = (unquote(parts.username), unquote(parts.password or ""))
    netloc = f"[{host}]" if ":" in host else host
    netloc = netloc if port is None else f"{netloc}:{port}"
    return f"{parts.scheme}://{netloc}{parts.path.rstrip('/')}", netloc, auth
