"""Reading an answer's body: decoded, bounded, and never more important than the status.

Where a body cannot be decoded, or is too long, the answer says so, and its status counts all the same: that a server
has taken a payload does not depend on how it says so. Only a message that breaks off isn't an answer (RFC 9112 §8).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
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
    """Read an answer's body. Checkpoints as it must.

    Args:
        response: an ``httpx2.Response`` whose stream is open.

    Raises:
        Exception: of any kind: the message broke off.
    """
    if response.is_stream_consumed:  # a transport that has read it already
        return _bounded(response.content)
    content = await _raw(response)
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity") or not content:
        return _bounded(content)
    if encoding not in _ENCODINGS:
        return Body(b"", f"a body in the encoding {encoding[:20]!r}")
    return await _decoded(content, encoding)


def _bounded(content: bytes) -> Body:
    if len(content) > MAX_BYTES:
        return Body(content[:MAX_BYTES], f"a body of more than {MAX_BYTES} bytes", too_long=True)
    return Body(content)


async def _raw(response: Any) -> bytes:
    """Return a body as it was sent, up to the chunk that makes it too long.

    httpx2's generators have to be run to their ends, or Trio warns of what is left half done. So what is too long is
    left by a cancellation, which comes where they wait, and no checkpoint here can be cancelled.
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
            if count % _CHUNKS == 0:
                await trio.lowlevel.cancel_shielded_checkpoint()
    return b"".join(chunks)


async def _decoded(content: bytes, encoding: str) -> Body:
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
        return Body(b"".join(pieces), f"a body that is not all of its {encoding}")
    return _bounded(b"".join(pieces))


class _Inflate:
    """Decodes gzip (of any number of members) and deflate, a piece at a time, whatever it grows to."""

    def __init__(self) -> None:
        self._stream: Any = None

    @property
    def complete(self) -> bool:
        """Whether it ended where it should; nothing at all is complete as well."""
        return self._stream is None or self._stream.eof

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Yield what data decodes to, at most 64 kB each, and nothing for a member that is empty.

        Raises:
            zlib.error: it is not what its encoding says.
        """
        while data:
            if self._stream is None or self._stream.eof:
                # Some servers send deflate without zlib's header: its first byte tells (RFC 1950 §2.2).
                raw = data[:1] != _GZIP and data[0] & 0x0F != zlib.DEFLATED
                self._stream = zlib.decompressobj(-zlib.MAX_WBITS if raw else _ANY)
            piece = self._stream.decompress(data, _PIECE)
            yield piece
            data = self._stream.unconsumed_tail
            if self._stream.eof and self._stream.unused_data[:1] == _GZIP:  # another member; else it is padding
                data = self._stream.unused_data
