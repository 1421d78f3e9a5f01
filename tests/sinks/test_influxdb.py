"""The InfluxDB sinks: what they ask of a server, and what each of its answers means for each event."""

import json
import logging
from collections import Counter as Count
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import httpx2
import pytest
import trio

from tests.helpers import balanced
from tests.sinks.contract import (
    AWKWARD,
    SAMPLES,
    TIMESTAMP,
    Arrived,
    EventSinkCase,
    EventSinkContract,
    SeriesSinkCase,
    SeriesSinkContract,
    account_of,
    ids,
    record,
)
from tests.sinks.line_parsers import PARSERS, Line
from trio_batchmetrics import (
    Batch,
    BatchMetricsConfig,
    CacheMetric,
    Counter,
    Gauge,
    HealthCheck,
    HistogramPoint,
    MetricEvent,
    collector,
    label,
    metric_event,
)
from trio_batchmetrics._http import Response
from trio_batchmetrics.abc import Payload, Receipt, SinkContext
from trio_batchmetrics.sinks._influxdb.responses import receipt_for
from trio_batchmetrics.sinks._influxdb.series_sink import InfluxDBSeriesSink
from trio_batchmetrics.sinks._influxdb.sink import InfluxDBSink
from trio_batchmetrics.sinks._influxdb.timestamps import Timestamps

URL = "http://influx.example:8086"
LOST = "\ufffd"


@metric_event
class Nothing(MetricEvent):
    """Has a label, and measures nothing."""

    a: str = label("a")


class FakeServer:
    """Keeps the lines that it is sent, read by a parser of the tests' own; answers as it is told."""

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
        """Answer as told, else 204."""
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
        """Make a sink for it."""
        given: dict[str, Any] = {"database": "db", "client": self.client, **settings}
        return InfluxDBSink(URL, **given)

    def values(self) -> list[float]:
        """Return the values that are stored."""
        return [line.fields["value"] for line in self.stored]


# --------------------------------------------------------------------------------------------------- the contract

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
"""By measurement: which event it comes of, and which of its fields; other names are gauges' here."""


def arrived(lines: Iterable[Line]) -> list[Arrived]:
    """Make events of lines again: several lines of one, one behind the other, become one."""
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


class InfluxDBCase(EventSinkCase):
    """A fake server that parses what it is sent."""

    name = "influxdb"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.server = FakeServer()

    def make(self, **settings: Any) -> InfluxDBSink:
        """Make it."""
        return self.server.sink(**settings)

    def arrived(self) -> list[Arrived]:
        """Read it back."""
        return arrived(self.server.stored)


@pytest.fixture
def case(tmp_path: Path) -> EventSinkCase:
    """Give the sink."""
    return InfluxDBCase(tmp_path)


class TestInfluxDB(EventSinkContract):
    """The contract, but for texts that line protocol cannot carry."""

    async def test_awkward_text_arrives_as_it_is(self, case: EventSinkCase) -> None:
        """But newlines, a backslash at the end, and empty texts, which are left out."""
        async with collector(sinks=[case.make()]) as metrics:
            metrics.record_gauge("all", AWKWARD, 1)
            for value in AWKWARD.values():
                metrics.record_gauge(value or "-", {value: value}, 1)
        assert account_of(metrics.stats(), case).delivered == 1 + len(AWKWARD)
        carried = {
            **{name: text for name, text in AWKWARD.items() if text},
            "backslashes": f"\\ \\n \\u0000 C:{LOST}",
            "newlines": f"one{LOST}two\r{LOST}three\u2028four\x85five",
        }
        # A backslash before a space, beside a quote: InfluxDB would misread the lines behind.
        together = {**carried, "backslashes": f"{LOST} \\n \\u0000 C:{LOST}"}
        expected: list[tuple[str | None, dict[str, str]]] = [("all", together)]
        for key in AWKWARD:
            if not AWKWARD[key]:
                expected.append(("-", {}))
                continue
            name = carried[key].replace("\\ ", f"{LOST} ").replace("\0", LOST, carried[key].startswith("\0"))
            expected.append((name, {carried[key]: carried[key]}))
        assert [(event.name, event.labels) for event in case.arrived()] == expected


class InfluxDBSeriesCase(SeriesSinkCase):
    """A fake server that parses what it is sent."""

    name = "influxdbseries"

    def make(self, *, fail: int = 0, hang: bool = False, **settings: Any) -> InfluxDBSeriesSink:
        """Make it."""
        self.server = FakeServer(*[httpx2.Response(503) for _ in range(fail)])
        self.server.hang = hang
        return InfluxDBSeriesSink(URL, database="db", client=self.server.client, **settings)

    def sums(self) -> dict[str, float]:
        """Read the latest points."""
        latest = max((line.timestamp for line in self.server.stored), default=0)
        sums = dict[str, float]()
        for line in self.server.stored:
            if line.timestamp == latest and "value" in line.fields:
                sums[line.measurement] = sums.get(line.measurement, 0.0) + line.fields["value"]
        return sums


@pytest.fixture
def series(tmp_path: Path) -> SeriesSinkCase:
    """Give the sink."""
    return InfluxDBSeriesCase(tmp_path)


class TestInfluxDBSeries(SeriesSinkContract):
    """The contract."""


# ------------------------------------------------------------------------------------------------------- requests


@pytest.mark.parametrize(
    ("settings", "path", "authorization"),
    [
        ({"database": "d b"}, "/write?db=d%20b&precision=ns", None),
        ({"database": "d", "retention_policy": "r"}, "/write?db=d&precision=ns&rp=r", None),
        ({"database": "d", "token": "secret"}, "/write?db=d&precision=ns", "Bearer secret"),
        ({"database": "d", "auth": ("user", "password")}, "/write?db=d&precision=ns", "Basic dXNlcjpwYXNzd29yZA=="),
        ({"bucket": "b/r", "token": "secret"}, "/api/v2/write?bucket=b%2Fr&precision=ns", "Token secret"),
        ({"bucket": "b", "org": "o"}, "/api/v2/write?bucket=b&org=o&precision=ns", None),
        (
            {"database": "d", "api": 3, "token": "secret"},
            "/api/v3/write_lp?db=d&precision=nanosecond&accept_partial=true",
            "Bearer secret",
        ),
        (
            {"bucket": "b", "token": "x", "headers": {"authorization": "own"}},
            "/api/v2/write?bucket=b&precision=ns",
            "own",
        ),
    ],
)
@pytest.mark.parametrize("kind", [InfluxDBSink, InfluxDBSeriesSink])
async def test_a_write_goes_where_it_should(
    kind: Callable[..., InfluxDBSink], settings: dict[str, Any], path: str, authorization: str | None
) -> None:
    """With the credentials in a header, never in the URL."""
    server = FakeServer()
    async with collector(sinks=[kind(f"{URL}/base/", client=server.client, **settings)]) as metrics:
        metrics.record_counter("c", {}, 2)
    [request] = server.requests
    assert request.method == "POST"
    assert request.url.raw_path.decode().replace("+", "%20") == f"/base{path}"
    assert request.headers.get("authorization") == authorization
    assert request.headers["content-type"] == "text/plain; charset=utf-8"
    assert server.values() == [2.0]
    assert server.pings == 0


@pytest.mark.parametrize("kind", [InfluxDBSink, InfluxDBSeriesSink])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "database or bucket must be given, and only one"),
        ({"database": "d", "bucket": "b"}, "database or bucket must be given, and only one"),
        ({"database": ""}, "database must be a str that is not empty"),
        ({"bucket": 7}, r"bucket must be a str that is not empty \(got 7\)"),
        ({"bucket": "b", "org": ""}, "org must be"),
        ({"database": "d", "token": ""}, r"token must be a str that is not empty \(got something else\)"),
        ({"database": "d", "api": 2}, r"api must be None or 3 \(got 2\)"),
        ({"bucket": "b", "api": 3}, "api=3 and retention_policy go with a database"),
        ({"bucket": "b", "retention_policy": "r"}, "api=3 and retention_policy go with a database"),
        ({"database": "d", "api": 3, "retention_policy": "r"}, "retention_policy belongs to InfluxDB 1"),
        ({"database": "d", "org": "o"}, "org goes with a bucket"),
        (
            {"database": "d", "dialect": "graphite"},
            r"dialect must be one of influxdb, influxdb3, .* \(got 'graphite'\)",
        ),
        ({"database": "d", "token": "t", "auth": ("u", "p")}, "token and user and password are both given"),
        ({"database": "d", "timeout": 0}, "timeout must be a finite number of seconds > 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    kind: Callable[..., InfluxDBSink], settings: dict[str, Any], message: str
) -> None:
    """When the sink is made."""
    with pytest.raises(ValueError, match=message):
        kind(URL, **settings)


def test_credentials_in_the_url_and_a_token_are_too_many() -> None:
    """And the message shows neither."""
    with pytest.raises(ValueError, match=r"^token and user and password are both given$"):
        InfluxDBSink("http://user:hunter22@influx.example", bucket="b", token="secret")


def test_limits_are_documented_ones() -> None:
    """Or those that are given."""
    sink = InfluxDBSink(URL, database="d")
    assert (sink.max_events, sink.max_payload_bytes) == (5_000, 5_000_000)
    sink = InfluxDBSink(URL, database="d", max_events=7, max_payload_bytes=8)
    assert (sink.max_events, sink.max_payload_bytes) == (7, 8)


@pytest.mark.parametrize("status", [401, 400, 503])
async def test_no_credential_is_shown(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """In a repr, a log or an error, though the server says it."""
    caplog.set_level(logging.DEBUG, logger="trio_batchmetrics")
    words = "no such token: hunter22"
    answers = [httpx2.Response(status, json={"error": words}) for _ in range(20)]
    server = FakeServer(*answers)
    sinks = [
        InfluxDBSink(URL, bucket="b", token="hunter22", client=server.client, name="a", backoff=0.001),
        InfluxDBSink("http://u:hunter22@x", database="b", client=server.client, name="b", backoff=0.001),
        InfluxDBSeriesSink(URL, database="d", token="hunter22", client=server.client, name="c", backoff=0.001),
    ]
    async with collector(BatchMetricsConfig(shutdown_timeout=0.05), sinks=sinks) as metrics:
        metrics.record_counter("c\n", {"a": "\\"}, 2)
    shown = [repr(sinks), repr(metrics.stats()), caplog.text, *(repr(vars(sink)["_target"]) for sink in sinks)]
    assert "hunter" not in "".join(shown)
    assert repr(sinks[0]) == "<InfluxDBSink influx.example:8086>"
    assert "HTTP" in str(metrics.stats().sinks["a"].last_error)


# -------------------------------------------------------------------------------------------------------- answers


def error(status: int, text: str, **more: Any) -> httpx2.Response:
    """Answer as InfluxDB 1 and 3 do."""
    return httpx2.Response(status, json={"error": text, **more})


def error2(status: int, text: str) -> httpx2.Response:
    """Answer as InfluxDB 2 does."""
    return httpx2.Response(status, json={"code": "invalid", "message": text})


def events(numbers: Iterable[int], name: str = "m") -> list[MetricEvent]:
    """Make a gauge of each number."""
    return [Gauge(name, {}, number, timestamp=1000 + number) for number in numbers]


async def receipt(
    answers: httpx2.Response | Sequence[httpx2.Response],
    payload: Sequence[MetricEvent],
    server: FakeServer | None = None,
) -> Receipt:
    """Send a payload to a server that answers so, and then with 204."""
    server = server or FakeServer()
    server.answers += [answers] if isinstance(answers, httpx2.Response) else answers
    sink = server.sink()
    found = await sink.send(Payload(Batch(payload), (sink.encode(payload),), "key"))
    assert found is not None
    return found


LINES = ["m value=0.0 1000", "m value=1.0 1001", "m value=2.0 1002", "m value=3.0 1003"]
"""What four events become."""

CONFLICT = (
    'partial write: field type conflict: input field "value" on measurement "{}" is type float, '
    "already exists as type integer dropped={}"
)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (httpx2.Response(204), Receipt()),
        (httpx2.Response(200), Receipt()),
        # The request as a whole.
        (error(400, "database is required"), Receipt(error='HTTP 400: {"error":"database is required"}')),
        (error(404, 'database not found: "x"'), Receipt(error='HTTP 404: {"error":"database not found: \\"x\\""}')),
        (error(401, "authorization failed"), Receipt(error='HTTP 401: {"error":"authorization failed"}')),
        (error(403, "no"), Receipt(error='HTTP 403: {"error":"no"}')),
        (error2(404, "bucket not found"), Receipt(error='HTTP 404: {"code":"invalid","message":"bucket not found"}')),
        (httpx2.Response(405, text="no"), Receipt(error="HTTP 405: no")),
        (httpx2.Response(400), Receipt(error="HTTP 400")),
        (httpx2.Response(400, json=["odd"]), Receipt(error='HTTP 400: ["odd"]')),
        (error(400, "bad org", data={}), Receipt(error='HTTP 400: {"error":"bad org","data":{}}')),
        (error(400, "bad", data=["odd"]), Receipt(error='HTTP 400: {"error":"bad","data":["odd"]}')),
        # To be tried again.
        (
            httpx2.Response(503, text="request throttled, queue full"),
            Receipt(retry=True, error="HTTP 503: request throttled, queue full"),
        ),
        (httpx2.Response(429, headers={"Retry-After": "7"}), Receipt(retry=True, retry_after=7, error="HTTP 429")),
        (
            error(500, "partial write: x dropped=2"),
            Receipt(retry=True, uncertain=True, error='HTTP 500: {"error":"partial write: x dropped=2"}'),
        ),
        # Too large.
        (
            error(413, "Request Entity Too Large"),
            Receipt(too_large=True, error='HTTP 413: {"error":"Request Entity Too Large"}'),
        ),
        (
            httpx2.Response(400, text="too big unpacked request; mustn't exceed 1000 bytes; got 1318 bytes"),
            Receipt(
                too_large=True, error="HTTP 400: too big unpacked request; mustn't exceed 1000 bytes; got 1318 bytes"
            ),
        ),
    ],
)
async def test_answers_about_the_whole_request(answer: httpx2.Response, expected: Receipt) -> None:
    """Delivered, given up, tried again, halved."""
    assert await receipt(answer, events(range(4))) == expected


def unparsed(*numbers: int) -> str:
    """Say that lines cannot be parsed."""
    return "\n".join(f"unable to parse '{LINES[number]}': invalid number" for number in numbers)


DATABASE = " for database: d for retention policy: autogen"
"""What 1.13 adds to each refusal, and 2.7 to some."""


def outside(count: int, oldest: str = "Retention Policy Lower", newest: str = "Retention Policy Lower") -> str:
    """Say as 1.13 and 2.7 do that points are too old, or too new."""
    return (
        f"partial write: dropped {count} points outside retention policy of duration 1h0m0s - oldest point m at "
        f"2026-11-27T23:01:28.79289233Z dropped because it violates a {oldest} Bound at 2026-11-28T01:01:28.92203241Z, "
        f"newest point m at 2026-11-28T00:01:28.79289233Z dropped because it violates a {newest} Bound at "
        f"2026-11-28T01:01:28.922032418Z dropped={count}{DATABASE}"
    )


INVALID = "unable to parse: invalid number"
RETENTION = "partial write: points beyond retention policy"
FULL = "partial write: max-series-per-database limit exceeded: (10)"
OCCURRED = "partial write of line protocol occurred"


def numbered(number: object, message: str = "bad") -> dict[str, Any]:
    """Say what InfluxDB 3 says of a line."""
    return {"original_line": "m value", "line_number": number, "error_message": message}


@pytest.mark.parametrize(
    ("answer", "rejected", "again"),
    [
        (error(400, f"partial write: {unparsed(1)} dropped=0"), {1: INVALID}, False),
        (error(400, f"partial write: {unparsed(0, 3)} dropped=0"), {0: INVALID, 3: INVALID}, False),
        (error(400, unparsed(0, 1, 2, 3)), dict.fromkeys(range(4), INVALID), True),
        (error2(400, unparsed(2)), {2: INVALID}, True),
        (error(400, f"{RETENTION} dropped=2"), {0: RETENTION, 1: RETENTION}, False),
        (error(400, f"{FULL} dropped=4"), dict.fromkeys(range(4), FULL), False),
        (error(400, OCCURRED, data=[numbered(2), numbered(4, "worse")]), {1: "bad", 3: "worse"}, False),
        (error(400, "parsing failed for write_lp endpoint", data=numbered(1)), {0: "bad"}, True),
    ],
)
async def test_events_that_the_server_names_are_rejected(
    answer: httpx2.Response, rejected: dict[int, str], again: bool
) -> None:
    """Those and no others; the others are sent again, at once, where it may have stored none."""
    server = FakeServer()
    found = await receipt(answer, events(range(4)), server)
    assert (found.rejected, found.retry, found.too_large) == (rejected, False, False)
    left = [line for number, line in enumerate(LINES) if number not in rejected]
    assert [body.splitlines() for body in server.bodies] == [LINES, *([left] if again and left else [])]


@pytest.mark.parametrize("status", [400, 422])
async def test_a_type_conflict_rejects_the_measurements_events(status: int) -> None:
    """And the others are sent again, since one refusal hides another: until there is none."""
    server = FakeServer()
    payload = [*events(range(2), "other"), *events(range(2, 4), 'a, b"c=d'), *events([4]), *events([5, 6], "late")]
    texts = [CONFLICT.format('a, b"c=d', 2), CONFLICT.format("other", 2)]
    found = await receipt([error(status, text) for text in texts], payload, server)
    assert (set(found.rejected), found.retry) == ({0, 1, 2, 3}, False)
    assert found.rejected[2] == texts[0].removesuffix(" dropped=2")[:300]
    assert [len(body.splitlines()) for body in server.bodies] == [7, 5, 3]
    assert server.values() == [4, 5, 6]


@pytest.mark.parametrize(
    ("last", "rejected", "retry"),
    [
        (httpx2.Response(204), {0, 1}, False),
        (httpx2.Response(503), {0, 1}, True),
        (httpx2.Response(401), {0, 1}, True),
        (error(413, "too large"), {0, 1}, True),
        (error(400, "partial write: something new"), {0, 1}, True),
        (error(400, "partial write: points beyond retention policy dropped=1"), {0, 1, 2}, False),
        (error(400, CONFLICT.format("m", 3)), {0, 1, 2, 3, 4}, False),
    ],
)
async def test_what_comes_after_a_refusal_is_about_the_others(
    last: httpx2.Response, rejected: set[int], retry: bool
) -> None:
    """Nothing counts as delivered but what the last answer says is stored."""
    payload = [*events(range(2), "other"), *events(range(2, 5))]
    found = await receipt([error(400, CONFLICT.format("other", 2)), last], payload)
    assert (set(found.rejected), found.retry, found.too_large) == (rejected, [2, 3, 4] if retry else False, False)


TODAY = [
    (error(400, CONFLICT.format("m", 4) + DATABASE), {0, 1, 2, 3}),
    (error2(422, "failure writing points to database: " + CONFLICT.format("m", 4)), {0, 1, 2, 3}),
    (error(400, f"partial write: {unparsed(1)} dropped=0 for database: d"), {1}),
    (error(400, outside(2)), {0, 1}),
    (error2(422, "failure writing points to database: " + outside(1)), {0}),
    (error(400, outside(4)), {0, 1, 2, 3}),
    (error(400, outside(1, newest="Write Window Lower")), {0}),
    (error(400, outside(1, "Write Window Upper", "Write Window Upper")), {3}),
    (error(400, f"partial write: max-series-per-database exceeded limit=10 dropped=4{DATABASE}"), {0, 1, 2, 3}),
    (error(500, f"{RETENTION} dropped=2"), {0, 1}),
    (error(500, f"write failed: {RETENTION} dropped=4"), {0, 1, 2, 3}),
]
"""Real answers of 1.13.2 and 2.7.12 but for the last two, which old versions give; and whose lines are refused."""


@pytest.mark.parametrize(("answer", "rejected"), TODAY)
async def test_todays_words_name_the_same_events(answer: httpx2.Response, rejected: set[int]) -> None:
    """With one request: what is not refused is stored, and not sent again."""
    server = FakeServer()
    found = await receipt(answer, events(range(4)), server)
    assert (set(found.rejected), found.retry, found.too_large) == (rejected, False, False)
    assert len(server.bodies) == 1
    assert not any("dropped=" in reason for reason in found.rejected.values())


@pytest.mark.parametrize(
    "answer",
    [
        error(400, outside(2, newest="Write Window Upper")),  # some of the oldest, and some of the newest
        error(400, outside(9)),
        error(500, "points beyond retention policy"),
    ],
)
async def test_what_is_outside_is_found_by_halving_where_its_number_does_not_tell(answer: httpx2.Response) -> None:
    """Not tried again as it is, for 300 s."""
    found = await receipt(answer, events(range(4)))
    assert (found.rejected, found.retry, found.too_large) == ({}, False, True)


async def test_a_500_that_says_nothing_of_points_is_tried_again() -> None:
    """It may pass."""
    found = await receipt(error(500, "timeout"), events(range(4)))
    assert (found.retry, found.uncertain, found.too_large) == (True, True, False)


@pytest.mark.parametrize("name", ['a"b', "a\\b", "größe", 'x" on measurement "y', "dropped=7 for database: z"])
async def test_names_that_1_13_quotes_are_found(name: str) -> None:
    """As Go writes them: quotes and backslashes get a backslash."""
    payload = [*events(range(2)), *events([2, 3], name)]
    quoted = json.dumps(name, ensure_ascii=False)[1:-1]
    found = await receipt(error(400, CONFLICT.format(quoted, 2) + DATABASE), payload)
    assert set(found.rejected) == {2, 3}


async def test_2500_conflicts_of_5000_events_take_two_requests() -> None:
    """One to learn it, one for the others."""
    server = FakeServer(error(400, CONFLICT.format("bad", 2500) + DATABASE))
    config = BatchMetricsConfig(batch_size=5000, buffer_size=5000)
    async with collector(config, sinks=[server.sink()]) as metrics:
        for number in range(2500):
            metrics.record_gauge("good", {}, number)
            metrics.record_gauge("bad", {}, number)
    account = balanced(metrics.stats()).sinks["influxdb"]
    assert (account.delivered, account.rejected, account.failed) == (2500, 2500, 0)
    assert len(server.bodies) == 2
    assert server.values() == [*range(2500)]


async def test_a_conflict_of_several_measurements_is_sorted_out_one_by_one() -> None:
    """The server names one, and counts the lines of all: each is written by itself, and exactly these are rejected."""
    server = FakeServer()
    payload = [*events(range(3)), *events(range(3, 5), "a"), *events(range(5, 8), "b"), *events([8])]
    answers = [error(400, CONFLICT.format(name, count)) for name, count in (("a", 5), ("a", 2), ("b", 3))]
    found = await receipt(answers, payload, server)
    assert (set(found.rejected), found.retry, found.too_large) == ({3, 4, 5, 6, 7}, False, False)
    assert [len(body.splitlines()) for body in server.bodies] == [9, 2, 7, 4]
    assert server.values() == [0, 1, 2, 8]


async def test_a_conflict_of_some_lines_of_a_measurement_is_looked_for_among_these() -> None:
    """As where a week's points are integers: the others are stored at once, those of the measurement are halved."""
    server = FakeServer()
    payload = [*events(range(3)), *events(range(3, 6), "a")]
    some = error(400, CONFLICT.format("a", 1))
    found = await receipt([some, some, httpx2.Response(204)], payload, server)
    assert (found.rejected, found.retry, found.too_large, found.uncertain) == ({}, [3, 4, 5], False, False)
    assert server.values() == [0, 1, 2]


async def test_where_no_part_can_be_told_the_whole_is_halved() -> None:
    """Else the same would be tried again and again."""
    payload = [*events(range(3)), *events(range(3, 6), "a")]
    puzzles = [error(400, CONFLICT.format("a", 1)), *[error(400, "partial write: something new")] * 2]
    found = await receipt(puzzles, payload)
    assert (found.rejected, found.retry, found.too_large) == ({}, False, True)
    found = await receipt([puzzles[0], httpx2.Response(503)], payload)
    assert (found.rejected, found.retry, found.too_large) == ({}, True, False)


async def test_a_type_conflict_of_one_line_of_an_event_rejects_that_event() -> None:
    """An event of two lines, and a histogram of many fields."""
    payload: list[MetricEvent] = [
        CacheMetric("a", "b", timestamp=1),
        HealthCheck("a", True, 0.1, timestamp=2),
        HistogramPoint("h", {}, 1, 1.0, (0.5,), (0, 1), timestamp=3),
        HealthCheck("b", True, 0.1, timestamp=4),
    ]
    found = await receipt(error(400, CONFLICT.format("backend.health", 2)), payload)
    assert set(found.rejected) == {1, 3}
    text = CONFLICT.format("h", 1)
    for field, names in (("sum", {2}), ("0.5", {2}), ("+Inf", {2}), ("5", set[int]())):
        found = await receipt(error(400, text.replace('"value"', f'"{field}"')), payload)
        assert set(found.rejected) == names
        assert found.too_large == (not names)


@pytest.mark.parametrize(
    "answer",
    [
        error(400, CONFLICT.format("m", 3)),  # of the four, and nobody says which
        error(400, CONFLICT.format("n", 1)),
        error(400, CONFLICT.format("n", 0)),
        error(400, "partial write: max-values-per-tag limit exceeded (9/5): dropped=1"),
        error(400, "partial write: points beyond retention policy dropped=9"),
        error(400, "partial write: something new"),
        error(400, "partial write: something new dropped=0"),
        error(400, "unable to parse 'm value=1.0 9': not a line that was sent"),
        error(400, f"{unparsed(1)}\nand more"),
        *(error(400, OCCURRED, data=[numbered(number)]) for number in (5, 0, -1, True, "1")),
        *(error(400, OCCURRED, data=data) for data in ([], ["odd"], [{"error_message": "bad"}], 7)),
        httpx2.Response(400, text='error in "/write": incorrect influx line "m value=1 1": no'),
    ],
)
async def test_where_it_cannot_be_told_which_the_payload_is_halved(answer: httpx2.Response) -> None:
    """Down to one event, which is rejected then."""
    found = await receipt(answer, events(range(4)))
    assert (found.rejected, found.retry, found.too_large) == ({}, False, True)
    assert str(found.error).startswith(f"HTTP {answer.status_code}: ")


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":' + b"[" * 200_000,
        b'{"error":' + b"9" * 5000 + b"}",
        b"partial write: x dropped=" + b"9" * 5000,
        b"partial write: points beyond retention policy dropped=" + b"9" * 5000,
    ],
    ids=["deep", "long number", "many dropped", "many too old"],
)
async def test_an_answer_that_cannot_be_read_is_given_up_with_the_servers_words(body: bytes) -> None:
    """No error of ours stands for it."""
    found = await receipt(httpx2.Response(400, content=body), events(range(4)))
    assert (found.rejected, found.retry, found.too_large) == ({}, False, False)
    assert str(found.error).startswith(f"HTTP 400: {body[:20].decode()}")


@pytest.mark.parametrize(
    "text",
    [
        "partial write" + " " * 200_000,
        "partial write" + 'input field "' * 20_000 + " dropped=1",
        "partial write" + 'input field "a" on measurement "' * 10_000 + " dropped=1",
        "partial write" + " dropped=1" * 20_000 + " x",
        "unable to parse 'm value=0.0 1000" + "': " * 100_000,
        "\n".join(["unable to parse 'm value=0.0 1000" + "': " * 20_000] * 5),
    ],
    ids=["spaces", "fields", "measurements", "dropped", "quotes", "lines of quotes"],
)
async def test_no_answer_takes_long_to_read(text: str) -> None:
    """Each is read in a few milliseconds; a regular expression took seconds to hours."""
    start = perf_counter()
    await receipt(error(400, text), events(range(4)))
    assert perf_counter() - start < 1


async def test_many_lines_that_are_named_are_found_at_once() -> None:
    """Long ones too, and ones that begin with another: as many as a payload has."""
    payload = [Gauge("m", {"a": "x"}, number, timestamp=10**18 + number) for number in range(20_000)]
    payload += [Gauge("m", {"a": "': " * 10_000}, 1, timestamp=10**17 + number) for number in range(20)]
    payload += [Gauge("m", {}, 1, timestamp=int("1" * length)) for length in range(1, 19)]
    lines = FakeServer().sink().encode(payload).decode().splitlines()
    text = "\n".join(f"unable to parse '{line}': no {number}" for number, line in enumerate(lines))
    start = perf_counter()
    found = await receipt(error(400, f"partial write: {text} dropped=0"), payload)
    assert perf_counter() - start < 2
    assert found.rejected == {number: f"unable to parse: no {number}" for number in range(len(payload))}


@pytest.mark.parametrize("measurement", ["m", "of somebody else"])
async def test_long_labels_make_a_conflict_no_slower_to_read(measurement: str) -> None:
    """Measurement and fields stand at the ends of a line; to read all of it held the loop for two seconds."""
    long = {f"label{number}": "x" * 100 for number in range(10)}
    payload = [Gauge("m", long, number, timestamp=10**18 + number) for number in range(4000)]
    body = FakeServer().sink().encode(payload)
    answer = Response(400, {}, json.dumps({"error": CONFLICT.format(measurement, 2500)}).encode())
    server = FakeServer().sink().server
    start = process_time()
    found = receipt_for(answer, server, body, payload)
    assert process_time() - start < 0.3
    assert (found.rejected, found.too_large) == ({}, True)


async def test_a_long_reason_that_many_events_have_is_read_once() -> None:
    """All that were dropped have it."""
    start = perf_counter()
    found = await receipt(error(400, f"partial write: {'x y ' * 100_000}dropped=2000"), events(range(2000)))
    assert perf_counter() - start < 1
    assert (len(found.rejected), len(found.rejected[0])) == (2000, 300)


@pytest.mark.parametrize("before", range(270, 300))
async def test_no_part_of_a_credential_is_left_where_a_reason_is_cut(before: int) -> None:
    """It is taken out first."""
    server = FakeServer(error(400, f"partial write: {'x' * before}hunter22hunter22 dropped=1"))
    sink = server.sink(token="hunter22hunter22")
    payload = events([0])
    found = await sink.send(Payload(Batch(payload), (sink.encode(payload),), "key"))
    assert found is not None
    assert "hunt" not in found.rejected[0]
    assert len(found.rejected[0]) <= 300


async def test_one_event_that_was_not_dropped_is_not_rejected() -> None:
    """The server says that it dropped none: it may be stored."""
    text = "partial write: something new dropped=0"
    assert await receipt(error(400, text), events([0])) == Receipt(error=f'HTTP 400: {{"error":"{text}"}}')
    found = await receipt(error(400, "partial write: unable to parse 'odd': no dropped=0"), events([0]))
    assert found.too_large


class Partial(FakeServer):
    """Stores what is not a 7, and says neither how many it dropped nor which; what it has stored it refuses later."""

    later: httpx2.Response | None = None

    async def answer(self, request: httpx2.Request) -> httpx2.Response:
        """Refuse the 7, and later all."""
        await trio.lowlevel.checkpoint()
        body = request.content.decode()
        self.bodies.append(body)
        if self.later is not None and len(self.bodies) > 1 and " value=7.0 " not in body:
            return self.later
        lines = PARSERS["influxdb"](body)
        self.stored += [line for line in lines if line.fields["value"] != 7]
        return error(400, "partial write: no sevens") if " value=7.0 " in body else httpx2.Response(204)


async def test_the_one_that_is_refused_alone_is_rejected_though_others_were_stored() -> None:
    """It never was."""
    server = Partial()
    async with collector(sinks=[server.sink()]) as metrics:
        for number in range(16):
            metrics.record_gauge("m", {}, number)
    account = balanced(metrics.stats()).sinks["influxdb"]
    assert (account.delivered, account.rejected, account.failed) == (15, 1, 0)


@pytest.mark.parametrize("later", [error(413, "too large"), error(403, "no"), httpx2.Response(400, text="bad request")])
async def test_what_may_be_stored_is_not_rejected_when_it_is_refused_later(later: httpx2.Response) -> None:
    """After a partial write of all, for another reason: it counts as failed."""
    server = Partial()
    server.later = later
    async with collector(sinks=[server.sink()]) as metrics:
        for number in range(16):
            metrics.record_gauge("m", {}, number)
    account = balanced(metrics.stats()).sinks["influxdb"]
    assert len(server.stored) >= 15
    assert (account.delivered, account.rejected, account.failed) == (0, 1, 15)


async def test_what_may_be_stored_stays_in_doubt_while_other_payloads_are_sent() -> None:
    """A payload of which the server took some is set aside, and another meets with the same."""
    server = FakeServer()
    sink = server.sink()

    async def send(first: int, last: int, *answers: httpx2.Response) -> Receipt:
        server.answers += answers
        payload = events(range(first, last))
        batch = Batch(payload, None, (range(first, last),))
        found = await sink.send(Payload(batch, (sink.encode(payload),), "key"))
        assert found is not None
        return found

    some = error(400, "partial write: no sevens")
    for first in (100, 200):
        found = await send(first, first + 100, some)
        assert (found.too_large, found.uncertain) == (True, False)
    large = error(413, "too large")
    assert await send(150, 151, large) == Receipt(error='HTTP 413: {"error":"too large"}')  # failed
    assert await send(250, 251, large) == Receipt(error='HTTP 413: {"error":"too large"}')
    assert (await send(300, 301, large)).too_large  # rejected: it was in neither
    assert (await send(150, 151, some)).too_large  # rejected: a stored one couldn't be at fault


async def test_what_was_never_stored_is_rejected_if_it_is_too_large() -> None:
    """Alone."""
    server = FakeServer(error(413, "too large"))
    async with collector(sinks=[server.sink()]) as metrics:
        metrics.record_gauge("m", {}, 1)
    assert balanced(metrics.stats()).sinks["influxdb"].rejected == 1


async def test_what_slow_refusals_told_is_not_lost(autojump_clock: trio.testing.MockClock) -> None:
    """Many measurements in conflict, each named by an answer of its own: the attempt ends before they are all known."""

    class Slow(FakeServer):
        """Refuses one measurement at a time."""

        async def answer(self, request: httpx2.Request) -> httpx2.Response:
            await trio.sleep(0.2)
            bad = [line for line in request.content.decode().splitlines() if line.startswith("bad")]
            if not bad:
                return await super().answer(request)
            self.bodies.append("")
            return error(400, CONFLICT.format(bad[0].partition(" ")[0], 1))

    server = Slow()
    async with collector(BatchMetricsConfig(batch_size=1000), sinks=[server.sink()]) as metrics:
        for number in range(160):
            metrics.record_gauge(f"bad{number}", {}, 1)
        for number in range(100):
            metrics.record_gauge("good", {}, number)
        await metrics.flush()
    account = balanced(metrics.stats()).sinks["influxdb"]
    assert (account.delivered, account.rejected + account.failed, len(server.bodies)) == (100, 160, 161)
    assert "no answer within" not in str(account.last_error)


async def test_events_that_measure_nothing_have_no_line() -> None:
    """Alone nothing is sent; among others, those arrive, and the one that is refused is found."""
    server = FakeServer()
    async with collector(sinks=[server.sink()]) as metrics:
        metrics.record(Nothing("x"))
    assert server.requests == []
    assert balanced(metrics.stats()).sinks["influxdb"].delivered == 1
    payload = [Nothing("x", timestamp=1), *events([1]), Nothing("y", timestamp=2), *events([2, 3], "bad")]
    found = await receipt([error(400, CONFLICT.format("bad", 2))], payload, server)
    assert (set(found.rejected), found.retry) == ({3, 4}, False)
    assert server.values() == [1]


async def test_of_long_series_fewer_are_remembered() -> None:
    """So that memory is bounded by bytes."""
    sink = FakeServer().sink()
    for start in range(0, 10_000, 100):
        sink.encode([Gauge("m", {"a": f"{'x' * 8000}{number}"}, 1) for number in range(start, start + 100)])
    timestamps: Timestamps = vars(sink)["_timestamps"]
    chunks = vars(timestamps)["_chunks"]
    assert 10_000_000 < sum(len(head) for chunk in chunks for head in chunk.heads) < 21_000_000
    heads: Any = vars(sink)["_writer"].heads
    assert len(heads.named) < 1100


async def test_of_lines_with_the_same_age_it_cannot_be_told_which_is_too_old() -> None:
    """Two of a nanosecond, one of them dropped; both dropped."""
    payload = [Gauge(f"m{number}", {}, 1, timestamp=number // 2) for number in range(4)]
    for count, rejected in ((1, set[int]()), (2, {0, 1}), (3, set[int]()), (4, {0, 1, 2, 3})):
        found = await receipt(error(400, f"partial write: points beyond retention policy dropped={count}"), payload)
        assert set(found.rejected) == rejected
        assert found.too_large == (not rejected)


async def test_a_line_that_holds_what_ends_it_in_the_message_is_found() -> None:
    """`': ` in a label."""
    payload = [Gauge("m", {"a": "b': c"}, 1, timestamp=1), Gauge("m", {"a": "b"}, 1, timestamp=1)]
    text = "unable to parse 'm,a=b':\\ c value=1.0 1': bad: 'it's'"
    found = await receipt(error(400, text), payload)
    assert found.rejected == {0: "unable to parse: bad: 'it's'"}


async def test_each_event_is_settled_as_the_server_settled_it(autojump_clock: trio.testing.MockClock) -> None:
    """A conflict, then the rest; every event ends once, and only what was stored counts as delivered."""
    server = FakeServer(error(400, CONFLICT.format("bad", 2)))
    async with collector(sinks=[server.sink()]) as metrics:
        for number in range(6):
            metrics.record_gauge("bad" if number in (1, 4) else "good", {}, number)
        report = await metrics.flush()
    assert (report.processed, report.failed) == (4, 2)
    account = balanced(metrics.stats()).sinks["influxdb"]
    assert (account.delivered, account.rejected, account.failed) == (4, 2, 0)
    assert "2 of 6 events refused: partial write: field type conflict" in str(account.last_error)
    assert server.values() == [0, 2, 3, 5]


async def test_halving_finds_the_one_at_fault() -> None:
    """The server refuses any body with it and does not say which it is."""

    class Picky(FakeServer):
        """Refuses payloads with a 7 in them."""

        async def answer(self, request: httpx2.Request) -> httpx2.Response:
            if " value=7.0 " not in request.content.decode().replace("\n", " "):
                return await super().answer(request)
            return error(
                400, "partial write: no sevens dropped=1" if request.content.count(b"\n") > 1 else "partial write: no"
            )

    server = Picky()
    async with collector(sinks=[server.sink()]) as metrics:
        for number in range(16):
            metrics.record_gauge("m", {}, number)
    account = balanced(metrics.stats()).sinks["influxdb"]
    assert (account.delivered, account.rejected) == (15, 1)
    assert account.last_error == 'HTTP 400: {"error":"partial write: no"}'
    assert sorted(server.values()) == [number for number in range(16) if number != 7]


async def test_what_is_sent_again_is_the_same_to_the_byte(autojump_clock: trio.testing.MockClock) -> None:
    """Halves and leftovers too, though their timestamps collide."""
    answers = [
        httpx2.Response(503),
        error(413, "too large"),
        httpx2.Response(503),
        error(400, CONFLICT.format("odd", 1)),
    ]
    server = FakeServer(*answers)
    async with collector(sinks=[server.sink()]) as metrics:
        for number in range(8):
            metrics.record(Gauge("odd" if number == 2 else "m", {}, number, timestamp=5))
    first = server.bodies[0].splitlines()
    assert server.bodies[1].splitlines() == first
    for body in server.bodies[2:]:
        assert set(body.splitlines()) <= set(first)
    assert balanced(metrics.stats()).sinks["influxdb"].delivered == 7
    assert len({(line.measurement, line.timestamp) for line in server.stored}) == 7
    assert sorted(server.values()) == [0, 1, 3, 4, 5, 6, 7]


# -------------------------------------------------------------------------------------------------------- dialect

HOSTILE = {"a": "x\\, y", "b\\": "tail\\", "c": "\\\\"}


@pytest.mark.parametrize("dialect", ["influxdb", "influxdb3", "victoriametrics"])
@pytest.mark.parametrize("told", [False, True])
async def test_a_backslash_is_written_as_the_server_reads_it(dialect: Any, told: bool) -> None:
    """It is asked once who it is, when the first backslash comes; not if the sink was told."""
    server = FakeServer(dialect=dialect)
    sink = server.sink(dialect=dialect if told else None)
    async with collector(sinks=[sink]) as metrics:
        metrics.record_gauge("a b", {"c": "d,e", "f": "two\nlines"}, 0)
        await metrics.flush()
        assert (server.pings, sink.dialect) == (0, dialect if told else None)
        for number in range(1, 4):
            metrics.record_gauge("m", HOSTILE, number)
            await metrics.flush()
    assert (server.pings, sink.dialect) == (0 if told else 1, dialect)
    tail = "\\" if dialect == "victoriametrics" else LOST
    expected = {"a": "x\\, y", f"b{tail}": f"tail{tail}", "c": f"\\{tail}"}
    assert [line.tags for line in server.stored[1:]] == [expected] * 3
    assert sink.replacements == 1 + (0 if tail == "\\" else 3)


async def test_a_payload_with_a_backslash_is_written_anew_at_each_attempt(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The same lines each time, halves and leftovers included."""
    answers = [httpx2.Response(503), httpx2.Response(503), error(413, "too large"), httpx2.Response(503)]
    server = FakeServer(*answers, dialect="victoriametrics")
    async with collector(sinks=[server.sink()]) as metrics:
        for number in range(4):
            metrics.record(Gauge("m", HOSTILE, number, timestamp=7))
    assert server.pings == 1
    assert server.bodies[0] == server.bodies[1] == server.bodies[2]
    assert "".join(server.bodies[4:]) == server.bodies[0]
    assert [(line.tags, line.timestamp) for line in server.stored] == [(HOSTILE, 7 + number) for number in range(4)]


async def test_a_large_payload_with_a_backslash_is_written_anew_as_a_whole() -> None:
    """In pieces, in order."""
    server = FakeServer(dialect="victoriametrics")
    async with collector(BatchMetricsConfig(batch_size=2000), sinks=[server.sink()]) as metrics:
        for number in range(1200):
            metrics.record_gauge("m", HOSTILE if number == 7 else {}, number)
    assert server.values() == list(range(1200))
    assert [line.tags for line in server.stored[6:9]] == [{}, HOSTILE, {}]


async def test_series_wait_for_a_server_that_cannot_tell_who_it_is(autojump_clock: trio.testing.MockClock) -> None:
    """They are pushed once it can."""
    server = FakeServer(dialect="victoriametrics", ping=httpx2.Response(503))
    sink = InfluxDBSeriesSink(URL, database="db", client=server.client)
    async with collector(sinks=[sink]) as metrics:
        metrics.record_counter("m", HOSTILE, 1)
        await trio.sleep(60)
        assert server.pings > 3
        assert server.stored == []
        server.ping = httpx2.Response(204, headers={"X-Server-Hostname": "vm"})
        assert (await metrics.flush()).ok
    assert server.stored[-1].tags == HOSTILE


@pytest.mark.parametrize(
    ("ping", "dialect"),
    [
        (httpx2.Response(403, headers={"X-Server-Hostname": "vm"}), "victoriametrics"),
        (httpx2.Response(204, headers={"X-Server-Hostname": "x", "X-Influxdb-Version": "v2.7.1"}), "influxdb"),
        (httpx2.Response(200, headers={"X-Influxdb-Version": "v3.0.0"}, json={"version": "3.0.0"}), "influxdb3"),
        (httpx2.Response(204, headers={"X-Influxdb-Version": "unknown"}), "influxdb"),
    ],
)
async def test_a_server_is_known_by_its_headers(ping: httpx2.Response, dialect: str) -> None:
    """Whatever the status."""
    server = FakeServer(dialect=dialect, ping=ping)
    sink = server.sink()
    async with collector(sinks=[sink]) as metrics:
        metrics.record_gauge("m", HOSTILE, 1)
    assert sink.dialect == dialect
    assert len(server.stored) == 1


@pytest.mark.parametrize("status", [200, 204, 401, 404])
@pytest.mark.parametrize("kind", [InfluxDBSink, InfluxDBSeriesSink])
async def test_a_server_that_does_not_say_who_it_is_is_asked_again(
    kind: Callable[..., InfluxDBSink], status: int
) -> None:
    """Until then lines are written as for InfluxDB 1 and 2: it may be a proxy whose server is not there yet."""
    server = FakeServer(dialect="influxdb", ping=httpx2.Response(status))
    sink = kind(URL, database="db", client=server.client)
    async with collector(sinks=[sink]) as metrics:
        for number in (1, 2):
            metrics.record_counter("m", {"a": "\\n"}, number)
            await metrics.flush()
            assert (sink.dialect, server.pings) == (None, number)
        server.dialect, server.ping = "victoriametrics", httpx2.Response(204, headers={"X-Server-Hostname": "vm"})
        for _ in range(2):
            metrics.record_counter("m", {"a": "x\\,y"}, 3)
            await metrics.flush()
    assert (sink.dialect, server.pings) == ("victoriametrics", 3)
    assert [line.tags["a"] for line in server.stored][:2] == ["\\n"] * 2
    assert {line.tags["a"] for line in server.stored[2:]} <= {"\\n", "x\\,y"}
    assert server.stored[-1].tags["a"] == "x\\,y"


async def test_a_server_that_cannot_tell_now_is_asked_again(autojump_clock: trio.testing.MockClock) -> None:
    """Nothing is sent before."""

    class Starting(FakeServer):
        """Is not ready at first."""

        async def answer(self, request: httpx2.Request) -> httpx2.Response:
            if request.url.path == "/ping" and self.pings < 2:
                self.pings += 1
                if self.pings == 2:
                    raise httpx2.ConnectError("refused", request=request)
                return httpx2.Response(503)
            return await super().answer(request)

    server = Starting(dialect="victoriametrics")
    async with collector(sinks=[server.sink()]) as metrics:
        metrics.record_gauge("m", HOSTILE, 1)
    assert (server.pings, len(server.requests)) == (3, 1)
    account = metrics.stats().sinks["influxdb"]
    assert (account.delivered, account.retries) == (1, 2)
    assert account.last_error == "ConnectError: refused"


async def test_what_is_lost_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """And counted; nothing of the text is shown."""
    server = FakeServer()
    sink = server.sink()
    async with collector(sinks=[sink]) as metrics:
        for number in range(3):
            metrics.record_gauge("m", {"a": f"sesame\n{number}"}, 1)
            await metrics.flush()
    assert sink.replacements == 3
    [message] = caplog.messages
    assert message.startswith("metrics: influx.example:8086: names or labels have characters that line protocol cannot")
    assert "sesame" not in message


# --------------------------------------------------------------------------------------------------------- others


async def test_no_answer_is_tried_again(autojump_clock: trio.testing.MockClock) -> None:
    """A connection that breaks."""

    class Broken(FakeServer):
        """Breaks the first connection."""

        broken = False

        async def answer(self, request: httpx2.Request) -> httpx2.Response:
            if not self.broken:
                self.broken = True
                raise httpx2.ReadError("gone", request=request)
            return await super().answer(request)

    server = Broken()
    async with collector(sinks=[server.sink()]) as metrics:
        metrics.record_gauge("m", {}, 1)
    account = metrics.stats().sinks["influxdb"]
    assert (account.delivered, account.retries, account.last_error) == (1, 1, "ReadError: gone")


async def test_payloads_keep_to_their_limits() -> None:
    """5 000 events at most, and the bytes that are given."""
    server = FakeServer()
    async with collector(BatchMetricsConfig(batch_size=6000), sinks=[server.sink()]) as metrics:
        record(metrics, range(6000))
    assert sorted(body.count("\n") for body in server.bodies) == [1000, 5000]
    server = FakeServer()
    async with collector(BatchMetricsConfig(batch_size=6000), sinks=[server.sink(max_payload_bytes=10_000)]) as metrics:
        record(metrics, range(6000))
    assert max(len(body) for body in server.bodies) <= 10_000
    assert ids(arrived(server.stored)) == list(range(6000))


async def test_bodies_are_compressed_if_that_is_asked_for() -> None:
    """With gzip."""
    server = FakeServer()
    seen = list[str | None]()

    async def answer(request: httpx2.Request) -> httpx2.Response:
        await trio.lowlevel.checkpoint()
        seen.append(request.headers.get("content-encoding"))
        assert len(request.content) < 5_000
        return httpx2.Response(204)

    server.client = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    async with collector(BatchMetricsConfig(enable_compression=True), sinks=[server.sink()]) as metrics:
        record(metrics, range(300))
    assert set(seen) == {"gzip"}
    assert metrics.stats().sinks["influxdb"].delivered == 300


async def test_a_sink_serves_two_collectors_one_after_the_other() -> None:
    """Serial numbers begin anew; still no event overwrites another."""
    server = FakeServer()
    sink = server.sink()
    for number in range(2):
        async with collector(sinks=[sink]) as metrics:
            metrics.record(Gauge("m", {}, number, timestamp=7))
    assert [(line.fields["value"], line.timestamp) for line in server.stored] == [(0, 7), (1, 8)]


async def test_events_of_one_nanosecond_all_arrive() -> None:
    """In one series and in several, in one payload and in several."""
    server = FakeServer()
    async with collector(sinks=[server.sink()]) as metrics:
        for number in range(1000):
            metrics.record(Counter("c", {"id": number % 3}, number + 1, timestamp=TIMESTAMP))
            if number % 300 == 0:
                await metrics.flush()
    assert balanced(metrics.stats()).sinks["influxdb"].delivered == 1000
    assert len({(line.tags["id"], line.timestamp) for line in server.stored}) == 1000
    assert sorted(server.values()) == list(range(1, 1001))


# --------------------------------------------------------------------------------------------------------- series


def made_series(server: FakeServer, **context: Any) -> InfluxDBSeriesSink:
    """Make a series sink outside of a collector."""
    sink = InfluxDBSeriesSink(URL, database="db", client=server.client)
    sink.bind(SinkContext(**context))
    return sink


def test_series_are_written_with_one_time_that_rises() -> None:
    """Each snapshot is later than the one before, whatever the clock says."""
    sink = made_series(FakeServer(), static_labels={"host": "h"})
    sink.merge([event for event, _ in SAMPLES])
    stamps = list[int]()
    for _ in range(100):
        lines = PARSERS["influxdb"](sink.snapshot().decode())
        [stamp] = {line.timestamp for line in lines}
        stamps.append(stamp)
    assert stamps == sorted(set(stamps))
    ahead = vars(sink)["_now"] = stamps[-1] + 10**15  # the clock was put back
    assert [sink.snapshot().rpartition(b" ")[2] for _ in range(2)] == [b"%d\n" % (ahead + more) for more in (1, 2)]
    lines = PARSERS["influxdb"](sink.snapshot().decode())
    found = {line.measurement: line.fields for line in lines}
    assert found["jobs"] == {"value": 42.0}
    assert found["depth"] == {"value": 0.0}
    assert found["cache.operations"] == {"value": 1.0}
    assert found["wait"] == {"count": 3.0, "sum": 4.5, "1": 1.0, "2": 1.0, "+Inf": 3.0}
    http = found["http.server.request.duration"]
    assert (http["count"], http["sum"], http["0.1"], http["0.25"], http["+Inf"]) == (1.0, 0.15, 0.0, 1.0, 1.0)
    assert all(line.tags["host"] == "h" for line in lines)
    assert Count(line.measurement for line in lines)["backend.request.duration"] == 2


def test_a_series_that_cannot_be_written_is_refused_and_a_sum_that_no_float_holds_is_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Labels that are too long are reported once, and the other series are written."""
    sink = made_series(FakeServer())
    huge = [Counter("huge", {}, 1.7e308), Counter("huge", {}, 1.7e308)]
    long = Counter("long", {"a": "x" * 70_000}, 1)
    assert sink.merge([*huge, long, Counter("fine", {}, 1), long]) == {2: "limits", 4: "limits"}
    for _ in range(2):
        assert [line.measurement for line in PARSERS["influxdb"](sink.snapshot().decode())] == ["fine"]
    [message] = caplog.messages
    assert message == (
        "metrics: events of 'long' are rejected: name and labels must have at most 65535 bytes together (got 70016); "
        "others are only counted"
    )


@pytest.mark.parametrize("dialect", ["influxdb", "influxdb3", "victoriametrics"])
async def test_a_backslash_in_a_series_is_written_as_the_server_reads_it(dialect: str) -> None:
    """It is asked once."""
    server = FakeServer(dialect=dialect)
    sink = InfluxDBSeriesSink(URL, database="db", client=server.client, backoff=0.001)
    async with collector(sinks=[sink]) as metrics:
        for _ in range(3):
            metrics.record_counter("m", HOSTILE, 1)
            await metrics.flush()
    tail = "\\" if dialect == "victoriametrics" else LOST
    assert [(line.tags, line.fields) for line in server.stored] == [
        ({"a": "x\\, y", f"b{tail}": f"tail{tail}", "c": f"\\{tail}"}, {"value": float(number)})
        for number in (1, 2, 3, 3)
    ]
    assert (server.pings, sink.dialect) == (1, dialect)
    assert sink.replacements == (0 if tail == "\\" else 3)


async def test_a_refused_push_of_series_is_made_again(autojump_clock: trio.testing.MockClock) -> None:
    """A partial write delivers nothing: the next push has it all."""
    server = FakeServer(error(400, CONFLICT.format("m", 1)), error(413, "too large"), dialect="victoriametrics")
    sink = InfluxDBSeriesSink(URL, database="db", client=server.client)
    async with collector(sinks=[sink]) as metrics:
        metrics.record_counter("m", {}, 1)
        assert (await metrics.flush()).ok
    account = metrics.stats().sinks["influxdbseries"]
    assert (account.delivered, account.retries) == (1, 2)
    assert json.loads(str(account.last_error).partition(": ")[2]) == {"error": "too large"}
