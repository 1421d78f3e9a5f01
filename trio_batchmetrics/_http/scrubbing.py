"""Removing secrets, paths and queries from text that people read.

A server may repeat the request that it refuses, and an exception may show it. The scrubber collects the secrets from
the settings, from the application's client and from the requests as they were sent. So it also finds whatever an
``httpx2.Auth`` put into them.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from types import MemberDescriptorType as _Slot
from types import ModuleType
from typing import Any, cast
from urllib.parse import quote, quote_plus, unquote, unquote_plus
from urllib.request import getproxies

from .credentials import Credentials
from .unescaping import find_secrets, normalized

__all__ = ["Scrubber", "client_secrets", "proxy_secrets", "request_secrets", "settings_secrets"]

_SAFE_HEADERS = frozenset(
    {"accept", "accept-encoding", "connection", "host", "transfer-encoding", "user-agent"}
    | {"content-encoding", "content-length", "content-type"}
)
"""Headers that hold no secret."""

_MIN_CHARS = 4
"""Minimum number of characters that are searched for: replacing shorter text would leave nothing readable."""

_PARAMETER = re.compile(r'([\w-]+)="([^"]*)"')
"""A parameter of an ``Authorization`` header (RFC 9110 §11.4)."""

_MAX_OBJECTS = 500
"""Maximum number of objects examined per level inside an ``httpx2.Auth``."""

_SAFE_PARAMETERS = frozenset({"realm", "qop", "algorithm", "nc", "opaque", "charset"})
"""Digest authentication parameters that come from the server or reveal nothing (RFC 7616 §3.4)."""


class Scrubber:
    """Removes secrets from text, in every spelling in which it may repeat them."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Create a scrubber for these secrets; those with fewer than four characters are ignored."""
        self._texts = sorted({*_spellings(texts)}, key=len, reverse=True)
        self._normalized = [text for text in {*map(normalized, self._texts)} if len(text) >= _MIN_CHARS]

    def __call__(self, words: str) -> str:
        """Return text without any of the secrets. Do this before cutting the text: half a secret is a secret, too."""
        for text in self._texts:
            words = words.replace(text, "…")
        pieces: list[str] = []
        rest = 0
        for start, end in sorted(find_secrets(self._normalized, words)):
            if start >= rest:
                pieces += words[rest:start], "…"
            rest = max(rest, end)
        return "".join([*pieces, words[rest:]])


def _spellings(texts: Iterable[str]) -> Iterator[str]:
    """Yield each secret as a text may repeat it: unchanged, escaped for Python, JSON or a URL, and unescaped."""
    for text in texts:
        escaped = (repr(text)[1:-1], json.dumps(text)[1:-1], _quoted(text, quote), _quoted(text, quote_plus))
        for spelling in (text, *escaped, unquote(text), unquote_plus(text), " ".join(text.split())):
            if len(spelling) >= _MIN_CHARS:
                yield spelling


def _quoted(text: str, quote_function: Any) -> str:
    return str(quote_function(text.encode(errors="replace"), safe=""))


def settings_secrets(credentials: Credentials) -> Iterator[str]:
    """Yield the secrets in a sink's settings."""
    if credentials.user_password is not None:
        yield from _pair_secrets(*credentials.user_password)
    else:
        yield from _auth_secrets(credentials.auth)
    for name, value in credentials.headers.items():
        yield from _header_secrets(name, value)


def request_secrets(url: Any, headers: Mapping[str, str]) -> Iterator[str]:
    """Yield the secrets in a request as it was sent, and its path and query.

    Args:
        url: an ``httpx2.URL``.
        headers: by lower-case name.
    """
    for name, value in headers.items():
        yield from _header_secrets(name, value)
    yield from _url_secrets(url)
    yield url.raw_path.decode("ascii", "replace")
    yield url.query.decode("ascii", "replace")
    yield url.path


def client_secrets(client: Any) -> Iterator[str]:
    """Yield the secrets in an ``httpx2.AsyncClient``."""
    for name, value in client.headers.items():
        yield from _header_secrets(name, value)
    yield from _auth_secrets(client.auth)
    yield from _url_secrets(client.base_url)
    yield from client.params.values()
    yield from (cookie.value or "" for cookie in client.cookies.jar)
    # httpx2 has no public interface to a client's proxies.
    transports = [getattr(client, "_transport", None), *getattr(client, "_mounts", {}).values()]
    for transport in transports:
        pool = getattr(transport, "_pool", None)
        for name, value in getattr(pool, "_proxy_headers", None) or ():
            yield from _header_secrets(name.decode("latin-1").lower(), value.decode("latin-1"))
        pair = getattr(pool, "_proxy_auth", None)
        if pair is not None:
            yield from _pair_secrets(*(part.decode(errors="replace") for part in pair))


def proxy_secrets(url_class: Any) -> Iterator[str]:
    """Yield the secrets in the environment's proxies.

    Args:
        url_class: ``httpx2.URL``.
    """
    for url in getproxies().values():
        try:
            yield from _url_secrets(url_class(url if "://" in url else f"http://{url}"))
        except Exception:  # noqa: BLE001, S112 - a proxy that isn't a URL is never used, so nothing of it is sent
            continue


def _pair_secrets(user: str, password: str) -> Iterator[str]:
    yield password or user
    yield b64encode(f"{user}:{password}".encode(errors="replace")).decode()


def _url_secrets(url: Any) -> Iterator[str]:
    if url.userinfo:
        yield url.userinfo.decode("ascii", "replace")
        yield from _pair_secrets(url.username, url.password)


def _header_secrets(name: str, value: str) -> Iterator[str]:
    if name in _SAFE_HEADERS:
        return
    scheme, _, rest = value.partition(" ")
    yield value
    yield rest
    if scheme.lower() == "basic":
        try:
            user, _, password = b64decode(rest).decode().partition(":")
        except ValueError:
            return
        yield password or user
    elif name == "cookie":
        yield from (cookie.partition("=")[2] for cookie in value.split("; "))
    else:
        yield from (secret for key, secret in _PARAMETER.findall(value) if key.lower() not in _SAFE_PARAMETERS)


def _auth_secrets(auth: object) -> Iterator[str]:
    """Yield every text that an ``httpx2.Auth`` holds, directly or in objects inside it: any of them may be a secret.

    Texts with fewer than eight characters count only if it holds them directly: those inside an object may be anything.
    """
    level = [*_contained_objects(auth)]
    for min_chars in (0, 8, 8):
        for value in level:
            text = value.decode(errors="replace") if isinstance(value, bytes | bytearray) else value
            if isinstance(text, str) and len(text) >= min_chars:
                yield from _header_secrets("", text)
        level = [each for value in level for each in _contained_objects(value)][:_MAX_OBJECTS]


def _contained_objects(value: object) -> Iterable[object]:
    """Return the objects that an object holds, without running any of its code."""
    if isinstance(value, dict):
        plain: Any = dict  # not the method of the object's own class
        return [*plain.values(value)]
    if isinstance(value, list | tuple | set | frozenset):
        return [*cast("Iterable[object]", value)]
    if value is None or isinstance(value, str | bytes | bytearray | int | float | type | ModuleType):
        return ()
    slots = [each for kind in type(value).__mro__ for each in kind.__dict__.values() if type(each) is _Slot]
    found: list[object] = [*cast("dict[str, object]", getattr(value, "__dict__", {})).values()]
    for slot in slots:
        with suppress(AttributeError):  # the slot is empty
            found.append(slot.__get__(value))
    return found
