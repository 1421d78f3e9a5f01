"""Reading a response's body: decoded, bounded, and never more important than the status.

If a body cannot be decoded, or is too long, the response says so, and its status still counts: whether a server has
taken a payload does not depend on the body. Only a message that breaks off isn't a response (RFC 9112 §8).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import attrs
import trio

__all__ = ["MAX_BYTES", "Body", "read_body"]

MAX_BYTES = 4_000_000
"""Maximum size of a decoded body: a response that refuses 5000 events with 500 bytes each has 3 MB."""

_PIECE_BYTES = 64_000
"""Number of bytes decoded between two checkpoints: 0.2 ms (measured, gzip)."""

_CHUNKS_PER_CHECKPOINT = 64
"""Number of chunks read between two checkpoints; httpx2 makes none if the chunks have arrived already."""

_ENCODINGS = frozenset({"gzip", "x-gzip", "deflate"})
"""Supported encodings (RFC 9110 §8.4.1). Requests ask for none, but some servers and proxies use one anyway."""

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
"""``wbits`` that make zlib read both gzip and zlib (zlib.net/manual.html, inflateInit2)."""


_GZIP = b"\x1f"
"""The first byte of a gzip member (RFC 1952 §2.3.1)."""


@attrs.frozen
class Body:
    """A body, as far as it could be read."""

    content: bytes
    """The decoded bytes."""
    incomplete_reason: str | None = None
    """Why the body is incomplete; None if it is complete."""
    too_long: bool = False
    """Whether it is incomplete because it is too long."""


async def read_body(response: Any) -> Body:
    """Read a response's body. A checkpoint whenever it has to wait.

    Args:
        response: an ``httpx2.Response`` whose stream is open.

    Raises:
        Exception: of any kind: the message broke off.
    """
    if response.is_stream_consumed:  # the transport has already read it
        return _bounded(response.content)
    content = await _read_raw(response)
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity") or not content:
        return _bounded(content)
    if encoding not in _ENCODINGS:
        return Body(b"", f"a body in the encoding {encoding[:20]!r}")
    return await _decode(content, encoding)


def _bounded(content: bytes) -> Body:
    if len(content) > MAX_BYTES:
        return Body(content[:MAX_BYTES], f"a body of more than {MAX_BYTES} bytes", too_long=True)
    return Body(content)


async def _read_raw(response: Any) -> bytes:
    """Return a body as it was sent, up to and including the chunk that makes it too long.

    httpx2's generators have to run to their ends, or Trio warns about unfinished ones. So a cancellation ends the
    reading of a body that is too long: it arrives where the generators wait, and the checkpoints here are shielded.
    """
    chunks: list[bytes] = []
    size = count = 0
    with trio.CancelScope() as scope:
        async for chunk in response.aiter_raw():
            count += 1
            if size <= MAX_BYTES:
                chunks.append(chunk)
                size += len(chunk)
            if size > MAX_BYTES:
                scope.cancel()
            if count % _CHUNKS_PER_CHECKPOINT == 0:
                await trio.lowlevel.cancel_shielded_checkpoint()
    return b"".join(chunks)


async def _decode(content: bytes, encoding: str) -> Body:
    inflate = _Inflate()
    pieces: list[bytes] = []
    size = 0
    try:
        for piece in inflate.pieces(content):
            pieces.append(piece)
            size += len(piece)
            if size > MAX_BYTES:
                break
            await trio.lowlevel.checkpoint()
    except zlib.error:
        return Body(b"".join(pieces), f"a body that is not {encoding}")
    if size <= MAX_BYTES and not inflate.complete:
        return Body(b"".join(pieces), f"an incomplete {encoding} body")
    return _bounded(b"".join(pieces))


class _Inflate:
    """Decodes gzip (with any number of members) and deflate in small pieces, whatever the total size."""

    def __init__(self) -> None:
        self._stream: Any = None

    @property
    def complete(self) -> bool:
        """Whether the data ended where it should; no data at all is complete, too."""
        return self._stream is None or self._stream.eof

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Yield the decoded data, in pieces of at most 64 kB; an empty member gives an empty piece.

        Raises:
            zlib.error: the data isn't in this encoding.
        """
        while data:
            if self._stream is None or self._stream.eof:
                # Some servers send deflate without zlib's header; the first byte distinguishes them (RFC 1950 §2.2).
                raw = data[:1] != _GZIP and data[0] & 0x0F != zlib.DEFLATED
                self._stream = zlib.decompressobj(-zlib.MAX_WBITS if raw else _GZIP_OR_ZLIB)
            piece = self._stream.decompress(data, _PIECE_BYTES)
            yield piece
            data = self._stream.unconsumed_tail
            if self._stream.eof and self._stream.unused_data[:1] == _GZIP:  # another member; anything else is padding
                data = self._stream.unused_data
