"""Compares encoding events in InfluxDB's line protocol with influxdb-client's points, on equal data."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import trio

from trio_batchmetrics import Batch, BatchMetricsConfig, MetricEvent, collector
from trio_batchmetrics.abc import SinkContext
from trio_batchmetrics.sinks import InfluxDBSink

from .effort import Effort
from .figures import Outcome, ratio
from .series import requests
from .timing import Contender, compete, floor

__all__ = ["run"]

CHUNK = 500
"""The number of events that a sink gets at a time."""
CHUNKS = 10
"""The number of chunks per round, which takes about as long as the peer's round."""
POINT = (
    'Point("http.server.request.duration").tag("http.request.method", method).tag("http.route", path)'
    '.tag("http.response.status_code", status)'
)
STATIC = {"service.name": "gateway", "instance": "host-1:4711"}
"""Labels that nearly every deployment adds to distinguish its processes."""

Request = tuple[str, str, int, float]


class Chunks:
    """Batches of the same requests, recorded just before they are written, so that timestamps keep increasing."""

    def __init__(self, requests: Sequence[Request]) -> None:
        """Create an empty list of batches.

        Args:
            requests: the requests to record.
        """
        self.next: list[Batch] = []
        self._requests = requests

    async def refill(self) -> None:
        """Record the requests again."""

        async def keep(batch: Sequence[MetricEvent]) -> None:
            assert isinstance(batch, Batch)  # noqa: S101 - a function gets a batch
            self.next += [batch[start : start + CHUNK] for start in range(0, len(batch), CHUNK)]
            await trio.lowlevel.checkpoint()

        self.next.clear()
        async with collector(BatchMetricsConfig(batch_size=CHUNK * CHUNKS), sinks=[keep]) as metrics:
            for _ in range(CHUNKS):
                for request in self._requests:
                    metrics.record_http_request(*request)


async def _alongside_a_peer(
    name: str, sample: list[Request], static: dict[str, str], effort: Effort, target: float | None = 0.04
) -> Outcome:
    client: Any = import_module("influxdb_client")
    sink = InfluxDBSink("http://localhost:8086", database="d")
    sink.bind(SinkContext(static_labels=static))
    chunks = Chunks(sample)
    await chunks.refill()
    tags = "".join(f'.tag("{label}", "{text}")' for label, text in static.items())
    point = f'{POINT}{tags}.field("value", duration).time(now + number).to_line_protocol()'
    now = chunks.next[0][0].timestamp
    contenders = [
        floor(calls=CHUNK),
        Contender(
            "ours",
            "sink.encode(batch)",
            {"sink": sink, "batches": chunks.next},
            calls=CHUNK * CHUNKS,
            loop="for batch in batches",
            after=chunks.refill,
            client="ours, each of 500 events",
        ),
        Contender(
            "theirs",
            point,
            {"Point": client.Point, "sample": sample, "now": now},
            calls=CHUNK,
            loop="for number, (method, path, status, duration) in enumerate(sample)",
            client="influxdb-client, a point as a line",
        ),
    ]
    rounds = await compete(contenders, effort.seconds / 2)
    text = f"an event as a line of line protocol, {name} ÷ influxdb-client's `Point(…)…to_line_protocol()`"
    return Outcome([ratio(text, rounds["ours"], rounds["theirs"], target)], rounds.costs())


async def _run(effort: Effort) -> Outcome:
    sample = requests(CHUNK)
    rounded = [(method, path, status, round(duration, 3)) for method, path, status, duration in sample]
    short = await _alongside_a_peer("3 labels and 2 static ones, milliseconds", rounded, STATIC, effort)
    exact = await _alongside_a_peer("3 labels and 2 static ones, all 17 digits", sample, STATIC, effort)
    bare = await _alongside_a_peer("3 labels and no more, all 17 digits", sample, {}, effort, None)
    return Outcome([*short.figures, *exact.figures, *bare.figures], short.costs)


def run(effort: Effort) -> Outcome:
    """Run the benchmark."""
    return trio.run(_run, effort)
