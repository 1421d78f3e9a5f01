"""An embedded database file that can be queried while it is written.

How this works
==============

Each attempt is one call in a worker thread: connect if necessary, begin, delete expired rows, insert, commit. The sink
always waits for the thread, so the outcome is always known. The thread checks for a cancellation (the attempt's
timeout, the shutdown deadline, Ctrl-C) before each row and before the commit; if it finds one, it rolls back and
raises: the file has all of a payload or nothing of it. It does not check afterwards, so a commit is always reported.
(SQLite's progress handler cannot do this: SQLite may call it once more after a commit has gone through, and would
report the commit as interrupted.)

After the commit, the rows are copied from the log into the database, so that the file is complete by itself: it may be
renamed, copied or replaced at any time. ``database_file.py`` gives the reasons.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import chain, islice
from typing import Any

import trio

from ...abc import Batch, EventSink, Limits, MetricEvent, Payload, Receipt, checked_seconds
from .._paths import file_path, open_problem
from .database_file import BUSY, PERMANENT, DatabaseFile, check_log, identity
from .table import COLUMNS, EXPIRE, INDEX, INSERT, INSERT_MANY, MANY, TABLE, Row, rows

__all__ = ["SQLiteSink"]

_BUSY_SECONDS = 0.05
"""How long SQLite itself waits for a lock: short, since it can't be cancelled; the engine's backoff does the rest."""

_EXPIRE_SECONDS = 60.0
"""Maximum interval between two deletions of expired rows; with a short ``max_age``, it is a tenth of that."""

_EXPIRE_ROWS = 10_000
"""Maximum number of expired rows deleted with one payload (about 10 ms); the next payload deletes the rest."""

_AGE = "a number of seconds > 0, or a timedelta"

_MAX_SECONDS = 1e10
"""Seconds: 317 years; a longer age does not fit into 64 bits."""

_MAX_TRIES = 3
"""Maximum number of files that an attempt writes to, if each is removed during the write."""

_logger = logging.getLogger("trio_batchmetrics")


class _UnusableError(Exception):
    """The file at the path cannot become the sink's database."""


class _MovedError(Exception):
    """The database was moved during an operation; the next attempt starts with the file that is at the path then."""


class SQLiteSink(EventSink[list[Row]]):
    """Writes events to the table ``events`` of a SQLite database: one row per event, one transaction per payload.

    *Delivered* means that the transaction is committed and copied into the database file, which still had a name
    afterwards. That survives the end of the process by any means, ``SIGKILL`` included, and whatever happens to the
    file's name. While another process reads, the rows may stay in the log (``path-wal``) until it has finished; then a
    crash of the system or a power cut may take the last commits with it, never the file (write-ahead log,
    ``synchronous=NORMAL``). At the end the file has the rows that were delivered and no others.

    Columns: ``id`` (in recording order), ``timestamp`` (ns since 1970, UTC), ``kind`` (the event's class), ``name``
    (of a ``Counter``, ``Gauge``, ``Histogram``, ``HistogramPoint``; else NULL), ``labels`` and ``fields`` (the usual
    JSON objects; static labels included). ``timestamp`` is indexed. The first payload creates the file and the table,
    and switches the database to write-ahead logging, so that other processes can read while this one writes.

    Failures:

    * *Retried*: the database is locked, the disk is full, an I/O error, too many open files.
    * *Given up* with a clear ``last_error``: the file isn't a database, or has a table ``events`` without these columns
      (it is left as it is); the path is a folder, its folder is missing, permission denied.
    * *Rejected alone*: an event whose timestamp takes more than 64 bits, whose name cannot be converted to text, or
      whose labels exceed ``limits``.

    The file may be renamed, removed or replaced at any time, and its folder, too. The sink notices this before the next
    payload, and writes that to the file that is at the path then; the sink's log never stays next to it. Rows in flight
    are in the renamed file; if the file was removed during the write, the sink writes them again. Several sinks and
    processes may write to one path. Don't overwrite the file in place (``cp backup path``) while it is being written
    or read; ``mv`` and SQLite's own tools are safe. If a disk does not respond at all, the sink outlives any deadline.

    Example:
        >>> import sqlite3, tempfile, trio
        >>> from contextlib import closing
        >>> from trio_batchmetrics import collector
        >>> from trio_batchmetrics.sinks import SQLiteSink
        >>> async def main(path):
        ...     async with collector(sinks=[SQLiteSink(path, max_age=7 * 24 * 3600)]) as metrics:
        ...         metrics.record_cache_metric("redis", "hit")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = f"{folder}/events.sqlite3"
        ...     trio.run(main, path)
        ...     with closing(sqlite3.connect(path)) as database:
        ...         database.execute("SELECT kind, labels FROM events").fetchall()
        [('CacheMetric', '{"cache.type":"redis","cache.operation":"hit"}')]
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_age: float | timedelta | None = None,
        limits: Limits | None = None,
        **settings: Any,
    ) -> None:
        """Create a sink for a file, which need not exist. No I/O here.

        The file's folder must exist by the first payload.

        Args:
            path: the database; a relative path is resolved against the current directory now.
            max_age: rows whose timestamp is so many seconds old, by the wall clock, are deleted now and then as
                others are written. SQLite reuses the file's space; the file does not shrink. None: never.
            limits: the largest labels that are written; events that exceed one are rejected.
            settings: ``name`` and the delivery settings of :class:`~trio_batchmetrics.abc.EventSink`.

        Raises:
            TypeError: ``path`` is neither a str nor a path.
            ValueError: ``path`` is empty, ``:memory:``, a URL or cannot name a file; ``max_age`` or a delivery setting
                is not above 0; ``limits`` is not a ``Limits``.
        """
        super().__init__(**settings)
        self._path = file_path("path", path)
        self._max_age = None if max_age is None else checked_seconds("max_age", max_age, _AGE)
        self._limits = Limits.checked(limits)
        self._expire_at = 0.0
        self._connection: sqlite3.Connection | None = None
        self._file: DatabaseFile | None = None  # the connection's file
        self._pid = 0  # the process that connected
        self._limiter = trio.CapacityLimiter(1)  # its own: an application that uses up Trio's must not block this sink

    def encode(self, events: Sequence[MetricEvent]) -> list[Row]:
        """Return the events as rows.

        Raises:
            ValueError: a timestamp takes more than 64 bits, or labels exceed a limit.
        """
        return rows(Batch.of(events), self.context.json_writer(self._limits))

    async def send(self, payload: Payload[list[Row]]) -> Receipt | None:
        """Commit the payload in a worker thread. A checkpoint.

        If cancelled, it rolls back; if the commit came first, it returns as if it had not been cancelled.
        """
        return await trio.to_thread.run_sync(self._attempt, payload.parts, limiter=self._limiter)

    async def aclose(self) -> None:
        """Close the connection in a worker thread. A checkpoint.

        A cancellation does not cut this short: it copies at most a few megabytes from the log into the database. A
        forked child leaves its parent's connection alone.
        """
        with trio.CancelScope(shield=True):
            if self._connection is None or os.getpid() != self._pid:
                await trio.lowlevel.checkpoint()
                return
            await trio.to_thread.run_sync(self._close, limiter=self._limiter)

    # -- in the worker thread, one call at a time

    def _attempt(self, parts: Iterable[list[Row]]) -> Receipt | None:
        if self._connection is not None and os.getpid() != self._pid:
            return Receipt.failed("connected before a fork: a child process needs a sink of its own")
        try:
            for _ in range(_MAX_TRIES):
                if self._write(*self._connected(), parts):
                    return None
        except _UnusableError as exc:
            return Receipt.failed(f"{self._path}: {exc}")
        except _MovedError as exc:
            return Receipt.retried(error=f"{self._path}: {exc}")
        except sqlite3.Error as exc:
            return self._receipt(exc)
        return Receipt.retried(error=f"{self._path}: it keeps being removed")

    def _write(self, connection: sqlite3.Connection, file: DatabaseFile, parts: Iterable[list[Row]]) -> bool:
        """Commit the rows; return whether they are in a file (False: they were removed with it)."""
        now = time.monotonic()
        expired = 0
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(TABLE)
            connection.execute(INDEX)
            if self._max_age is not None and now >= self._expire_at:
                oldest = time.time_ns() - int(min(self._max_age, _MAX_SECONDS) * 1e9)
                expired = connection.execute(EXPIRE, (oldest, _EXPIRE_ROWS)).rowcount
            _insert(connection, parts)
            connection.execute("COMMIT")
        except BaseException:
            self._rollback(connection)
            raise
        if self._max_age is not None and now >= self._expire_at and expired < _EXPIRE_ROWS:
            self._expire_at = now + min(_EXPIRE_SECONDS, self._max_age / 10)
        return file.checkpoint()

    def _rollback(self, connection: sqlite3.Connection) -> None:
        try:
            connection.rollback()
        except sqlite3.Error:
            self._close()  # the next connection to the file rolls back the rest

    def _connected(self) -> tuple[sqlite3.Connection, DatabaseFile]:
        """Return a connection to the database that is at the path now."""
        if self._file is not None and not self._file.is_unchanged():
            if not self._file.can_close():
                raise _MovedError("its log was removed while another process was reading it")
            if (message := self._close()) is not None:
                raise _MovedError(message)
        if self._connection is None or self._file is None:
            before = identity(self._path)
            if (message := check_log(self._path)) is not None:
                _logger.warning("%s: %s", self._path, message)
            self._connection = self._connect()
            self._file, self._pid = DatabaseFile(self._path, self._connection), os.getpid()
            if before not in (None, self._file.identity):
                self._close()
                raise _MovedError("it was replaced while being opened")
        return self._connection, self._file

    def _connect(self) -> sqlite3.Connection:
        """Open the database and check it before changing anything in it."""
        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            columns = {name for (name,) in connection.execute("SELECT name FROM pragma_table_info('events')")}
            if columns and (missing := [name for name in COLUMNS if name not in columns]):
                raise _UnusableError(f"its table 'events' is not this sink's (it has no {', '.join(missing)})")
            [mode] = connection.execute("PRAGMA journal_mode").fetchone()
            if mode != "wal":
                connection.execute("PRAGMA journal_mode = WAL").fetchone()
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA wal_autocheckpoint = 0")  # DatabaseFile.checkpoint does it, after each commit
        except BaseException:
            connection.close()
            raise
        return connection

    def _close(self) -> str | None:
        """Close the connection; return and log a message for the user if the database was moved."""
        file, self._file, self._connection = self._file, None, None
        message = None if file is None else file.close()
        if message is not None:
            _logger.warning("%s: %s", self._path, message)
        return message

    def _receipt(self, error: sqlite3.Error) -> Receipt:
        """Return the receipt that a SQLite error means for the payload."""
        extended = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        code = extended & 0xFF  # the low byte is the primary code: sqlite.org/rescode.html
        if code in BUSY:
            return Receipt.retried(error=f"{self._path}: {error}")
        self._close()
        if code == sqlite3.SQLITE_TOOBIG:
            return Receipt.split(error=str(error))
        if code == sqlite3.SQLITE_CANTOPEN and (reason := open_problem(self._path)) is not None:
            return Receipt.failed(f"{self._path}: {reason}")
        permanent = code in PERMANENT and extended != sqlite3.SQLITE_READONLY_DBMOVED
        return Receipt(rest="failed" if permanent else "retry", error=f"{self._path}: {error}")


def _insert(connection: sqlite3.Connection, parts: Iterable[list[Row]]) -> None:
    """Insert the rows. Once the attempt is cancelled, raise ``Cancelled`` before the next row, or at the end."""
    check = trio.from_thread.check_cancelled
    for part in parts:
        rest = iter(part)
        while chunk := [row for row in islice(rest, MANY) if check() is None]:
            if len(chunk) == MANY:
                connection.execute(INSERT_MANY, [*chain.from_iterable(chunk)])
            else:
                connection.executemany(INSERT, chunk)
    check()
