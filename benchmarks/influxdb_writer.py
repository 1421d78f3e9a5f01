"""A process that writes to InfluxDB, and reports its CPU time.

``python -m benchmarks.influxdb_writer CLIENT URL DATABASE EVENTS`` prints the CPU seconds of the whole process, from
the first event until the last one is confirmed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from typing import Any

import trio

from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.sinks import InfluxDBSink

__all__ = ["CLIENTS"]

BATCH = 5_000
"""Points per request for both clients, as InfluxData recommends."""
SLICE = 100
"""Events recorded between two checkpoints, as in an application with other work."""


def requests(events: int) -> Iterator[tuple[str, str, int, float]]:
    """Yield the same requests for every client: some hundred series, durations with many digits."""
    for number in range(events):
        yield "GET", f"/api/items/{number % 97}", 200 if number % 13 else 503, (number % 1009) / 7


async def with_ours(url: str, database: str, events: int) -> None:
    """Write with this library."""
    sink = InfluxDBSink(url, bucket=f"{database}/autogen", max_events=BATCH)
    config = BatchMetricsConfig(batch_size=1_000, flush_interval=1, buffer_size=events)
    async with collector(config, sinks=[sink]) as metrics:
        for number, request in enumerate(requests(events), 1):
            metrics.record_http_request(*request)
            if number % SLICE == 0:
                await trio.lowlevel.checkpoint()
        report = await metrics.flush()
    assert report.ok  # noqa: S101 - lost events would make the figure meaningless
    assert metrics.stats().processed_events == events  # noqa: S101


def with_influxdb_client(url: str, database: str, events: int) -> None:
    """Write with influxdb-client's batching writer."""
    module: Any = import_module("influxdb_client")
    client = module.InfluxDBClient(url=url, token="", org="-")
    writer = client.write_api(write_options=module.WriteOptions(batch_size=BATCH, flush_interval=1_000))
    for method, path, status, duration in requests(events):
        writer.write(
            bucket=f"{database}/autogen",
            record=module.Point("http.server.request.duration")
            .tag("http.request.method", method)
            .tag("http.route", path)
            .tag("http.response.status_code", status)
            .field("value", duration)
            .time(time.time_ns()),
        )
    writer.close()
    client.close()


def ours(url: str, database: str, events: int) -> None:
    """Write with this library, in a Trio run."""
    trio.run(partial(with_ours, url, database, events))


CLIENTS = {"ours": ours, "influxdb-client": with_influxdb_client}
"""The clients."""


def main() -> None:
    """Write the events, and print the CPU seconds."""
    client, url, database, events = sys.argv[1:]
    for module in ("httpx2", "influxdb_client"):
        import_module(module)  # imported before the measurement: a process does this once
    start = time.process_time()
    CLIENTS[client](url, database, int(events))
    print(json.dumps(time.process_time() - start))


if __name__ == "__main__":
    main()
