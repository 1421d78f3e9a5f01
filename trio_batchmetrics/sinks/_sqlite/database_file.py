"""The file that a database connection has open, and where it is after it was moved.

How this works
==============

SQLite finds a database's write-ahead log by name: ``NAME-wal`` next to ``NAME``. If ``NAME`` is renamed, its log stays
behind. SQLite leaves it there when the connection is closed, and the next process that opens a database with that name
deletes the log or replays it into the wrong file (sqlite.org/howtocorrupt.html, 1.4 and 2.4). Two rules keep the rows
safe:

* :meth:`DatabaseFile.checkpoint` copies the log into the database and empties it after each commit. Between two
  payloads the database is complete without its log, so it may be renamed, copied or replaced, and the process may be
  killed. An empty log does no harm next to another file.
* :meth:`DatabaseFile.close` closes the connection and, if the database was moved, removes its log and its index from
  the old place. If a reader prevented the copying, the log follows its database instead.

Both identify files by what the connection has open, not by name. They never touch another database's log.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from itertools import chain, count
from pathlib import Path

__all__ = ["BUSY", "PERMANENT", "DatabaseFile", "check_log", "identity"]

BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})

PERMANENT = frozenset(
    {
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_NOTADB,
    }
)
"""Result codes (sqlite.org/rescode.html) that waiting does not change; any other may be retried."""

_Identity = tuple[int, int]
_FileState = tuple[tuple[int, int, int, int] | None, _Identity | None, _Identity | None]


class DatabaseFile:
    """A connection and the file that it has open. Used by one thread at a time."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Record the identity of the database at a path, for a connection that was just opened to it."""
        real = Path(os.path.realpath(path))
        self._path = path
        self._real = real  # SQLite puts the log next to the target of a symbolic link
        self._log, self._index = _log_files(real)
        self._connection = connection
        self._pin = _open_pin(path)
        self.identity: _Identity | None = identity(path)
        """Device and inode of the database; None if it was removed at once."""
        self._is_checkpointed = False
        """Whether the database file has everything that was committed."""
        self._is_log_empty = False
        """Whether the log was empty after the last copy."""
        self._checkpoint_log()  # a killed process may have left rows in the log; this also creates the log
        self._last_state = self._current_state()

    def is_unchanged(self) -> bool:
        """Return whether the path still leads here, and nothing else has changed the database or replaced its log."""
        return self._current_state() == self._last_state

    def can_close(self) -> bool:
        """Return whether closing loses nothing: not while the only copy of some rows is in a log without a name."""
        if not self._is_checkpointed and self._is_at(self._real) and identity(self._log) != self._last_state[1]:
            self._checkpoint_log()
            return self._is_checkpointed
        return True

    def checkpoint(self) -> bool:
        """After a commit: copy the log into the database and empty it. Never raises.

        If this fails, the commit still holds. While another process reads, the log cannot be emptied, and commits since
        that read began cannot be copied.

        Returns:
            Whether the rows are in a file. False: the database was removed in the meantime, and the rows with it. On a
            system that cannot distinguish removed from moved (Linux can), both give False.
        """
        self._checkpoint_log()
        if not self._is_at(self._path):
            return bool(self._links())
        self._last_state = self._current_state()
        return True

    def close(self) -> str | None:
        """Close the connection, and leave nothing next to a file that took the database's place. Never raises.

        Returns:
            A message for the user if something had to stay behind; else None.
        """
        moved = not self._is_at(self._real)
        if not self._is_checkpointed:
            self._checkpoint_log()
        self._connection.close()
        try:
            return self._remove_log() if moved else None
        except OSError as exc:
            return f"it was moved, and its log stays behind: {exc.strerror}"
        finally:
            if self._pin is not None:
                os.close(self._pin)

    def _checkpoint_log(self) -> None:
        try:
            # It waits for readers as long as any statement waits for a lock: the connection's timeout.
            busy, frames, copied = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error:
            self._is_checkpointed = self._is_log_empty = False
        else:
            self._is_checkpointed, self._is_log_empty = frames == copied, not busy

    def _remove_log(self) -> str | None:
        """Remove the log and the index from the database's old place."""
        pairs = zip((self._log, self._index), self._last_state[1:], strict=True)
        ours = [file for file, seen in pairs if seen is not None and identity(file) == seen]
        if not ours:
            return None  # they were moved with the database
        if not self._is_checkpointed and self._links() != 0:
            return self._move_log(ours)
        if self._is_log_empty and os.path.lexists(self._real):
            if self._log.stat().st_size:
                return "it was replaced while another process was writing to it"
            if _has_log(self._real):
                return None  # SQLite has removed them, unless another process has started to use them
        for file in ours:
            file.unlink(missing_ok=True)
        return None

    def _move_log(self, ours: list[Path]) -> str | None:
        """Move a log with the only copy of some rows next to its database or, if that isn't found, out of the way."""
        moved = self._find()
        name = _rename(self._real, ours, preferred=moved)
        if name == moved:
            return None
        return f"it was moved while another process was reading it; its last rows are in its log, now {name}-wal"

    def _find(self) -> str | None:
        """Return the database's present name in its folder."""
        files = (file for file in self._real.parent.iterdir() if not file.is_symlink())
        return next((file.name for file in files if self._is_at(file)), None)

    def _is_at(self, path: Path) -> bool:
        return self.identity is not None and identity(path) == self.identity

    def _current_state(self) -> _FileState:
        try:
            found = self._path.stat()
        except OSError:
            database = None
        else:
            database = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
        return database, identity(self._log), identity(self._index)

    def _links(self) -> int | None:
        """Return the number of the database's names, wherever they are; None: the system does not provide it."""
        return None if self._pin is None else os.fstat(self._pin).st_nlink


def check_log(path: Path) -> str | None:
    """Before a database is opened: check for a log from a process that was killed while its database was moved.

    If there is nothing at the path, SQLite would delete the log: this function sets it aside. If there is a file that
    isn't a database, SQLite would turn it into one, from the log: this function refuses it.

    Returns:
        A message for the user if a log was set aside; else None.

    Raises:
        sqlite3.DatabaseError: the file is not a database.
    """
    real = Path(os.path.realpath(path))
    log, index = _log_files(real)
    try:
        if not log.stat().st_size:
            return None
        if not real.exists():
            name = _rename(real, [log, index] if index.exists() else [log])
            return f"a log was left without its database, and is now {name}-wal; it belongs next to the database"
    except OSError:
        return None
    with closing(sqlite3.connect(f"{real.as_uri()}?immutable=1", uri=True)) as without_log:
        try:
            without_log.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.DatabaseError as exc:
            if getattr(exc, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
                raise
    return None


def _log_files(path: Path) -> tuple[Path, Path]:
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def _rename(path: Path, files: list[Path], *, preferred: str | None = None) -> str:
    """Rename a database's log and index to match a name that has neither yet; return the name."""
    names = chain([preferred] if preferred else [], (f"{path.name}.{number}" for number in count(1)))
    name = next(name for name in names if not any(file.exists() for file in _log_files(path.with_name(name))))
    for file, renamed in zip(_log_files(path), _log_files(path.with_name(name)), strict=True):
        if file in files:
            file.rename(renamed)
    return name


def _open_pin(path: Path) -> int | None:
    """Return a file descriptor that identifies a file but cannot read it, or None.

    An ordinary descriptor must not be used: closing it would release SQLite's locks in this process (POSIX).
    """
    only_pinned: int | None = getattr(os, "O_PATH", None)
    if only_pinned is None:  # not on Linux
        return None
    try:
        return os.open(path, only_pinned)
    except OSError:
        return None


def identity(path: Path) -> _Identity | None:
    """Return the device and inode of a file; None if there is no accessible file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _has_log(path: Path) -> bool:
    """Return whether a file is a database in write-ahead mode; if so, SQLite removes a log that no process uses."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=0)) as database:
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return bool(database.execute("PRAGMA journal_mode").fetchone() == ("wal",))
    except sqlite3.Error:
        return False
