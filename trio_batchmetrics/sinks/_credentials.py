"""Who we are to a server, and how to keep that out of what people read."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

from .._exceptions import ConfigError

__all__ = ["Credentials", "parsed_url"]

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""What no header may have (RFC 9110 §5.5), a line end above all: it comes along where a token is read from a file."""

_PLAIN = frozenset({"user-agent", "accept-encoding", "content-type", "accept"})
"""Headers that hold no secret."""

_SHORTEST = 4
"""Characters of the shortest text that is looked for: to replace what is shorter would leave nothing readable."""


class Credentials:
    """The headers and the authentication of every request, and a way to take them out of any text."""

    def __init__(self, auth: Any, headers: Mapping[str, str]) -> None:
        """Take what the user gave.

        Args:
            auth: ``(user, password)``, a bearer token, an ``httpx2.Auth``, or None.
            headers: over the usual ones, whatever their case.

        Raises:
            ConfigError: something is no text, or has a control character; the message does not show it.
        """
        self.headers: dict[str, str] = {}
        """By names in lower case."""
        self.auth: Any = auth
        """For httpx2; None where a header says it all."""
        if isinstance(auth, str):
            _check("auth", auth)
            self.headers["authorization"] = f"Bearer {auth}"
            self.auth = None
        elif isinstance(auth, tuple):
            user, password = _pair(auth)
            self.auth = (user, password)
        for name, value in headers.items():
            _check(f"headers[{name!r}]", value)
            self.headers[name.lower()] = value
        self._secrets = sorted({*self._spellings()}, key=len, reverse=True)

    def _secret_texts(self) -> Iterator[str]:
        if isinstance(self.auth, tuple):
            user, password = _pair(self.auth)  # pyright: ignore[reportUnknownMemberType]
            yield password or user
            yield b64encode(f"{user}:{password}".encode()).decode()
        for name, value in self.headers.items():
            if name not in _PLAIN:
                yield from (value, value.partition(" ")[2])

    def _spellings(self) -> Iterator[str]:
        """Yield each secret as it may be repeated: as it is, escaped for Python, JSON or a URL."""
        for secret in self._secret_texts():
            for text in (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], quote(secret, ""), quote_plus(secret)):
                if len(text) >= _SHORTEST:
                    yield text

    def scrubbed(self, words: str) -> str:
        """Return words without a secret in them. To be done before they are cut: half a secret is one too."""
        for secret in self._secrets:
            words = words.replace(secret, "…")
        return words


def _check(name: str, value: object) -> None:
    if not isinstance(value, str) or _CONTROL.search(value):
        raise ConfigError(f"{name} must be a str without a line end or another control character")


def _pair(auth: Any) -> tuple[str, str]:
    if len(auth) != 2 or not all(isinstance(part, str) for part in auth):
        raise ConfigError("auth must be (user, password), a bearer token or an httpx2.Auth")
    user, password = auth
    return user, password


def parsed_url(url: str, auth: Any) -> tuple[str, str, Any]:
    """Return a base URL without credentials and last slash, its host and port, and the credentials.

    Args:
        url: as the user gave it.
        auth: given beside it.

    Raises:
        ConfigError: it can be no base URL; the message does not show it.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except (ValueError, AttributeError, TypeError):
        raise ConfigError("url must be an http or https URL (got one that cannot be read)") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError("url must be an http or https URL with a host")
    if parts.query or parts.fragment:
        raise ConfigError("url must be a base URL, without a query or a fragment")
    if parts.username is not None:
        if auth is not None:
            raise ConfigError("url and auth= both have credentials")
        auth = (unquote(parts.username), unquote(parts.password or ""))
    shown = f"[{host}]" if ":" in host else host
    shown = shown if port is None else f"{shown}:{port}"
    return f"{parts.scheme}://{shown}{parts.path.rstrip('/')}", shown, auth
