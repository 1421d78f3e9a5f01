"""Cumulative series in line protocol over HTTP, to InfluxDB 1, 2 and 3 and to VictoriaMetrics."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, Unpack

from ..._http import SeriesSettings
from ...abc import MetricEvent, Payload, Receipt, SeriesSink, SeriesStore, SinkContext, in_steps, joined
from .identity import LineIdentity
from .limits import TagLimits
from .line_protocol import Dialect
from .series_lines import SeriesLines, SeriesPrefixes
from .server import InfluxDBServer
from .target import Target

__all__ = ["InfluxDBSeriesSink"]


class InfluxDBSeriesSink(InfluxDBServer, SeriesSink[bytes]):
    """Writes cumulative series to InfluxDB 1, 2 or 3, or to VictoriaMetrics, in line protocol.

    *Delivered* means contained in a write that the server answered with 2xx. Events are aggregated, and each write has
    every series, with the time of writing: fewer lines than :class:`InfluxDBSink` writes, and none for single events.

    The measurement is the instrument's name, the tags are the labels (static ones included). Counters and gauges have
    the field ``value``. Histograms have ``count``, ``sum`` and one field per bucket, named after its bound, with the
    number of values up to it, like Telegraf's. Texts are treated as by :class:`InfluxDBSink`.

    Series that the server cannot distinguish are one, added up; a gauge keeps the latest value. An event is rejected if
    its instrument has the name of another with a different kind or unit, or if its labels exceed the limits of the
    server: those of VictoriaMetrics (with ``dialect="victoriametrics"``, and while the dialect is unknown), or
    ``limits``.

    If the server refuses some lines and accepts others, exactly the events of the refused series are rejected, and
    these series are left out until they change. If it refuses a write as a whole, the sink repeats it with the series'
    state at that time. A sum that overflows a float is left out.
    """

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
        **settings: Unpack[SeriesSettings],
    ) -> None:
        """Create a sink for a database or a bucket. No network I/O here.

        Args:
            url: the server's base URL.
            database: as for :class:`InfluxDBSink`.
            bucket: as for :class:`InfluxDBSink`.
            org: the bucket's organisation.
            token: as for :class:`InfluxDBSink`.
            retention_policy: the database's retention policy, if not its default.
            api: 3 for ``/api/v3/write_lp``.
            dialect: as for :class:`InfluxDBSink`.
            settings: connection and delivery settings.

        Raises:
            ConfigError: the settings contradict each other or are invalid; the message shows no credential.
            ImportError: httpx2 is not installed.
        """
        target = Target(database, bucket, org, token, retention_policy, api)
        super().__init__(url, target, dialect, settings)
        self._now = 0
        self._start_writer()
        self._start_store()

    def bind(self, context: SinkContext) -> None:
        """Bind the sink to a collector's context, and start without series."""
        super().bind(context)
        self._start_writer()
        self._start_store()

    def _start_store(self) -> None:
        self._identity = LineIdentity(self._dialect, self._tag_limits)
        self._store = SeriesStore(self.context, identity=self._identity, observer=SeriesPrefixes())
        self.snapshot_store: SeriesStore | None = self._store

    @property
    def overflowed(self) -> Mapping[str, int]:
        """By instrument, the number of events that lost their labels to ``max_series``."""
        return self._store.overflowed

    def merge(self, events: Sequence[MetricEvent]) -> Mapping[int, str] | None:
        """Add events to the series; return the reasons for those that are refused, by position."""
        return self._store.merge(events)

    def snapshot(self) -> Iterator[bytes]:
        """Yield one line per series, several at a time, all with the same time: later than in any earlier snapshot."""
        self._now = max(time.time_ns(), self._now + 1)
        yield from self._lines.write(self._store.points(), self._now)

    async def send(self, payload: Payload[bytes]) -> Receipt | None:
        """Make one attempt."""
        parts: Sequence[bytes] = payload.parts
        if self._lines.dialect_dependent or self._identity.refused_in_doubt:
            if (receipt := await self._detect_dialect()) is not None:
                return receipt
            self._identity.tag_limits = TagLimits(self._dialect or "influxdb", self._limits, self._target.database)
            if self._identity.refused_in_doubt:
                self._identity.refused_in_doubt = False
                self._store.reconsider()
            if self._dialect is not None:
                self._start_writer()
                parts = await in_steps(self.snapshot())
        positions = self._lines.positions
        receipt = await self._write_lines(await joined(parts), range(len(positions)))
        rejected = {positions[at]: reason for at, reason in receipt.rejected.items()}
        if len(rejected) == len(positions):  # so the refusal isn't about single series
            rejected = {}
        match receipt.rest:
            case "delivered" if rejected or not receipt.rejected:
                return Receipt(rejected=rejected, error=receipt.error)
            case "split":
                return Receipt.split(rejected=rejected, error=receipt.error)
            case _:  # refused, or partly in doubt: the next push has everything
                return Receipt.retried(receipt.retry_after, rejected=rejected, error=receipt.error)

    def _start_writer(self) -> None:
        """Start a new writer for the dialect known now."""
        self._lines = SeriesLines(self._dialect, self.context, self._replacement_counter, self._tag_limits)
