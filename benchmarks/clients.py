"""Times one call of each client that records the duration of a request."""

from __future__ import annotations

from functools import partial

import trio

from trio_batchmetrics import collector

from .effort import Effort
from .figures import Outcome, ratio
from .peers import dogstatsd, influx, opentelemetry, prometheus, statsd_pipeline
from .recording import CALL, ROOM, check_accepted
from .timing import Contender, compete, floor

__all__ = ["run"]


async def _in_memory(effort: Effort) -> Outcome:
    """Time clients that aggregate in place and send nothing meanwhile."""
    client = prometheus()
    attributes = {"http.request.method": "GET", "http.route": "/api/data", "http.response.status_code": 200}
    async with collector(ROOM, sinks=[]) as metrics:
        with opentelemetry() as histogram:
            rounds = await compete(
                [
                    floor(),
                    Contender("ours", CALL, {"metrics": metrics}, after=metrics.flush),
                    Contender("inc", "child.inc()", {"child": client.counter_child}, client="prometheus_client"),
                    Contender(
                        "observe",
                        'histogram.labels("GET", "/api/data", 200).observe(0.15)',
                        {"histogram": client.histogram},
                        client="prometheus_client",
                    ),
                    Contender(
                        "record",
                        "histogram.record(0.15, attributes)",
                        {"histogram": histogram, "attributes": attributes},
                        calls=200,
                        client="opentelemetry-sdk",
                    ),
                ],
                effort.seconds,
            )
        check_accepted(metrics)
    ours, name = rounds["ours"], "`record_http_request(…)`"
    figures = [
        ratio(f"{name} ÷ prometheus_client's pre-bound `child.inc()`", ours, rounds["inc"], 0.65),
        ratio(f"{name} ÷ prometheus_client's `histogram.labels(…).observe(v)`", ours, rounds["observe"], 0.125),
        ratio(f"{name} ÷ OpenTelemetry's `histogram.record(v, attributes)`", ours, rounds["record"], 0.04),
    ]
    return Outcome(figures, rounds.costs())


async def _sending(effort: Effort) -> Outcome:
    """Time clients that buffer, while their task or thread sends to sockets of this process."""
    tags = ["method:GET", "path:/api/data", "status:200"]
    point = 'point("http").tag("method", "GET").tag("path", "/api/data").tag("status", 200).field("duration", 0.15)'
    with statsd_pipeline() as pipeline, dogstatsd() as statsd, influx() as influxdb:
        written = partial(influxdb.wait_arrived, 100)
        names = {"writer": influxdb.writer, "point": influxdb.point}
        names["line"] = "http,method=GET,path=/api/data,status=200 duration=0.15"
        contenders = [
            floor(),
            Contender(
                "statsd", 'pipeline.incr("requests")', {"pipeline": pipeline}, after=pipeline.send, client="statsd"
            ),
            Contender(
                "datadog",
                'statsd.increment("requests", tags=tags)',
                {"statsd": statsd, "tags": tags},
                calls=500,
                client="datadog",
            ),
            Contender(
                "line",
                'writer.write(bucket="b", record=line)',
                names,
                calls=100,
                after=written,
                client="influxdb-client, a line",
            ),
            Contender(
                "point",
                f'writer.write(bucket="b", record={point})',
                names,
                calls=100,
                after=written,
                client="influxdb-client, a point",
            ),
        ]
        rounds = await compete(contenders, effort.seconds)
    return Outcome(costs=rounds.costs())


def run(effort: Effort) -> Outcome:
    """Run the benchmark."""
    memory, sending = trio.run(_in_memory, effort), trio.run(_sending, effort)
    return Outcome(memory.figures, [*memory.costs, *sending.costs])
