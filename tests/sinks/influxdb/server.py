"""A server that reads line protocol with the tests' own parser, and the responses that real servers give."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import httpx2
import trio

from tests.sinks.contract import Arrived
from tests.sinks.line_parsers import PARSERS, Line
from trio_batchmetrics import Batch, Gauge, MetricEvent
from trio_batchmetrics.abc import Payload, Receipt
from trio_batchmetrics.sinks._influxdb.sink import InfluxDBSink

__all__ = [
    "CONFLICT",
    "DATABASE",
    "HOSTILE",
    "KINDS",
    "LINES",
    "LOST",
    "OCCURRED",
    "URL",
    "FakeServer",
    "arrived",
    "error",
    "error2",
    "events",
    "numbered",
    "outside",
    "receipt",
    "unparsed",
]

URL = "http://influx.example:8086"
LOST = "\ufffd"


class FakeServer:
    """Keeps the lines that it receives, read by the tests' own parser; gives scripted responses."""

    pings: int

    def __init__(
        self, *answers: httpx2.Response, dialect: str = "influxdb", ping: httpx2.Response | None = None
    ) -> None:
        self.answers = list(answers)
        self.dialect = dialect
        self.requests: list[httpx2.Request] = []
        self.bodies: list[str] = []
        self.stored: list[Line] = []
        self.hang = False
        self.pings = 0
        headers = {"influxdb": ("X-Influxdb-Version", "1.8.3"), "influxdb3": ("X-Influxdb-Version", "3.1.0")}
        header = headers.get(dialect, ("X-Server-Hostname", "vm"))
        self.ping = ping or httpx2.Response(204, headers=dict([header]))
        self.client = httpx2.AsyncClient(transport=httpx2.MockTransport(self.answer))

    async def answer(self, request: httpx2.Request) -> httpx2.Response:
        """Give the next scripted response, or 204."""
        await trio.lowlevel.checkpoint()
        if self.hang:
            await trio.sleep_forever()
        if request.url.path.endswith("/ping"):
            self.pings += 1
            return self.ping
        self.requests.append(request)
        body = request.content.decode()
        self.bodies.append(body)
        answer = self.answers.pop(0) if self.answers else httpx2.Response(204)
        if answer.status_code < 300:
            self.stored += PARSERS[self.dialect](body)
        return answer

    def sink(self, **settings: Any) -> InfluxDBSink:
        """Create a sink for this server."""
        given: dict[str, Any] = {"database": "db", "client": self.client, **settings}
        return InfluxDBSink(URL, **given)

    def values(self) -> list[float]:
        """Return the stored values."""
        return [line.fields["value"] for line in self.stored]


KINDS = {
    "http.server.request.duration": ("HttpRequest", "duration"),
    "backend.request.duration": ("BackendRequest", "latency"),
    "backend.health": ("HealthCheck", "healthy"),
    "backend.health_check.duration": ("HealthCheck", "duration"),
    "cache.operations": ("CacheMetric", None),
    "gen_ai.client.tokens": ("LLMCall", "tokens"),
    "gen_ai.client.operation.duration": ("LLMCall", "seconds"),
    "llm.calls": ("LLMCall", None),
    **dict.fromkeys(["contract", "jobs"], ("Counter", "value")),
    "response_time": ("Histogram", "value"),
}
"""By measurement: the kind of event and its field; in these tests, all other names belong to gauges."""


def arrived(lines: Iterable[Line]) -> list[Arrived]:
    """Turn lines back into events: consecutive lines of one event become one."""
    found: list[Arrived] = []
    for line in lines:
        kind, field = KINDS.get(line.measurement, ("Gauge", "value"))
        name = line.measurement if kind in ("Counter", "Gauge", "Histogram") else None
        fields: dict[str, Any] = {} if field is None else {field: line.fields.get("value")}
        if "sum" in line.fields:
            kind, name = "HistogramPoint", line.measurement
            upto = [0.0, *(value for bound, value in line.fields.items() if bound not in ("count", "sum"))]
            counts = [after - before for before, after in pairwise(upto)]
            bounds = [float(bound) for bound in line.fields if bound not in ("count", "sum", "+Inf")]
            fields = {"count": line.fields["count"], "sum": line.fields["sum"], "bounds": bounds, "counts": counts}
        same = found and found[-1].kind == kind and name is None and not fields.keys() & found[-1].fields.keys()
        if same and found[-1].labels == line.tags and found[-1].timestamp == line.timestamp:
            found[-1].fields.update(fields)
        else:
            found.append(Arrived(kind, name, line.tags, fields, line.timestamp))
    return found


def error(status: int, text: str, **more: Any) -> httpx2.Response:
    """Respond as InfluxDB 1 and 3 do."""
    return httpx2.Response(status, json={"error": text, **more})


def error2(status: int, text: str) -> httpx2.Response:
    """Respond as InfluxDB 2 does."""
    return httpx2.Response(status, json={"code": "invalid", "message": text})


def events(numbers: Iterable[int], name: str = "m") -> list[MetricEvent]:
    """Return a gauge for each number."""
    return [Gauge(name, {}, number, timestamp=1000 + number) for number in numbers]


async def receipt(
    answers: httpx2.Response | Sequence[httpx2.Response],
    payload: Sequence[MetricEvent],
    server: FakeServer | None = None,
) -> Receipt:
    """Send a payload to a server that gives these responses, and then 204."""
    server = server or FakeServer()
    server.answers += [answers] if isinstance(answers, httpx2.Response) else answers
    sink = server.sink()
    found = await sink.send(Payload(Batch(payload), (sink.encode(payload),), "key"))
    assert found is not None
    return found


LINES = ["m value=0.0 1000", "m value=1.0 1001", "m value=2.0 1002", "m value=3.0 1003"]
"""The lines of four events."""

CONFLICT = (
    'partial write: field type conflict: input field "value" on measurement "{}" is type float, '
    "already exists as type integer dropped={}"
)


def unparsed(*numbers: int) -> str:
    """Return the message that lines cannot be parsed."""
    return "\n".join(f"unable to parse '{LINES[number]}': invalid number" for number in numbers)


DATABASE = " for database: d for retention policy: autogen"
"""The suffix that 1.13 adds to each refusal, and 2.7 to some."""


def outside(count: int, oldest: str = "Retention Policy Lower", newest: str = "Retention Policy Lower") -> str:
    """Return the message of 1.13 and 2.7 that points are too old or too new."""
    return (
        f"partial write: dropped {count} points outside retention policy of duration 1h0m0s - oldest point m at "
        f"2026-11-27T23:01:28.79289233Z dropped because it violates a {oldest} Bound at 2026-11-28T01:01:28.92203241Z, "
        f"newest point m at 2026-11-28T00:01:28.79289233Z dropped because it violates a {newest} Bound at "
        f"2026-11-28T01:01:28.922032418Z dropped={count}{DATABASE}"
    )


OCCURRED = "partial write of line protocol occurred"


def numbered(number: object, message: str = "bad") -> dict[str, Any]:
    """Return what InfluxDB 3 reports about a line."""
    return {"original_line": "m value", "line_number": number, "error_message": message}


HOSTILE = {"a": "x\\, y", "b\\": "tail\\", "c": "\\\\"}
