"""Reading an answer's body: decoded, bounded, and never more important than the status.

A body is read as far as that can be done. Where it cannot, the answer says why, and its status counts all the same:
that a server has taken a payload does not depend on how it says so.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import attrs
import trio

__all__ = ["MAX_BYTES", "Body", "read_body"]

MAX_BYTES = 4_000_000
"""Most bytes of a body, decoded: one to 5000 events, each of them refused in 500 bytes, has 3 MB."""

_PIECE = 64_000
"""Bytes that are decoded between two checkpoints: 0.2 ms (measured, gzip)."""

_CHUNKS = 64
"""Pieces that are read between two checkpoints; httpx2 makes none where they have arrived already."""

_ENCODINGS = frozenset({"gzip", "x-gzip", "deflate"})
"""Those that are decoded (RFC 9110 §8.4.1). None is asked for; some servers and proxies use one all the same."""

_ANY = 32 + zlib.MAX_WBITS
"""``wbits`` that make zlib read gzip and zlib alike (zlib.net/manual.html, inflateInit2)."""


_GZIP = b"\x1f"
"""What a member of gzip's begins with (RFC 1952 §2.3.1)."""


@attrs.frozen
class Body:
    """What there is of a body."""

    content: bytes
    """As far as it was read, decoded."""
    unread: str | None = None
    """Why that is not all of it."""
    too_long: bool = False
    """Whether that is because it is too long."""


async def read_body(response: Any) -> Body:
    """Read an answer's body. Takes at most half of the time that the attempt has left. Checkpoints as it must.

    Args:
        response: an ``httpx2.Response`` whose stream is open.
    """
    if response.is_stream_consumed:  # a transport that has read it already
        return _bounded([response.content])
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity", *_ENCODINGS):
        return Body(b"", f"a body in the encoding {encoding[:20]!r}")
    chunks: list[bytes] = []
    reader = _Reader(chunks, _Inflate() if encoding in _ENCODINGS else None)
    now = trio.current_time()
    left = max(trio.current_effective_deadline() - now, 0)
    with trio.move_on_at(now + left / 2 if math.isfinite(left) else math.inf) as scope:
        try:
            await reader.read(response)
        except Exception as exc:  # noqa: BLE001 - the status has come, and counts; what is missing of the body is reported
            return Body(b"".join(chunks), f"a body that could not be read: {type(exc).__name__}")
    if scope.cancelled_caught:
        return Body(b"".join(chunks), "a body that did not end in time")
    return _bounded(chunks)


def _bounded(chunks: list[bytes]) -> Body:
    content = b"".join(chunks)
    if len(content) > MAX_BYTES:
        return Body(content[:MAX_BYTES], f"a body of more than {MAX_BYTES} bytes", too_long=True)
    return Body(content)


class _Reader:
    """Reads a body's chunks, until there are too many."""

    def __init__(self, chunks: list[bytes], inflate: _Inflate | None) -> None:
        self._chunks = chunks
        self._inflate = inflate

    async def read(self, response: Any) -> None:
        """Read on to the end, or to the first byte too many: the connection is closed then, not drained."""
        size = since = 0
        async with aclosing(response.aiter_raw()) as raw:
            async for chunk in raw:
                for piece in (chunk,) if self._inflate is None else self._inflate.pieces(chunk):
                    self._chunks.append(piece)
                    size += len(piece)
                    since += 1
                    if size > MAX_BYTES:
                        return
                    if self._inflate is not None or since % _CHUNKS == 0:
                        await trio.lowlevel.checkpoint()
        if self._inflate is not None and not self._inflate.complete:
            raise EOFError("the compressed body is cut short")


class _Inflate:
    """Decodes gzip (of any number of members) and deflate, a piece at a time, whatever it grows to."""

    def __init__(self) -> None:
        self._stream: Any = None

    @property
    def complete(self) -> bool:
        """Whether it ended where it should; nothing at all is complete as well."""
        return self._stream is None or self._stream.eof

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Yield what data decodes to, at most 64 kB each.

        Raises:
            zlib.error: it is not what its encoding says.
        """
        while data:
            if self._stream is None or self._stream.eof:
                # Some servers send deflate without zlib's header: its first byte tells (RFC 1950 §2.2).
                raw = data[:1] != _GZIP and data[0] & 0x0F != zlib.DEFLATED
                self._stream = zlib.decompressobj(-zlib.MAX_WBITS if raw else _ANY)
            piece = self._stream.decompress(data, _PIECE)
            if piece:
                yield piece
            data = self._stream.unconsumed_tail
            if self._stream.eof and self._stream.unused_data[:1] == _GZIP:  # another member; else it is padding
                data = self._stream.unused_data
