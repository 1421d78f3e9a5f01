"""Whole lines to a stream: one of the two targets of :class:`JSONLinesSink`. Runs in a worker thread."""

from __future__ import annotations

import errno
import io
import os
from typing import Any

import trio

from ...abc import Payload

__all__ = ["LineStream"]

_STREAM_PIECE = 8192
"""Bytes written to a stream at once. The stream takes a piece that fits into its buffer either whole or not at all.

This is ``io.DEFAULT_BUFFER_SIZE`` up to Python 3.13. From 3.14 on that is 128 KiB, twice the capacity of a pipe.
"""


class LineStream:
    """A stream, and how much of which payload was written to it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._is_text = isinstance(stream, io.TextIOBase) or hasattr(stream, "encoding")
        self._key = ""
        self._written = 0

    def __str__(self) -> str:
        return "the stream"

    def write(self, payload: Payload[bytes]) -> None:
        """Write the part of the payload that was not yet written, whole lines at a time, and flush."""
        if payload.key != self._key:
            self._key, self._written = payload.key, 0
        data = b"".join(payload.parts)
        binary: Any = getattr(self._stream, "buffer", None) if self._is_text else self._stream
        if binary is not self._stream:
            self._stream.flush()  # earlier output of the application must come first
        while self._written < len(data):
            trio.from_thread.check_cancelled()
            piece = data[self._written : _end_of_lines(data, self._written)]
            try:
                if binary is None:
                    self._stream.write(piece.decode())
                    self._written += len(piece)
                else:
                    self._written += _write(binary, piece)
            except BlockingIOError as exc:  # a buffer may have taken part of it
                self._written += getattr(exc, "characters_written", 0)
                raise
        (self._stream if binary is None else binary).flush()


def _write(stream: Any, piece: bytes) -> int:
    """Write to a binary stream; return how much it took, which is always everything unless it is unbuffered."""
    count = stream.write(piece)
    if count is None and isinstance(stream, io.RawIOBase):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return count if isinstance(count, int) else len(piece)


def _end_of_lines(data: bytes, start: int) -> int:
    """Return where the last whole line within one piece ends; the first line's end if that is longer than a piece."""
    end = data.rfind(b"\n", start, start + _STREAM_PIECE) + 1
    return end or data.find(b"\n", start) + 1
