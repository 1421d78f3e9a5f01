"""One JSON object a line, to a file that is rotated by size, or to a stream.

How this works
==============

Each attempt is one call in a worker thread; ``_lines.py`` and ``_line_stream.py`` have what runs there.

*A file*: the thread is waited for whatever happens, so its outcome is always known. It appends the payload in pieces
and looks for a cancellation (the attempt's timeout, the shutdown deadline, Ctrl-C) before each. If that or an error
comes before the last piece is written, the file is cut back to where it was. A process that is killed in between
cannot do that: the next one mends the end before it writes.

*A stream* may belong to a reader that does not read (``app | less``), so its thread is left behind when cancelled. It
holds the limiter's one token until it ends, so that no second one starts meanwhile, and notes how much of which
payload it wrote, so that the next attempt for that payload goes on from there.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import IO, Any

import trio

from ..._events import MetricEvent, checked_limits, json_line, labels_of
from ..._exceptions import ConfigError
from ...abc import EventSink, Limits, Payload, Receipt, SinkContext
from .._paths import file_path
from .files import LineFile, UnusableError
from .stream import LineStream

__all__ = ["JSONLinesSink"]

_MAX_BYTES = 100_000_000
"""Default size of a file: some 500 000 events of 200 bytes; with 5 backups, 0.6 GB of disk at most."""

_FOREVER = frozenset(
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
"""Errors that do not change by waiting; any other (disk full, I/O error, too many open files) may be tried again."""


class JSONLinesSink(EventSink[bytes]):
    """Writes events as JSON, one object a line, in UTF-8, to a file or a stream.

    *Delivered* means: the operating system has taken the lines (``write`` returned), and the file still had a name
    afterwards. That survives the end of the process by any means; a crash of the system or a power cut may take what
    was not yet on the disk.

    **A file** is opened at the first payload and appended to. At the end it has the lines that were delivered and no
    others, and never half of one: what a failed, short or cancelled write left is cut off at once, what a killed
    process left is cut off when the next one opens the file. Before it would exceed ``max_bytes`` it is renamed to
    ``path.1``, ``path.1`` to ``path.2`` and so on; a payload stays together.

    The file may be renamed, removed, replaced or emptied at any time, as tools that rotate logs do. This is noticed
    before the next payload, which goes to the file that is at the path then. A payload that was under way is in the
    renamed file; if the file was removed or emptied under it, it is written again. (A tool that copies the file and
    then empties it, such as logrotate's ``copytruncate``, loses the lines that were written between the two: let it
    rename the file.) Several sinks and processes may write to one path, except on Windows and on file systems without
    ``flock``: each payload is written under that lock.

    **A stream** (``sys.stdout``, an open file, a ``StringIO``) is written to and flushed, never closed; a text stream
    gets UTF-8 in its ``buffer`` if it has one. The lines go in whole; only a write that fails may leave a half one. A
    stream that blocks is abandoned at the attempt's timeout or the shutdown deadline: its last lines may still come.

    Failures:

    * *Tried again*: disk full, an I/O error, too many open files, another process has the lock.
    * *Given up* with a clear ``last_error``: the path is a folder or a device, its folder is missing, permission
      denied; the file is not one of JSON lines (it is left as it is): its last line is not a JSON object, or what
      follows that is not a half line of this sink's; the stream is closed, or its reader gone.
    * *Rejected alone*: an event that has no JSON form, such as one whose timestamp no calendar has; one whose labels
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
        """Write to a file, which need not exist (its folder must, by the first payload), or to a stream. No I/O here.

        Args:
            path_or_stream: the file's path (a relative one is taken from the current directory, now), or anything
                with ``write`` and ``flush``, for text or bytes.
            max_bytes: the file's size from which it is rotated; also the most bytes in a payload. A single line may
                exceed it. None: no rotation.
            backups: rotated files that are kept, at least 1; the oldest is overwritten.
            limits: the largest labels that are written; events that exceed one are rejected.
            settings: ``name`` and the delivery settings of :class:`~trio_batchmetrics.abc.EventSink`.

        Raises:
            TypeError: it is neither a path nor a stream.
            ValueError: the path is empty, a URL, ``-`` (pass ``sys.stdout``) or cannot name a file; ``max_bytes``,
                ``backups`` or a delivery setting is not above 0; ``limits`` is something else.
        """
        super().__init__(**settings)
        _positive("backups", backups)
        self._limits = checked_limits(limits)
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
        self._limiter = trio.CapacityLimiter(1)  # its own: an application that uses up Trio's does not hold up this

    def bind(self, context: SinkContext) -> None:
        """Take what the collector tells."""
        super().bind(context)
        self._limiter = trio.CapacityLimiter(1)  # a thread left behind in an earlier run never gives its token back

    def encode(self, events: Sequence[MetricEvent]) -> bytes:
        """Return the events as lines.

        Raises:
            ValueError: an event has no JSON form, or its labels exceed a limit.
            OverflowError: a timestamp is beyond the calendar.
        """
        static = self.context.static_labels
        if self._limits is not None:
            for event in events:
                self._limits.check(labels_of(event, static))
        return "".join([json_line(event, static) + "\n" for event in events]).encode()

    async def send(self, payload: Payload[bytes]) -> Receipt | None:
        """Write the payload, in a worker thread; a checkpoint.

        Cancelled, it has left nothing in a file; if all was written by then, it returns as if it had not been
        cancelled.
        """
        abandon = self._stream is not None
        return await trio.to_thread.run_sync(self._attempt, payload, abandon_on_cancel=abandon, limiter=self._limiter)

    async def aclose(self) -> None:
        """Close the file; a stream is left open. Not a checkpoint."""
        if self._file is not None:
            self._file.close()

    def _attempt(self, payload: Payload[bytes]) -> Receipt | None:
        target: Any = self._file or self._stream
        try:
            target.write(payload)
        except OSError as exc:
            return Receipt(retry=exc.errno not in _FOREVER, error=f"{target}: {exc.strerror or exc}")
        except (UnusableError, ValueError) as exc:  # ValueError: a closed stream, or text that a stream cannot encode
            return Receipt(error=f"{target}: {exc}")
        return None


def _positive(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} must be an int >= 1 (got {value!r})")
