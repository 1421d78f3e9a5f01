"""Whole lines to a stream: one of the two targets of :class:`JSONLinesSink`. It runs in a worker thread."""

from __future__ import annotations

import errno
import io
import os
from typing import Any

import trio

from ...abc import Payload

__all__ = ["LineStream"]

_STREAM_PIECE = 8192
"""Bytes written to a stream at once. A piece that fits into the stream's buffer is either taken whole or not at all.

``io.DEFAULT_BUFFER_SIZE`` up to Python 3.13. From 3.14 on that is 128 KiB, twice as much as a pipe holds.
"""


class LineStream:
    """A stream, and how much of which payload it has."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._is_text = isinstance(stream, io.TextIOBase) or hasattr(stream, "encoding")
        self._key = ""
        self._written = 0

    def __str__(self) -> str:
        return "the stream"

    def write(self, payload: Payload[bytes]) -> None:
        """Write what the stream does not have of the payload yet, whole lines at a time, and flush."""
        if payload.key != self._key:
            self._key, self._written = payload.key, 0
        data = b"".join(payload.parts)
        binary: Any = getattr(self._stream, "buffer", None) if self._is_text else self._stream
        if binary is not self._stream:
            self._stream.flush()  # what was printed before comes before
        while self._written < len(data):
            trio.from_thread.check_cancelled()
            piece = data[self._written : _end_of_lines(data, self._written)]
            try:
                if binary is None:
                    self._stream.write(piece.decode())
                    self._written += len(piece)
                else:
                    self._written += _write(binary, piece)
            except BlockingIOError as exc:  # a buffer may have taken some of it
                self._written += getattr(exc, "characters_written", 0)
                raise
        (self._stream if binary is None else binary).flush()


def _write(stream: Any, piece: bytes) -> int:
    """Write to a stream for bytes; return how much it took, which only an unbuffered one leaves open."""
    count = stream.write(piece)
    if count is None and isinstance(stream, io.RawIOBase):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return count if isinstance(count, int) else len(piece)


def _end_of_lines(data: bytes, start: int) -> int:
    """Return where the whole lines end that make up a piece; the line's end if it is longer than a piece."""
    end = data.rfind(b"\n", start, start + _STREAM_PIECE) + 1
    return end or data.find(b"\n", start) + 1
