"""Keeping secrets, paths and queries out of what people read.

A server may repeat the request that it refuses, and an exception may show it. What must not be shown is looked for
where it is: in the settings, in the client that was given, and in the requests as they were sent, so that whatever an
``httpx2.Auth`` put into them is found too.
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
from .unescaping import found, plain

__all__ = ["Scrubber", "client_secrets", "own_secrets", "proxy_secrets", "request_secrets"]

_PLAIN = frozenset(
    {"accept", "accept-encoding", "connection", "host", "transfer-encoding", "user-agent"}
    | {"content-encoding", "content-length", "content-type"}
)
"""Headers that hold no secret."""

_SHORTEST = 4
"""Characters of the shortest text that is looked for: to replace what is shorter would leave nothing readable."""

_PARAMETER = re.compile(r'([\w-]+)="([^"]*)"')
"""A parameter of an ``Authorization`` header (RFC 9110 §11.4)."""

_HELD_MAX = 500
"""Most things that are looked at in those that an ``httpx2.Auth`` holds."""

_PUBLIC = frozenset({"realm", "qop", "algorithm", "nc", "opaque", "charset"})
"""Parameters of digest authentication that the server gave, or that tell nothing (RFC 7616 §3.4)."""


class Scrubber:
    """Takes texts out of words, in every spelling in which they may be repeated."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Know the texts; those of less than four characters are let through."""
        self._texts = sorted({*_spellings(texts)}, key=len, reverse=True)
        self._plain = [found for found in {*map(plain, self._texts)} if len(found) >= _SHORTEST]

    def __call__(self, words: str) -> str:
        """Return words without any of the texts. To be done before they are cut: half a secret is one too."""
        for text in self._texts:
            words = words.replace(text, "…")
        pieces: list[str] = []
        rest = 0
        for start, end in sorted(found(self._plain, words)):
            if start >= rest:
                pieces += words[rest:start], "…"
            rest = max(rest, end)
        return "".join([*pieces, words[rest:]])


def _spellings(texts: Iterable[str]) -> Iterator[str]:
    """Yield each text as it may be repeated: as it is, escaped for Python, JSON or a URL, or the other way round."""
    for text in texts:
        escaped = (repr(text)[1:-1], json.dumps(text)[1:-1], _quoted(text, quote), _quoted(text, quote_plus))
        for spelling in (text, *escaped, unquote(text), unquote_plus(text), " ".join(text.split())):
            if len(spelling) >= _SHORTEST:
                yield spelling


def _quoted(text: str, how: Any) -> str:
    return str(how(text.encode(errors="replace"), safe=""))


def own_secrets(credentials: Credentials) -> Iterator[str]:
    """Yield the secrets in a sink's settings."""
    if credentials.pair is not None:
        yield from _of_pair(*credentials.pair)
    else:
        yield from _of_auth(credentials.auth)
    for name, value in credentials.headers.items():
        yield from _of_header(name, value)


def request_secrets(url: Any, headers: Mapping[str, str]) -> Iterator[str]:
    """Yield the secrets in a request as it was sent, and its path and query.

    Args:
        url: an ``httpx2.URL``.
        headers: by names in lower case.
    """
    for name, value in headers.items():
        yield from _of_header(name, value)
    yield from _of_url(url)
    yield url.raw_path.decode("ascii", "replace")
    yield url.query.decode("ascii", "replace")
    yield url.path


def client_secrets(client: Any) -> Iterator[str]:
    """Yield the secrets in an ``httpx2.AsyncClient``."""
    for name, value in client.headers.items():
        yield from _of_header(name, value)
    yield from _of_auth(client.auth)
    yield from _of_url(client.base_url)
    yield from client.params.values()
    yield from (cookie.value or "" for cookie in client.cookies.jar)
    # httpx2 says nothing in public about a client's proxies.
    transports = [getattr(client, "_transport", None), *getattr(client, "_mounts", {}).values()]
    for transport in transports:
        pool = getattr(transport, "_pool", None)
        for name, value in getattr(pool, "_proxy_headers", None) or ():
            yield from _of_header(name.decode("latin-1").lower(), value.decode("latin-1"))
        pair = getattr(pool, "_proxy_auth", None)
        if pair is not None:
            yield from _of_pair(*(part.decode(errors="replace") for part in pair))


def proxy_secrets(url_class: Any) -> Iterator[str]:
    """Yield the secrets in the environment's proxies.

    Args:
        url_class: ``httpx2.URL``.
    """
    for url in getproxies().values():
        try:
            yield from _of_url(url_class(url if "://" in url else f"http://{url}"))
        except Exception:  # noqa: BLE001, S112 - a proxy that isn't a URL is never used, so nothing of it is sent
            continue


def _of_pair(user: str, password: str) -> Iterator[str]:
    yield password or user
    yield b64encode(f"{user}:{password}".encode(errors="replace")).decode()


def _of_url(url: Any) -> Iterator[str]:
    if url.userinfo:
        yield url.userinfo.decode("ascii", "replace")
        yield from _of_pair(url.username, url.password)


def _of_header(name: str, value: str) -> Iterator[str]:
    if name in _PLAIN:
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
        yield from (crumb.partition("=")[2] for crumb in value.split("; "))
    else:
        yield from (said for key, said in _PARAMETER.findall(value) if key.lower() not in _PUBLIC)


def _of_auth(auth: object) -> Iterator[str]:
    """Yield every text that an ``httpx2.Auth`` holds, also in what it holds: which of them is a secret cannot be told.

    Texts of less than eight characters count only if it holds them itself: those of an object in it may be anything.
    """
    level = [*_held(auth)]
    for least in (0, 8, 8):
        for value in level:
            held = value.decode(errors="replace") if isinstance(value, bytes | bytearray) else value
            if isinstance(held, str) and len(held) >= least:
                yield from _of_header("", held)
        level = [each for value in level for each in _held(value)][:_HELD_MAX]


def _held(value: object) -> Iterable[object]:
    """Return what an object has in it, running no code of its own."""
    if isinstance(value, dict):
        plain: Any = dict  # not the method of its own class
        return [*plain.values(value)]
    if isinstance(value, list | tuple | set | frozenset):
        return [*cast("Iterable[object]", value)]
    if value is None or isinstance(value, str | bytes | bytearray | int | float | type | ModuleType):
        return ()
    slots = [each for kind in type(value).__mro__ for each in kind.__dict__.values() if type(each) is _Slot]
    found: list[object] = [*cast("dict[str, object]", getattr(value, "__dict__", {})).values()]
    for slot in slots:
        with suppress(AttributeError):  # it is empty
            found.append(slot.__get__(value))
    return found
