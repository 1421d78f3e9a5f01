"""Times the encoding of mixed events by sinks that store them, and by a user's own sink."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import trio

from examples.csv_sink import CSVSink
from trio_batchmetrics import Batch, BatchMetricsCollector, BatchMetricsConfig, MetricEvent, collector
from trio_batchmetrics.abc import SinkContext
from trio_batchmetrics.sinks import ElasticsearchSink, InfluxDBSink, JSONLinesSink, SQLiteSink

from .effort import Effort
from .figures import Figure, Outcome, ratio
from .recording import check_accepted
from .series import requests
from .timing import Contender, compete

__all__ = ["EVENTS", "http", "mixed", "run"]

EVENTS = 2000
"""The number of events encoded per round."""

CHUNK = 500
"""The maximum number of events that a sink gets at a time."""


def http(metrics: BatchMetricsCollector) -> None:
    """Record events of one kind."""
    for request in requests(EVENTS):
        metrics.record_http_request(*request)


def mixed(metrics: BatchMetricsCollector) -> None:
    """Record events of four kinds in turn."""
    for number, (method, path, status, duration) in enumerate(requests(EVENTS)):
        match number % 5:
            case 0 | 1:
                metrics.record_http_request(method, path, status, duration)
            case 2:
                metrics.record_backend_request("openai", "gpt-4", status == 200, duration)
            case 3:
                metrics.record_cache_metric("redis", "hit" if status == 200 else "miss")
            case _:
                metrics.record_counter("jobs", {"queue": path, "status": status}, 1)


class _Chunks:
    """The chunks for a sink to encode. They are recorded again before each round, so that timestamps increase."""

    def __init__(self, record: Callable[[BatchMetricsCollector], None]) -> None:
        self.next: list[Batch] = []
        self._record = record

    async def refill(self) -> None:
        async def keep(batch: Sequence[MetricEvent]) -> None:
            assert isinstance(batch, Batch)  # noqa: S101 - a function gets a batch
            self.next += [batch[start : start + CHUNK] for start in range(0, len(batch), CHUNK)]
            await trio.lowlevel.checkpoint()

        self.next.clear()
        async with collector(BatchMetricsConfig(batch_size=CHUNK, buffer_size=EVENTS), sinks=[keep]) as metrics:
            self._record(metrics)
            await metrics.flush()
            check_accepted(metrics)


async def _encoding_rounds(sinks: _Sinks, seconds: float) -> Any:
    contenders: list[Contender] = []
    for name, (sink, record) in sinks.items():
        chunks = _Chunks(record)
        await chunks.refill()
        sink.bind(SinkContext(run_id="0" * 32))
        names = {"encode": sink.encode, "chunks": chunks.next}
        loop = "for chunk in chunks"
        contenders.append(Contender(name, "encode(chunk)", names, calls=EVENTS, loop=loop, after=chunks.refill))
    return await compete(contenders, seconds)


@contextmanager
def _without_msgspec() -> Generator[None]:
    numbers: Any = import_module("trio_batchmetrics._events.numbers")  # as if msgspec weren't installed
    encode, numbers._encode = numbers._encode, None
    try:
        yield
    finally:
        numbers._encode = encode


_Sinks = dict[str, tuple[Any, Callable[[BatchMetricsCollector], None]]]


def _json_sinks() -> _Sinks:
    return {"SQLite": (SQLiteSink("unused.sqlite3"), mixed), "JSON lines": (JSONLinesSink("unused.jsonl"), mixed)}


def _mixed_and_uniform(make: Callable[[], Any]) -> _Sinks:
    return {"mixed": (make(), mixed), "one kind": (make(), http)}


async def _run(effort: Effort) -> Outcome:
    rounds = await _encoding_rounds(_json_sinks() | {"CSV": (CSVSink("unused.csv"), mixed)}, effort.seconds / 3)
    # Each pair runs by itself: among other sinks, the second of a pair would find the first one's code in the cache.
    lines = await _encoding_rounds(
        _mixed_and_uniform(lambda: InfluxDBSink("http://localhost:8086", database="d")), effort.seconds / 3
    )
    documents = await _encoding_rounds(
        _mixed_and_uniform(lambda: ElasticsearchSink("http://localhost:9200", index="metrics")), effort.seconds / 3
    )
    with _without_msgspec():
        without = await _encoding_rounds(_json_sinks(), effort.seconds / 3)
    targets = {"SQLite": (700, 900), "JSON lines": (900, 1300)}
    figures = [
        Figure(f"{name}: an event of mixed kinds encoded, ns{words}", min(found[name]), "", limits[at])
        for name, limits in targets.items()
        for at, (words, found) in enumerate((("", rounds), (" (without msgspec)", without)))
    ]
    figures += [
        ratio("line protocol, an event of mixed kinds ÷ of one kind", lines["mixed"], lines["one kind"], 1.15),
        ratio("NDJSON, an event of mixed kinds ÷ of one kind", documents["mixed"], documents["one kind"], 1.1),
        ratio("a user's own sink that writes CSV ÷ the JSON lines sink", rounds["CSV"], rounds["JSON lines"], 1.2),
    ]
    return Outcome(figures)


def run(effort: Effort) -> Outcome:
    """Run the benchmark."""
    return trio.run(_run, effort)
