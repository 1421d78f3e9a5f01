"""Line protocol over HTTP, to InfluxDB 1, 2 and 3 and to VictoriaMetrics.

How this works
==============

``writer.py`` turns events into lines, ``timestamps.py`` ensures that none overwrites another, ``line_protocol.py``
escapes, ``server.py`` writes the lines, ``responses.py`` interprets the responses. This module combines them.

A backslash has a different meaning in VictoriaMetrics and InfluxDB 3 than in InfluxDB 1 and 2. Lines are written for
the latter. At the first payload with a backslash (or a tab) in a name or label, the sink detects the server's dialect,
once, and writes the payload again if necessary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Unpack

import attrs
import trio

from ..._http import EventSettings
from ...abc import EventSink, MetricEvent, Payload, Receipt, SinkContext
from .line_protocol import Dialect
from .server import DialectDependentLines, InfluxDBServer
from .target import Target
from .timestamps import Timestamps
from .writer import LineWriter

__all__ = ["InfluxDBSink"]

_CHUNK = 500
"""Number of events written between two checkpoints."""


class InfluxDBSink(InfluxDBServer, EventSink[bytes]):
    r"""Writes events to InfluxDB 1, 2 or 3, or to VictoriaMetrics, in line protocol.

    *Delivered* means that the server answered 2xx. InfluxDB has the lines in its write-ahead log by then, and a crash
    of the server does not lose them; VictoriaMetrics may lose the lines of the last seconds.

    Each measured value of an event is a line of its own: its measurement is the instrument's name, its tags are the
    labels (static ones included), its field is ``value``, always a float, its timestamp the event's. A
    ``HistogramPoint`` has the fields ``count``, ``sum`` and one per bucket, named after its bound, with the number of
    values up to it, like Telegraf's histograms. A class with ``counts=`` has a line ``value=1``. A label that is None
    or empty is left out: to InfluxDB they are the same. A label named ``time``, ``_field``, ``_measurement`` or like a
    field of its line (for VictoriaMetrics also ``__name__``) gets a ``_`` at its end.

    **No event overwrites another.** InfluxDB keeps one point per series and timestamp. So if two events of a series
    have the same nanosecond, the later one moves to the next free nanosecond, always the same. The sink remembers
    the last 50 000 lines for this (fewer if more than 20 MB of their names and labels are new). A repeated attempt
    therefore changes nothing on the server.

    **No text breaks a line, or another's.** Everything arrives unchanged except for characters that line protocol
    cannot carry, which become U+FFFD: a newline; for InfluxDB also a backslash at the end of a name or value, or, in a
    measurement, before ``,``, ``=``, ``"`` or a space; ``#`` at the start of a measurement. ``replacements`` counts
    these.

    Failures:

    * *Retried*: no response, 408, 425, 429, 5xx.
    * *Rejected*, exactly the events at fault: a type conflict, older than the retention policy allows, a line that the
      server cannot read, name and labels of more than 65 535 bytes, labels over ``limits`` or, at VictoriaMetrics,
      over 4096 bytes per value, 256 per name or 40 labels with ``db``. If the server does not say which they are, the
      payload is halved until it shows; an event that may have been stored by then, and is refused for another reason,
      is failed.
    * *Given up*, with the server's text: 401, 403, 404 (no such database), and any other error in the request.
    * 413: halved.

    Example:
        >>> import httpx2, trio
        >>> from trio_batchmetrics import CacheMetric, collector
        >>> from trio_batchmetrics.sinks import InfluxDBSink
        >>> def answer(request):
        ...     print(request.url.raw_path.decode(), request.content.decode().strip())
        ...     return httpx2.Response(204)
        >>> async def main():
        ...     client = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
        ...     sink = InfluxDBSink("http://localhost:8086", database="metrics", client=client)
        ...     async with collector(sinks=[sink]) as metrics:
        ...         metrics.record(CacheMetric("redis", "hit", timestamp=1_000_000_000))
        >>> trio.run(main)
        /write?db=metrics&precision=ns cache.operations,cache.operation=hit,cache.type=redis value=1.0 1000000000
    """

    max_events: int | None = 5_000
    """InfluxDB's own recommendation for a batch (docs.influxdata.com, "Optimize writes")."""
    max_payload_bytes: int | None = 5_000_000
    """Half of the servers' smallest limit: InfluxDB 3 accepts 10 MB, 1.x 25 MB, VictoriaMetrics 32 MB."""

    def __init__(
        self,
        url: str,
        *,
        database: str | None = None,
        bucket: str | None = None,
        org: str | None = None,
        token: str | None = None,
        retention_policy: str | None = None,
        api: Literal[3] | None = None,
        dialect: Dialect | None = None,
        **settings: Unpack[EventSettings],
    ) -> None:
        """Create a sink for a database or a bucket. No network I/O here.

        Args:
            url: the server's base URL, such as ``http://localhost:8086``.
            database: a database of InfluxDB 1, by ``/write``, which InfluxDB 3 and VictoriaMetrics have, too.
            bucket: a bucket of InfluxDB 2, by ``/api/v2/write``; in InfluxDB 1.8, ``"database/retention policy"``.
            org: the bucket's organisation.
            token: sent as ``Token`` with a bucket (in InfluxDB 1.8, ``"user:password"``), else as ``Bearer``. User and
                password go into ``auth=``.
            retention_policy: the database's retention policy, if not its default.
            api: 3 to write to a database of InfluxDB 3 by ``/api/v3/write_lp``.
            dialect: ``"influxdb"`` (1 and 2), ``"influxdb3"`` or ``"victoriametrics"``: how the server reads a
                backslash. None to ask the server, if it ever matters.
            settings: connection and delivery settings.

        Raises:
            ConfigError: the settings contradict each other or are invalid; the message shows no credential.
            ImportError: httpx2 is not installed.
        """
        target = Target(database, bucket, org, token, retention_policy, api)
        super().__init__(url, target, dialect, settings)
        self._timestamps = Timestamps()
        self._last_partial_serial = -1
        """The last serial number in a write of which the server stored some lines; which ones is unknown."""
        self._start_writer()

    def bind(self, context: SinkContext) -> None:
        """Bind the sink to a collector's context."""
        super().bind(context)
        self._timestamps.begin_run()
        self._last_partial_serial = -1
        self._start_writer()

    def encode(self, events: Sequence[MetricEvent]) -> bytes:
        """Return the events' lines.

        Raises:
            ValueError: name and labels are too long together, or a timestamp is beyond 64 bits.
        """
        lines = self._writer.write(events)
        return DialectDependentLines(lines) if self._writer.dialect_dependent else lines

    async def send(self, payload: Payload[bytes]) -> Receipt | None:
        """Make one attempt."""
        parts: Sequence[bytes] = payload.parts
        refused: dict[int, str] = {}
        if any(isinstance(part, DialectDependentLines) for part in parts):
            unknown = self._dialect is None
            if (receipt := await self._detect_dialect()) is not None:
                return receipt
            if unknown and self._dialect is not None:
                self._start_writer()
            if self._dialect is not None and (unknown or self._dialect != "influxdb"):
                parts, refused = await self._encode_again(payload.events)
        body, events, serials = b"".join(parts), payload.events, payload.events.ids.serials
        if not refused:
            return await self._write(body, events, serials)
        left = [at for at in range(len(events)) if at not in refused]
        if not left:
            return Receipt(rejected=refused)
        receipt = await self._write(body, [events[at] for at in left], [serials[at] for at in left])
        rejected = refused | {left[at]: reason for at, reason in receipt.rejected.items()}
        retry = None if receipt.retry is None else [left[at] for at in receipt.retry]
        return attrs.evolve(receipt, rejected=rejected, retry=retry)

    async def _write(self, body: bytes, events: Sequence[MetricEvent], serials: Sequence[int]) -> Receipt:
        """Write lines, and distinguish the two refusals that may follow a partial write.

        A line that the server then refuses was not stored. Its event counts as rejected, so the engine must not regard
        it as in doubt. But an event that is then too large alone may be stored, and counts as failed. Events are sent
        in the order of their serial numbers, except those of partial writes. So the last serial number in a partial
        write shows which events may be stored. If one is wrongly assumed to be, it counts as failed, not as rejected.
        """
        receipt = await self._write_lines(body, events)
        if receipt.retry is not None or (receipt.in_doubt and receipt.rest == "split"):
            self._last_partial_serial = max(self._last_partial_serial, serials[-1])
        elif receipt.rest == "split" and len(serials) == 1 and serials[0] <= self._last_partial_serial:
            return attrs.evolve(receipt, rest="failed")
        return attrs.evolve(receipt, in_doubt=False) if receipt.rest == "split" else receipt

    def _start_writer(self) -> None:
        """Start a new writer for the dialect known now."""
        self._writer = LineWriter(
            self._dialect, self.context, self._timestamps, self._replacement_counter, self._tag_limits
        )

    async def _encode_again(self, events: Sequence[MetricEvent]) -> tuple[list[bytes], dict[int, str]]:
        """Encode a payload's events again; return their lines, and the events that the server would not accept."""
        parts: list[bytes] = []
        refused: dict[int, str] = {}
        for start in range(0, len(events), _CHUNK):
            if start:
                await trio.lowlevel.checkpoint()
            chunk = events[start : start + _CHUNK]
            try:
                parts.append(self._writer.write(chunk))
            except ValueError:
                for at in range(len(chunk)):
                    try:
                        parts.append(self._writer.write(chunk[at : at + 1]))
                    except ValueError as exc:
                        refused[start + at] = str(exc)
        return parts, refused
