"""One JSON object per line, to a file that is rotated by size, or to a stream.

How this works
==============

Each attempt is one call in a worker thread; ``files.py`` and ``stream.py`` have the code that runs there.

*A file*: the sink always waits for the thread, so the outcome is always known. The thread appends the payload in pieces
and checks for a cancellation (the attempt's timeout, the shutdown deadline, Ctrl-C) before each. If a cancellation or
an error comes before the last piece is written, it cuts the file back to its previous end. A killed process cannot do
that: the next one repairs the end of the file before it writes.

*A stream* may belong to a reader that does not read (``app | less``), so a cancelled attempt abandons its thread. The
thread holds the limiter's one token until it ends, so that no second one starts meanwhile. It records how much of which
payload it wrote, so that the next attempt for that payload continues from there.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import IO, Any

import trio

from ...abc import Batch, ConfigError, EventSink, Limits, MetricEvent, Payload, Receipt, SinkContext
from .._paths import file_path
from .files import LineFile, UnusableError
from .stream import LineStream

__all__ = ["JSONLinesSink"]

_MAX_BYTES = 100_000_000
"""Default size of a file: some 500 000 events of 200 bytes; with 5 backups, 0.6 GB of disk at most."""

_PERMANENT = frozenset(
    {
        errno.EACCES,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EPERM,
        errno.EPIPE,
        errno.EROFS,
    }
)
"""Errors that waiting does not change; after any other (disk full, I/O error, too many open files) the sink retries."""


class JSONLinesSink(EventSink[bytes]):
    """Writes events as JSON, one object per line, in UTF-8, to a file or a stream.

    *Delivered* means that the operating system has taken the lines (``write`` returned), and the file still had a name
    afterwards. That survives the end of the process by any means; a crash of the system or a power cut may take lines
    that were not yet on the disk.

    **A file** is opened at the first payload and appended to. At the end it has the lines that were delivered and no
    others, and never half of one: the rest of a failed, short or cancelled write is cut off at once, the half line of a
    killed process when the next one opens the file. Before it would exceed ``max_bytes`` it is renamed to ``path.1``,
    ``path.1`` to ``path.2`` and so on; a payload stays together.

    The file may be renamed, removed, replaced or emptied at any time, as tools that rotate logs do. The sink notices
    this before the next payload, and writes that to the file that is at the path then. A payload that was in flight is
    in the renamed file; if the file was removed or emptied during the write, the sink writes the payload again. (A tool
    that copies the file and then empties it, such as logrotate's ``copytruncate``, loses the lines that were written
    between the two: let it rename the file.) Several sinks and processes may write to one path, except on Windows and
    on file systems without ``flock``: the sink writes each payload under that lock.

    **A stream** (``sys.stdout``, an open file, a ``StringIO``) is written to and flushed, never closed; a text stream
    gets UTF-8 in its ``buffer`` if it has one. The sink writes whole lines; only a failed write may leave half of one.
    If a stream blocks, the sink abandons it at the attempt's timeout or the shutdown deadline: its last lines may still
    come.

    Failures:

    * *Retried*: disk full, an I/O error, too many open files, another process has the lock.
    * *Given up* with a clear ``last_error``: the path is a folder or a device, its folder is missing, permission
      denied; the file doesn't consist of JSON lines (it is left as it is): its last line is not a JSON object, or is
      followed by something other than a half line from this sink; the stream is closed, or its reader is gone.
    * *Rejected alone*: an event without a JSON form, such as one whose timestamp no calendar has; one whose labels
      exceed ``limits``.

    Example:
        >>> import io, trio
        >>> from trio_batchmetrics import CacheMetric, collector
        >>> from trio_batchmetrics.sinks import JSONLinesSink
        >>> async def main(stream):
        ...     async with collector(sinks=[JSONLinesSink(stream)]) as metrics:
        ...         metrics.record(CacheMetric("redis", "hit", timestamp=1_000_000_000))
        >>> stream = io.StringIO()
        >>> trio.run(main, stream)
        >>> stream.getvalue()[:61]
        '{"@timestamp":"1970-01-01T00:00:01.000000000Z","kind":"CacheM'
    """

    def __init__(
        self,
        path_or_stream: str | os.PathLike[str] | IO[str] | IO[bytes],
        *,
        max_bytes: int | None = _MAX_BYTES,
        backups: int = 5,
        limits: Limits | None = None,
        **settings: Any,
    ) -> None:
        """Create a sink for a stream, or for a file, which need not exist. No I/O here.

        The file's folder must exist by the first payload.

        Args:
            path_or_stream: the file's path (a relative one is resolved against the current directory now), or anything
                with ``write`` and ``flush``, for text or bytes.
            max_bytes: the size at which the file is rotated; also the maximum number of bytes in a payload. A single
                line may exceed it. None: no rotation.
            backups: the number of rotated files to keep, at least 1; the oldest is overwritten.
            limits: the largest labels that are written; events that exceed one are rejected.
            settings: ``name`` and the delivery settings of :class:`~trio_batchmetrics.abc.EventSink`.

        Raises:
            TypeError: it is neither a path nor a stream.
            ValueError: the path is empty, a URL, ``-`` (pass ``sys.stdout``) or cannot name a file; ``max_bytes``,
                ``backups`` or a delivery setting is not above 0; ``limits`` is not a ``Limits``.
        """
        super().__init__(**settings)
        _positive("backups", backups)
        self._limits = Limits.checked(limits)
        self._file: LineFile | None = None
        self._stream: LineStream | None = None
        if isinstance(path_or_stream, str | os.PathLike):
            if max_bytes is not None:
                _positive("max_bytes", max_bytes)
                self.max_payload_bytes: int | None = min(max_bytes, self.max_payload_bytes or max_bytes)
            self._file = LineFile(file_path("path_or_stream", path_or_stream), max_bytes, backups)
        elif hasattr(path_or_stream, "write") and hasattr(path_or_stream, "flush"):
            self._stream = LineStream(path_or_stream)
        else:
            raise TypeError(f"path_or_stream must be a path or a stream (got {path_or_stream!r})")
        self._limiter = trio.CapacityLimiter(1)  # its own: an application that uses up Trio's must not block this sink

    def bind(self, context: SinkContext) -> None:
        """Bind the sink to a collector's context."""
        super().bind(context)
        self._limiter = trio.CapacityLimiter(1)  # a thread abandoned in an earlier run never returns its token

    def encode(self, events: Sequence[MetricEvent]) -> bytes:
        """Return the events as lines.

        Raises:
            ValueError: an event has no JSON form, or its labels exceed a limit.
            OverflowError: a timestamp is beyond the calendar.
        """
        return self.context.json_writer(self._limits).lines(Batch.of(events))

    async def send(self, payload: Payload[bytes]) -> Receipt | None:
        """Write the payload in a worker thread. A checkpoint.

        If cancelled, it leaves nothing in a file; if everything was written by then, it returns as if it had not been
        cancelled.
        """
        abandon = self._stream is not None
        return await trio.to_thread.run_sync(self._attempt, payload, abandon_on_cancel=abandon, limiter=self._limiter)

    async def aclose(self) -> None:
        """Close the file; a stream stays open. Not a checkpoint."""
        if self._file is not None:
            self._file.close()

    def _attempt(self, payload: Payload[bytes]) -> Receipt | None:
        target: Any = self._file or self._stream
        try:
            target.write(payload)
        except OSError as exc:
            error = f"{target}: {exc.strerror or exc}"
            return Receipt(rest="failed" if exc.errno in _PERMANENT else "retry", error=error)
        except (UnusableError, ValueError) as exc:  # ValueError: a closed stream, or text that a stream cannot encode
            return Receipt.failed(f"{target}: {exc}")
        return None


def _positive(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} must be an int >= 1 (got {value!r})")
