"""Whole lines, to a file that ends where it should or to a stream: what :class:`JSONLinesSink` writes to.

All of it runs in a worker thread, one call at a time, but for closing.
"""

from __future__ import annotations

import errno
import io
import json
import os
import stat
from io import FileIO
from pathlib import Path
from typing import Any

import trio

from ..abc import Payload

__all__ = ["LineFile", "LineStream", "UnusableError"]

_FILE_PIECE = 1 << 20
"""Bytes written to a file between two looks for a cancellation: a few milliseconds."""

_STREAM_PIECE = io.DEFAULT_BUFFER_SIZE
"""Bytes written to a stream at once. What fits into its buffer is either taken whole or not at all."""

_BEGINNING = b'{"@timestamp":"'
"""What every line begins with."""


class UnusableError(Exception):
    """The sink cannot write there."""


class LineFile:
    """A file that ends where it says, whatever happens. Used by one thread at a time."""

    def __init__(self, path: Path, max_bytes: int | None, backups: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._names = [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, backups + 1))]
        self._file: FileIO | None = None
        self._end = 0
        self._cut = False  # there may be something beyond the end that is to be cut off
        self._pid = 0

    def __str__(self) -> str:
        return str(self._path)

    def write(self, payload: Payload[bytes]) -> None:
        """Append the payload, or nothing."""
        size = sum(map(len, payload.parts))
        file = self._ready(size)
        try:
            for part in payload.parts:
                rest = memoryview(part)
                while rest:
                    trio.from_thread.check_cancelled()
                    rest = rest[file.write(rest[:_FILE_PIECE]) :]
        except BaseException:
            self._cut = True
            self._cut_off(file)
            raise
        self._end += size

    def close(self) -> None:
        """Close the file if this process opened it."""
        if self._file is not None and os.getpid() == self._pid:
            file, self._file = self._file, None
            with file:
                self._cut_off(file)

    def _cut_off(self, file: FileIO) -> None:
        """Cut the file back to its end, if need be; if that fails, it is tried again before anything else is done."""
        if self._cut:
            try:
                file.truncate(min(self._end, os.fstat(file.fileno()).st_size))
            except OSError:
                return
            self._cut = False

    def _ready(self, size: int) -> FileIO:
        """Return the file, open, whole, and with room for so many bytes."""
        if self._file is not None and os.getpid() != self._pid:
            raise UnusableError("opened before a fork: a child process needs a sink of its own")
        if self._file is not None and not self._is_mine(self._file):
            self.close()
        file = self._file or self._open()
        self._cut_off(file)
        if self._cut:
            raise OSError(errno.EIO, "what a failed write left cannot be cut off")
        self._end = os.fstat(file.fileno()).st_size  # something else may have emptied it
        if self._max_bytes is not None and self._end > 0 and self._end + size > self._max_bytes:
            self.close()
            self._rotate()
            file = self._open()
        return file

    def _is_mine(self, file: FileIO) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(file.fileno()))
        except FileNotFoundError:
            return False

    def _open(self) -> FileIO:
        try:
            mode = self._path.stat().st_mode
        except FileNotFoundError:
            mode = stat.S_IFREG
        if stat.S_ISDIR(mode):
            raise UnusableError("it is a folder")
        if not stat.S_ISREG(mode):
            raise UnusableError("it is no ordinary file; open it and give the stream")
        file = self._path.open("a+b", buffering=0)
        try:
            self._end = _mended(file)
        except BaseException:
            file.close()
            raise
        self._file, self._pid, self._cut = file, os.getpid(), False
        return file

    def _rotate(self) -> None:
        """Rename each file to the next name. A gap, left by a process killed while at it, is filled first."""
        last = len(self._names) - 1
        free = next((number for number in range(1, last) if not self._names[number].exists()), last)
        for number in range(free, 0, -1):
            self._names[number - 1].replace(self._names[number])


def _mended(file: FileIO) -> int:
    """Make sure that a file ends with a whole line; return its size then.

    Raises:
        UnusableError: it does not, and does not look like this sink's; it is left as it is.
    """
    size = good = file.seek(0, os.SEEK_END)
    while good:
        start = max(0, good - _FILE_PIECE)
        newline = _read(file, start, good - start).rfind(b"\n")
        good = start + newline + 1
        if newline >= 0:
            break
    if good == size:
        return size
    # A power cut may leave zeros at the end of a file that is ours by its beginning.
    if not any(_BEGINNING.startswith(_read(file, start, len(_BEGINNING))) for start in (good, 0)):
        raise UnusableError("it does not end with a line, nor with a half line of this sink's")
    try:
        json.loads(_read(file, good, size - good))
    except ValueError:
        file.truncate(good)
        return good
    file.write(b"\n")  # the line is whole, it lacks its end only
    return size + 1


def _read(file: FileIO, start: int, size: int) -> bytes:
    file.seek(start)
    return file.read(size)


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
