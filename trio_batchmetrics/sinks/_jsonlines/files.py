"""Whole lines to a file that others may rename, empty or remove: one of the two targets of :class:`JSONLinesSink`.

How this works
==============

All calls except closing run in a worker thread, one at a time. A payload is written, cut off and rotated under an
advisory lock on the file (``flock``), so that several processes may write to one path. Under the lock:

* the sink compares its open file with the one at the path. If that is another file, the sink opens it instead;
* a file that has changed since the last write may end with half a line from a killed process: the sink cuts it off;
* after the write, the file must have grown by the payload, and still have a name. If it was emptied or removed during
  the write, the sink writes the payload to the file that is at the path now.

Where there are no such locks (Windows, some network file systems), only one process at a time may write to a path.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from io import FileIO
from pathlib import Path
from typing import Any

import trio

from ...abc import Payload

__all__ = ["LineFile", "UnusableError"]

_FILE_PIECE = 1 << 20
"""Bytes written to a file between two cancellation checks: a few milliseconds."""

_LINE_START = b'{"@timestamp":"'
"""The start of every line."""

try:
    _fcntl: Any = import_module("fcntl")
except ImportError:  # Windows
    _fcntl = None

_MAX_TRIES = 5
"""Maximum number of files that a payload is written to, if each is replaced or emptied. Rotation takes one."""

_BUSY_SECONDS = 0.05
"""How long to wait for another process's lock, as for SQLite's; the engine's backoff does the rest."""

_UNKNOWN = -1


class UnusableError(Exception):
    """The sink cannot write to this target."""


class LineFile:
    """A file that always ends at a recorded position. Used by one thread at a time."""

    def __init__(self, path: Path, max_bytes: int | None, backups: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._backups = backups
        self._file: FileIO | None = None
        self._recorded_end = _UNKNOWN
        """The size of the file after the last write; unknown just after it was opened."""
        self._size_to_cut: int | None = None
        """The size of the file including the rest of a failed write, which is to be cut off; None if there is none."""
        self._pid = 0

    def __str__(self) -> str:
        return str(self._path)

    def write(self, payload: Payload[bytes]) -> None:
        """Append the payload as a whole, or not at all.

        Raises:
            OSError: the system refused, or another process has the lock or keeps replacing the file.
            UnusableError: the file must not be written to; it is left as it is.
        """
        size = sum(map(len, payload.parts))
        for _ in range(_MAX_TRIES):
            with self._locked() as file:
                if self._is_ready(file, size) and self._append(file, payload, size):
                    return
        raise OSError(errno.EAGAIN, "it keeps being replaced or emptied")

    def close(self) -> None:
        """Close the file if this process opened it."""
        if self._file is not None and os.getpid() == self._pid:
            file, self._file = self._file, None
            with file:
                self._cut_off(file)

    @contextmanager
    def _locked(self) -> Generator[FileIO, None, None]:
        if self._file is not None and os.getpid() != self._pid:
            raise UnusableError("opened before a fork: a child process needs a sink of its own")
        file = self._file or self._open()
        _lock(file)
        try:
            yield file
        finally:
            _unlock(file)

    def _is_ready(self, file: FileIO, size: int) -> bool:
        """Return whether the file is at its path, whole, and has room; if not, close it: the caller tries again."""
        if not self._is_at_path(file):
            self.close()
            return False
        self._cut_off(file)
        if self._size_to_cut is not None:
            raise OSError(errno.EIO, "the rest of a failed write cannot be cut off")
        found = os.fstat(file.fileno()).st_size
        if found != self._recorded_end:
            self._recorded_end = _repaired_end(file, is_new=self._recorded_end == _UNKNOWN)
        if self._max_bytes is None or self._recorded_end == 0 or self._recorded_end + size <= self._max_bytes:
            return True
        if sys.platform == "win32":
            self.close()  # Windows cannot rename an open file; elsewhere we keep the lock during the rotation
        self._rotate()
        self.close()
        return False

    def _append(self, file: FileIO, payload: Payload[bytes], size: int) -> bool:
        """Write the payload; return whether the file has it now."""
        try:
            for part in payload.parts:
                rest = memoryview(part)
                while rest:
                    trio.from_thread.check_cancelled()
                    rest = rest[file.write(rest[:_FILE_PIECE]) :]
        except BaseException:
            self._size_to_cut = os.fstat(file.fileno()).st_size
            self._cut_off(file)
            raise
        found = os.fstat(file.fileno())
        if found.st_size < self._recorded_end + size:
            file.truncate(_end_without(file, payload, min(self._recorded_end, found.st_size), found.st_size))
            self._recorded_end = _UNKNOWN
            return False
        self._recorded_end = found.st_size
        return found.st_nlink > 0 or self._is_at_path(file)  # some file systems don't count names

    def _cut_off(self, file: FileIO) -> None:
        """Cut the file back to its recorded end, if necessary; after a failure, do that before anything else."""
        if self._size_to_cut is None:
            return
        try:
            found = os.fstat(file.fileno()).st_size
            if found == self._size_to_cut:  # otherwise another process has written since, and has cut off half a line
                file.truncate(min(self._recorded_end, found))
        except OSError:
            return
        self._size_to_cut = None

    def _is_at_path(self, file: FileIO) -> bool:
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
            raise UnusableError("it is not a regular file; open it and pass the stream")
        self._file = self._path.open("a+b", buffering=0)
        self._pid, self._recorded_end, self._size_to_cut = os.getpid(), _UNKNOWN, None
        return self._file

    def _rotate(self) -> None:
        """Rename each file to the next name. First fill a gap, left by a process that was killed while rotating."""
        free = next((n for n in range(1, self._backups) if not self._backup(n).exists()), self._backups)
        for number in range(free, 0, -1):
            self._backup(number - 1).replace(self._backup(number))

    def _backup(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path


def _lock(file: FileIO) -> None:
    """Wait for the lock on a file, for a short time.

    Raises:
        OSError: another process has it.
    """
    if _fcntl is None:
        return
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            _fcntl.flock(file, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise OSError(errno.EAGAIN, "another process is writing to it") from None
        except OSError:
            return  # a file system without locks
        time.sleep(0.001)


def _unlock(file: FileIO) -> None:
    if _fcntl is not None and not file.closed:
        try:
            _fcntl.flock(file, _fcntl.LOCK_UN)
        except OSError:
            pass  # as above


def _end_without(file: FileIO, payload: Payload[bytes], end: int, size: int) -> int:
    """Return where a file ends without the payload, if it was emptied while the payload was written."""
    tail = _read(file, 0, size)
    return 0 if size <= sum(map(len, payload.parts)) and b"".join(payload.parts).endswith(tail) else end


def _repaired_end(file: FileIO, *, is_new: bool) -> int:
    """Make sure that a file ends with a whole line; return its size then.

    Args:
        file: open for reading and appending.
        is_new: whether it has not been checked yet: then its last line must be a JSON object.

    Raises:
        UnusableError: it does not look like a file of this sink; it is left as it is.
    """
    size = file.seek(0, os.SEEK_END)
    complete_end = _after_newline(file, size)
    if complete_end == size:
        if is_new and size and not _is_object(_read(file, start := _after_newline(file, size - 1), size - start)):
            raise UnusableError("its last line is not a JSON object")
        return size
    # A power cut may leave zeros at the end of a file whose start shows that it is ours.
    if not any(_LINE_START.startswith(_read(file, start, len(_LINE_START))) for start in (complete_end, 0)):
        raise UnusableError("it ends with neither a line nor a half line of this sink")
    if not _is_object(_read(file, complete_end, size - complete_end)):
        file.truncate(complete_end)
        return complete_end
    file.write(b"\n")  # the line is whole; only its end is missing
    return size + 1


def _after_newline(file: FileIO, end: int) -> int:
    """Return where the last line before a position starts; the position itself if a line starts there."""
    while end:
        start = max(0, end - _FILE_PIECE)
        newline = _read(file, start, end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _read(file: FileIO, start: int, size: int) -> bytes:
    file.seek(start)
    return file.read(size)
