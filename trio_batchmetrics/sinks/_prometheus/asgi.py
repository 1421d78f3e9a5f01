"""Serves a Prometheus page: chooses the format that a scraper asks for, and provides an ASGI application."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import trio

__all__ = ["MetricsApp", "wants_gzip", "wants_openmetrics"]

_COMPRESS_MIN_BYTES = 1_000
"""Minimum size of a page to compress: a smaller one fits into one packet anyway."""

_THREAD_MIN_BYTES = 20_000
"""Minimum size for which a worker thread costs less than blocking the event loop (zlib at level 1, measured)."""

_EXCERPT_BYTES = 4_000
"""Number of characters of a header that are read: Prometheus' longest has 500, and parsing time is proportional."""

# Messages are dictionaries. They are typed as `Any`, because each server has its own types for them.
_Receive = Callable[[], Awaitable[Any]]
_Send = Callable[[Any], Awaitable[None]]


def wants_openmetrics(accept: str | None) -> bool:
    """Return whether an ``Accept`` header asks for OpenMetrics 1.0 by name, with at least plain text's quality."""
    openmetrics = plain = 0.0
    best = -1
    for kind, quality, parameters in _preferences(accept or ""):
        version = parameters.get("version")
        if kind == "application/openmetrics-text" and version in (None, "1.0.0"):
            openmetrics = max(openmetrics, quality)
        specific = ("*/*", "text/*", "text/plain").index(kind) if kind in ("*/*", "text/*", "text/plain") else -1
        if specific > best or (specific == best >= 0 and quality > plain):
            plain, best = quality, specific
    return 0.0 < openmetrics >= plain


def wants_gzip(accept_encoding: str | None) -> bool:
    """Return whether an ``Accept-Encoding`` header allows gzip, with at least the quality of no compression."""
    qualities = {coding: quality for coding, quality, _ in _preferences(accept_encoding or "")}
    gzip = qualities.get("gzip", qualities.get("x-gzip", qualities.get("*", 0.0)))
    return 0.0 < gzip >= qualities.get("identity", 0.0)


def _preferences(header: str) -> Iterator[tuple[str, float, dict[str, str]]]:
    """Yield each item of a header with its quality (RFC 9110, 12.4.2); skip items that cannot be parsed.

    Everything beyond the first few thousand characters is skipped too: no legitimate client sends that much.
    """
    if len(header) > _EXCERPT_BYTES:
        header = header[:_EXCERPT_BYTES].rpartition(",")[0]
    for item in header.lower().split(","):
        name, *rest = (part.strip() for part in item.split(";"))
        parameters = {key.strip(): value.strip(' "') for key, _, value in (part.partition("=") for part in rest)}
        try:
            quality = float(parameters.pop("q", "1"))
        except ValueError:
            continue
        if 0.0 <= quality <= 1.0:
            yield name, quality, parameters


class MetricsApp:
    """An ASGI 3 application that answers every path with the page."""

    def __init__(self, page: Callable[[str | None], Awaitable[tuple[bytes, str]]]) -> None:
        """Create an application that serves pages.

        Args:
            page: returns the page and its content type for an ``Accept`` header.
        """
        self._page = page

    async def __call__(self, scope: Mapping[str, Any], receive: _Receive, send: _Send) -> None:
        """Serve one ASGI scope.

        Raises:
            NotImplementedError: the scope isn't ``http``, ``lifespan`` or ``websocket``; ASGI requires this.
        """
        if scope["type"] == "http":
            await self._respond_with_page(scope, send)
        elif scope["type"] == "lifespan":
            await _serve_lifespan(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})  # before accepting it: the client gets a 403
        else:
            raise NotImplementedError(f"ASGI scope {scope['type']!r}")

    async def _respond_with_page(self, scope: Mapping[str, Any], send: _Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            await _respond(send, 405, b"GET or HEAD, please\n", {"allow": "GET, HEAD", "content-type": "text/plain"})
            return
        body, content_type = await self._page(_header(scope, b"accept"))
        headers = {"content-type": content_type, "vary": "Accept, Accept-Encoding"}
        if len(body) > _COMPRESS_MIN_BYTES and wants_gzip(_header(scope, b"accept-encoding")):
            headers["content-encoding"] = "gzip"
            if len(body) > _THREAD_MIN_BYTES and trio.lowlevel.in_trio_run():
                body = await trio.to_thread.run_sync(_gzip, body, abandon_on_cancel=True)
            else:
                body = _gzip(body)
        await _respond(send, 200, body, headers, without_body=scope["method"] == "HEAD")


async def _serve_lifespan(receive: _Receive, send: _Send) -> None:
    """Confirm startup and shutdown."""
    event = ""
    while event != "lifespan.shutdown":
        event = (await receive())["type"]
        await send({"type": f"{event}.complete"})


async def _respond(
    send: _Send, status: int, body: bytes, headers: Mapping[str, str], *, without_body: bool = False
) -> None:
    pairs = [(name.encode(), value.encode()) for name, value in {**headers, "content-length": str(len(body))}.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": b"" if without_body else body})


def _header(scope: Mapping[str, Any], wanted: bytes) -> str | None:
    values = [value.decode("latin-1") for name, value in scope.get("headers", ()) if name.lower() == wanted]
    return ",".join(values) if values else None


def _gzip(body: bytes) -> bytes:
    compressor = zlib.compressobj(1, zlib.DEFLATED, 31)
    return compressor.compress(body) + compressor.flush()
