"""Credentials: the headers and the authentication of every request."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import trio

from ..abc import ConfigError
from .responses import NoResponseError

__all__ = ["Credentials"]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A header's name (RFC 9110 §5.1)."""

_VALUE = re.compile(r"(?:[!-~](?:[\t -~]*[!-~])?)?")
"""A header's value (RFC 9110 §5.5): ASCII, without a blank at either end. Above all, this refuses a line end, which
comes along when a token is read from a file."""

_BODY_HEADERS = frozenset({"content-length", "transfer-encoding", "content-encoding"})
"""Headers that describe the sink's own body, so the user may not set them."""

_UNSUPPORTED = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
"""Characters that basic authentication cannot carry (RFC 7617 §2)."""

_TOKEN_MAX_BYTES = 65_536


class Credentials:
    """The headers and the authentication of every request."""

    def __init__(
        self,
        auth: Any,
        headers: Mapping[str, str],
        *,
        token: str | None = None,
        token_file: str | os.PathLike[str] | None = None,
        auth_class: type[Any],
        scheme: str = "Bearer",
    ) -> None:
        """Check the user's settings.

        Args:
            auth: ``(user, password)``, a bearer token, an instance of ``auth_class``, or None.
            headers: they override the usual ones, whatever their case.
            token: sent with the scheme, or None.
            token_file: a file with a token, or None.
            auth_class: ``httpx2.Auth``.
            scheme: the scheme of the token, or of a token in a file that names none.

        Raises:
            ConfigError: a setting is invalid, or no request can carry it; the message names the setting and does not
                show the value.
        """
        self.headers: dict[str, str] = {}
        """By lower-case name."""
        self.auth: Any = None
        """The ``auth`` for httpx2; None if a header carries all of it."""
        self.user_password: tuple[str, str] | None = None
        """User and password for basic authentication."""
        self._scheme = scheme
        self._token_path = None if token_file is None else _checked_file(token_file)
        if token is not None:
            _check("token", token)
            self.headers["authorization"] = f"{scheme} {token}"
        if isinstance(auth, str):
            if not auth:
                raise ConfigError("auth must not be empty")
            _check("auth", auth)
            self.headers["authorization"] = f"Bearer {auth}"
        elif isinstance(auth, tuple):
            self.auth = self.user_password = _checked_pair(auth)
        elif isinstance(auth, auth_class):
            self.auth = auth
        elif auth is not None:
            raise ConfigError(f"auth must be (user, password), a bearer token or an httpx2.Auth (got {_type(auth)})")
        self.headers.update(_checked_headers(headers))
        if self._token_path is not None and (auth is not None or "authorization" in self.headers):
            raise ConfigError("token_file and other credentials are both given")

    def forget_token(self) -> None:
        """Have the token read again before the next request."""
        if self._token_path is not None:
            self.headers.pop("authorization", None)

    async def load_token(self, limiter: trio.CapacityLimiter) -> None:
        """Read the token from its file, unless that was already done. A checkpoint if it reads.

        Raises:
            NoResponseError: the file cannot be read; nothing was sent.
        """
        if self._token_path is None or "authorization" in self.headers:
            return
        self.headers["authorization"] = await self._read(limiter)

    async def reload_token(self, limiter: trio.CapacityLimiter) -> bool:
        """Read the token again and return whether it has changed.

        Raises:
            NoResponseError: the file cannot be read, perhaps because it is just being written. The request with the
                old token was refused, so nothing was taken.
        """
        if self._token_path is None:
            return False
        token = await self._read(limiter)
        if token == self.headers.get("authorization"):
            return False
        self.headers["authorization"] = token
        return True

    async def _read(self, limiter: trio.CapacityLimiter) -> str:
        read = partial(_token_in, self._token_path)
        try:
            token = await trio.to_thread.run_sync(read, abandon_on_cancel=True, limiter=limiter)
        except (OSError, ValueError) as exc:
            raise NoResponseError(f"token_file cannot be read: {_reason(exc)}", in_doubt=False) from None
        return token if " " in token else f"{self._scheme} {token}"


def _token_in(path: Any) -> str:
    """Return the token in a file.

    Raises:
        OSError: the file cannot be read.
        ConfigError: (a ``ValueError``) it contains no valid token.
    """
    with Path(path).open("rb") as file:
        content = file.read(_TOKEN_MAX_BYTES + 1)
    token = content.decode("ascii", "replace").strip()
    if not token or len(content) > _TOKEN_MAX_BYTES or not _VALUE.fullmatch(token):
        raise ConfigError("it must have one line of ASCII characters")
    return token


def _checked_file(path: Any) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise ConfigError(f"token_file must be a path (got {_type(path)})")
    try:
        found = Path(cast("str | os.PathLike[str]", path)).absolute()
        if not stat.S_ISREG(found.stat().st_mode):
            raise ConfigError("it is not a regular file")
        found.open("rb").close()
    except (OSError, ValueError, TypeError) as exc:
        # The path is not shown: if the user has passed the token by mistake, it would be the token.
        raise ConfigError(f"token_file must be a file that can be read ({_reason(exc)})") from None
    return found


def _checked_headers(headers: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(headers, Mapping):
        raise ConfigError(f"headers must be a mapping of names to values (got {_type(headers)})")
    items: dict[Any, Any] = {**headers}
    for name, value in items.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigError(f"headers must have names of ASCII letters, digits and hyphens (got {name!r})")
        if name.lower() in _BODY_HEADERS:
            raise ConfigError(f"headers must not have {name.lower()!r}: it depends on the body")
        _check(f"headers[{name!r}]", value)
        yield name.lower(), value


def _check(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise ConfigError(f"{name} must be a str (got {_type(value)})")
    if not _VALUE.fullmatch(value):
        rule = "ASCII, without a line end or another control character, and without a blank at either end"
        raise ConfigError(f"{name} must be {rule}")


def _checked_pair(auth: Any) -> tuple[str, str]:
    if len(auth) != 2 or not all(isinstance(part, str) for part in auth):
        raise ConfigError("auth must be (user, password), a bearer token or an httpx2.Auth (got another tuple)")
    user, password = auth
    if _UNSUPPORTED.search(user + password):
        raise ConfigError("auth must be without a line end or another control character")
    if ":" in user:
        raise ConfigError("auth must have a user without a colon: basic authentication cannot carry one")
    return user, password


def _reason(error: Exception) -> str:
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)


def _type(value: object) -> str:
    return type(value).__name__
