"""What all sinks over HTTP share: outcomes of responses, credentials, compression, connections, and hidden secrets."""

import gzip
import html
import json
import logging
import re
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Unpack
from urllib.parse import quote, quote_plus

import httpx2
import pytest
import trio
from trio.testing import MockClock

from tests.helpers import balanced
from trio_batchmetrics import BatchMetricsConfig, BatchMetricsStats, Counter, MetricEvent, collector
from trio_batchmetrics._http import (
    Endpoint,
    EventSettings,
    HTTPSink,
    NoResponseError,
    Response,
    receipt_from,
    retry_after,
)
from trio_batchmetrics.abc import EventSink, Payload, Receipt

Handler = Callable[[httpx2.Request], httpx2.Response]


class LinesSink(HTTPSink, EventSink[bytes]):
    """The smallest sink over HTTP."""

    def __init__(self, url: str, **settings: Unpack[EventSettings]) -> None:
        super().__init__(url, settings)

    def encode(self, events: Sequence[MetricEvent]) -> bytes:
        """Return one line per event."""
        return b"".join(b"%d\n" % event.value for event in events if isinstance(event, Counter))

    async def send(self, payload: Payload[bytes]) -> Receipt:
        """Post the payload."""
        try:
            answer = await self.server.request("POST", "/in", b"".join(payload.parts), content_type="text/plain")
        except NoResponseError as exc:
            return exc.receipt
        return receipt_from(answer, self.server)


class Server:
    """Responds by a script, then with 204; keeps the requests."""

    def __init__(self, *script: httpx2.Response | Exception | Handler) -> None:
        self.script = list(script)
        self.requests: list[httpx2.Request] = []
        self.client = httpx2.AsyncClient(transport=httpx2.MockTransport(self._answer))

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = self.script.pop(0) if self.script else httpx2.Response(204)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx2.Response) else answer(request)


async def record(server: Server, events: int = 1, *, config: Any = None, **settings: Any) -> BatchMetricsStats:
    """Record events into a sink that talks to a scripted server; return the account."""
    sink = LinesSink("http://metrics.example/base/", client=server.client, **settings)
    async with collector(config or BatchMetricsConfig(), sinks=[sink]) as metrics:
        for number in range(events):
            metrics.record_counter("c", {}, number)
        await metrics.flush()
    return balanced(metrics.stats())


# ------------------------------------------------------------------------------------------------------------ outcomes


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_2xx_is_delivered(status: int, autojump_clock: MockClock) -> None:
    """The encoded payload goes to the base URL and the path."""
    server = Server(httpx2.Response(status))
    stats = await record(server, 2)
    assert stats.sinks["lines"].delivered == 2
    assert str(server.requests[0].url) == "http://metrics.example/base/in"
    assert server.requests[0].content == b"0\n1\n"
    assert server.requests[0].headers["content-type"] == "text/plain"
    assert server.requests[0].headers["user-agent"] == "trio-batchmetrics"


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
async def test_a_status_that_may_pass_is_retried(status: int, autojump_clock: MockClock) -> None:
    """The events are then delivered, once."""
    stats = await record(Server(httpx2.Response(status, text="busy,\n come back")), 2)
    assert stats.sinks["lines"].delivered == 2
    assert stats.sinks["lines"].retries == 1
    assert stats.sinks["lines"].last_error == f"HTTP {status}: busy, come back"


@pytest.mark.parametrize("status", [300, 304, 400, 401, 403, 404, 405, 406, 409, 410, 415, 422, 431])
async def test_every_other_status_is_given_up_and_quotes_the_server(status: int, autojump_clock: MockClock) -> None:
    """They are given up at once, since the same request would be refused again."""
    server = Server(httpx2.Response(status, text="no such thing"))
    stats = await record(server, 2)
    assert (stats.sinks["lines"].failed, stats.sinks["lines"].retries) == (2, 0)
    assert stats.sinks["lines"].last_error == f"HTTP {status}: no such thing"
    assert len(server.requests) == 1


async def test_413_is_halved_down_to_the_event_that_is_too_large(autojump_clock: MockClock) -> None:
    """Only that event is rejected, and the others are delivered."""

    def at_most_two(request: httpx2.Request) -> httpx2.Response:
        lines = request.content.split()
        return httpx2.Response(413 if len(lines) > 2 or b"5" in lines else 204)

    server = Server(*[at_most_two] * 50)
    stats = await record(server, 9)
    assert (stats.sinks["lines"].delivered, stats.sinks["lines"].rejected) == (8, 1)
    assert stats.sinks["lines"].last_error == "HTTP 413"


@pytest.mark.parametrize(
    "error",
    [
        httpx2.ConnectError("[Errno 111] Connection refused"),
        httpx2.ReadError(""),
        httpx2.WriteError(""),
        httpx2.RemoteProtocolError("illegal status line"),
        httpx2.ConnectTimeout(""),
        httpx2.PoolTimeout(""),
        httpx2.DecodingError("not gzip"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_missing_response_is_retried(error: Exception, autojump_clock: MockClock) -> None:
    """The cause does not matter, and the error names its kind."""
    stats = await record(Server(error), 2)
    assert (stats.sinks["lines"].delivered, stats.sinks["lines"].retries) == (2, 1)
    assert str(stats.sinks["lines"].last_error).startswith(type(error).__name__)


async def test_a_long_response_is_truncated_in_the_error(autojump_clock: MockClock) -> None:
    """Bytes that aren't text do no harm."""
    stats = await record(Server(httpx2.Response(400, content=b"\xff\x00" + b"long " * 10_000)))
    assert len(str(stats.sinks["lines"].last_error)) < 320


async def _in_pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        await trio.lowlevel.checkpoint()
        yield piece


async def test_a_response_that_arrives_in_pieces_is_reassembled(autojump_clock: MockClock) -> None:
    """Any server may send it so."""
    server = Server(httpx2.Response(400, content=_in_pieces(b"no ", b"such ", b"thing")))
    assert (await record(server)).sinks["lines"].last_error == "HTTP 400: no such thing"


@pytest.mark.parametrize(
    ("first", "rejected"),
    [
        (httpx2.ReadError("reset"), False),
        (httpx2.Response(500), False),
        (httpx2.Response(502), False),
        (httpx2.Response(504), False),
        (httpx2.Response(408), False),
        (httpx2.Response(503), True),
        (httpx2.Response(429), True),
        (httpx2.Response(425), True),
    ],
    ids=["no answer", "500", "502", "504", "408", "503", "429", "425"],
)
async def test_an_event_in_doubt_after_a_lost_response_fails_if_it_is_refused_later(
    first: Any, rejected: bool, autojump_clock: MockClock
) -> None:
    """The event may be stored, unless the server says that it did not accept it."""
    stats = await record(Server(first, httpx2.Response(413)))
    assert (stats.sinks["lines"].rejected, stats.sinks["lines"].failed) == (rejected, not rejected)


def test_a_request_that_was_never_sent_leaves_nothing_in_doubt() -> None:
    """For example, the token's file could not be read."""
    assert NoResponseError("no token", in_doubt=False).receipt == Receipt.retried(error="no token")
    assert NoResponseError("reset").receipt == Receipt.retried(error="reset", in_doubt=True)


# --------------------------------------------------------------------------------------------------------- Retry-After


def _in(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


def test_retry_after_is_read_in_both_forms() -> None:
    """It is a number of seconds or a date, and an invalid value counts as missing."""
    assert retry_after("7") == 7.0
    assert retry_after("1.5") == 1.5
    assert retry_after("0") == 0.0
    assert retry_after("-3") == -3.0
    assert 28 < (retry_after(_in(30)) or 0) <= 30
    assert (retry_after(_in(-30)) or 0) < 0
    for nonsense in (None, "", "soon", "nan", "inf", "1e999", "Tue, 99 Foo 2026", "\x00", "9" * 400):
        assert retry_after(nonsense) is None


async def test_the_sink_waits_as_long_as_the_server_asks(autojump_clock: MockClock) -> None:
    """The wait is limited to the maximum that the library grants."""
    for header, least, most in (
        ("40", 40, 40),
        ("100000", 300, 300),
        (_in(100), 98, 100),
        ("0", 0, 0.5),
        ("x", 0, 0.5),
    ):
        start = trio.current_time()
        stats = await record(
            Server(httpx2.Response(429, headers={"Retry-After": header})), retry_budget=1e6, timeout=1e6
        )
        assert stats.sinks["lines"].delivered == 1
        assert least <= trio.current_time() - start <= most, header


# --------------------------------------------------------------------------------------------------------- credentials


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"auth": ("ann", "s3cret word")}, httpx2.BasicAuth("ann", "s3cret word")),
        ({"auth": "t0ken-of-mine"}, "Bearer t0ken-of-mine"),
        ({"headers": {"Authorization": "Token s3cret"}}, "Token s3cret"),
        ({"auth": httpx2.BasicAuth("ann", "s3cret")}, httpx2.BasicAuth("ann", "s3cret")),
    ],
    ids=["basic", "bearer", "header", "own"],
)
async def test_credentials_are_sent_and_never_shown(
    settings: Any, expected: Any, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """They are not in a repr, a log line or ``last_error``, even if the server repeats them."""

    def repeat(request: httpx2.Request) -> httpx2.Response:
        given = request.headers["authorization"]
        return httpx2.Response(401, text=f"bad: {given} {given.partition(' ')[2]} s3cret word t0ken-of-mine")

    server = Server(repeat)
    sink = LinesSink("http://metrics.example/a/path", client=server.client, **settings)
    async with collector(sinks=[sink]) as metrics:
        metrics.record_counter("c", {}, 1)
    request = server.requests[0]
    if isinstance(expected, httpx2.BasicAuth):
        blank = httpx2.Request("POST", request.url)
        expected = next(expected.auth_flow(blank)).headers["authorization"]
    assert request.headers["authorization"] == expected
    shown = f"{sink!r} {sink.server!r} {metrics.stats()} {metrics.stats().sinks!r} {caplog.text}"
    secrets = [secret for secret in ("s3cret word", "t0ken-of-mine", "Token s3cret") if secret in str(settings)]
    assert not [secret for secret in secrets if secret in shown]
    assert "a/path" not in shown
    assert repr(sink) == "<LinesSink metrics.example>"


async def test_credentials_in_the_url_are_basic_authentication(autojump_clock: MockClock) -> None:
    """They are unquoted first, and the URL is shown without them."""
    server = Server()
    sink = LinesSink("http://ann:p%40ss%2Fword@metrics.example:8086", client=server.client)
    async with collector(sinks=[sink]) as metrics:
        metrics.record_counter("c", {}, 1)
    blank = httpx2.Request("POST", server.requests[0].url)
    expected = next(httpx2.BasicAuth("ann", "p@ss/word").auth_flow(blank)).headers["authorization"]
    assert server.requests[0].headers["authorization"] == expected
    assert "ann" not in str(server.requests[0].url)
    assert repr(sink) == "<LinesSink metrics.example:8086>"


def test_an_ipv6_address_keeps_its_brackets() -> None:
    """They are kept in the URL and wherever it is shown."""
    assert repr(LinesSink("http://[::1]:9091/x")) == "<LinesSink [::1]:9091>"


SECRET = 's3cret/"wörd"+ x'


SHAPES: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "repr": repr,
    "JSON": json.dumps,
    "quoted": lambda secret: quote(secret, safe=""),
    "form": quote_plus,
    "base64": lambda secret: b64encode(f"ann:{secret}".encode()).decode(),
    "HTML": html.escape,
    "JSON as PHP writes it": lambda secret: json.dumps(secret).replace("/", "\\/"),
    "JSON as Go writes it": lambda secret: json.dumps(secret, ensure_ascii=False).replace("+", "\\u002b"),
    "JSON in JSON": lambda secret: json.dumps(json.dumps(secret)),
    "JSON in HTML": lambda secret: html.escape(json.dumps(secret)[1:-1]),
    "quoted in lower case": lambda secret: re.sub("%..", lambda found: found[0].lower(), quote(secret, safe="")),
    "quoted in part": lambda secret: quote(secret, safe='/"'),
    "quoted twice": lambda secret: quote(quote(secret, safe=""), safe=""),
    "every character quoted": lambda secret: "".join(f"%{byte:02X}" for byte in secret.encode()),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("at", [0, 290, 296, 1190])
async def test_a_password_is_never_shown_however_it_is_repeated_and_cut(
    shape: str, at: int, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be escaped, encoded, cut where excerpts end, or in an exception of the client."""
    repeated = SHAPES[shape](SECRET)
    words = ("x" * at) + repeated

    def raises(_: httpx2.Request) -> httpx2.Response:
        raise RuntimeError(words)

    server = Server(raises, httpx2.Response(401, text=words))
    sink = LinesSink("http://metrics.example", client=server.client, auth=("ann", SECRET))
    errors = list[str]()
    async with collector(sinks=[sink]) as metrics:
        metrics.record_counter("c", {}, 1)
        while metrics.stats().pending_events:
            await trio.sleep(0.01)
            errors.append(str(metrics.stats().sinks["lines"].last_error))
    shown = f"{errors} {metrics.stats()} {caplog.text}"
    assert "…" in shown or at == 1190
    assert not [size for size in range(6, len(repeated)) if repeated[:size] in shown]


async def test_an_api_key_in_place_of_the_user_is_a_secret(autojump_clock: MockClock) -> None:
    """Some services use one."""
    server = Server(httpx2.Response(403, text="bad key: k3y-of-mine"))
    sink = LinesSink("http://k3y-of-mine@metrics.example", client=server.client)
    async with collector(sinks=[sink]) as metrics:
        metrics.record_counter("c", {}, 1)
    assert metrics.stats().sinks["lines"].last_error == "HTTP 403: bad key: …"


async def test_a_users_header_replaces_a_default_regardless_of_case(autojump_clock: MockClock) -> None:
    """Only the user's header is sent."""
    server = Server()
    await record(server, headers={"User-Agent": "mine", "ACCEPT-ENCODING": "gzip"}, auth="token-of-mine")
    names = [name.lower() for name, _ in server.requests[0].headers.raw]
    assert len(names) == len({*names})
    assert server.requests[0].headers["user-agent"] == "mine"


# --------------------------------------------------------------------------------------------------------- compression

COMPRESSED = BatchMetricsConfig(enable_compression=True, buffer_size=100_000, batch_size=20_000)


async def test_large_payloads_are_compressed_on_request(autojump_clock: MockClock) -> None:
    """Small ones are not: they fit into one packet anyway."""
    for events, config, encoding in ((1000, COMPRESSED, "gzip"), (10, COMPRESSED, None), (1000, None, None)):
        server = Server()
        stats = await record(server, events, config=config, max_events=5_000)
        assert stats.sinks["lines"].delivered == events
        sent = server.requests[0]
        assert sent.headers.get("content-encoding") == encoding
        content = gzip.decompress(sent.content) if encoding else sent.content
        assert b"".join(b"%d\n" % number for number in range(events)).startswith(content)
        assert int(sent.headers["content-length"]) == len(sent.content)


async def test_very_large_payloads_are_compressed_in_a_thread(tmp_path: Any) -> None:
    """They arrive unchanged."""
    server = Server()
    stats = await record(server, 20_000, config=COMPRESSED)
    assert stats.sinks["lines"].delivered == 20_000
    assert gzip.decompress(server.requests[0].content) == b"".join(b"%d\n" % number for number in range(20_000))


@pytest.mark.parametrize("status", [400, 415])
async def test_a_server_that_refuses_compression_gets_uncompressed_bodies_from_then_on(
    status: int, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The payload is sent again in the same attempt, and one warning is logged."""

    def plain_only(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status if "content-encoding" in request.headers else 204)

    server = Server(*[plain_only] * 10)
    stats = await record(server, 3000, config=COMPRESSED, max_events=1000)
    assert (stats.sinks["lines"].delivered, stats.sinks["lines"].retries) == (3000, 0)
    assert ["content-encoding" in request.headers for request in server.requests] == [True, False, False, False]
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        "metrics: metrics.example refuses gzip; sending uncompressed from now on"
    ]


async def test_a_400_for_another_reason_leaves_compression_on(autojump_clock: MockClock) -> None:
    """The response to the uncompressed body counts; once a compressed one was accepted, a 400 is about the content."""
    bad = httpx2.Response(400, text="bad line")
    server = Server(bad, bad, httpx2.Response(204), bad, httpx2.Response(204))
    stats = await record(server, 4000, config=COMPRESSED, max_events=1000)
    assert (stats.sinks["lines"].delivered, stats.sinks["lines"].failed) == (2000, 2000)
    encoded = ["content-encoding" in request.headers for request in server.requests]
    assert encoded == [True, False, True, True, True]


# --------------------------------------------------------------------------------------------- the application's client


async def test_the_applications_client_is_used_and_left_open(autojump_clock: MockClock) -> None:
    """It may be in use elsewhere."""
    server = Server()
    await record(server)
    assert not server.client.is_closed


async def test_a_client_that_raises_for_statuses_counts_as_a_response(autojump_clock: MockClock) -> None:
    """The status has its usual meaning, even if a common hook raises for it."""

    async def raise_for_status(response: httpx2.Response) -> None:
        await trio.lowlevel.checkpoint()
        response.raise_for_status()

    for status, expected in ((401, (0, 0, 1)), (413, (0, 1, 0)), (503, (1, 0, 0))):
        server = Server(httpx2.Response(status))
        server.client.event_hooks = {"response": [raise_for_status]}
        account = (await record(server)).sinks["lines"]
        assert (account.delivered, account.rejected, account.failed) == expected
        assert account.last_error == f"HTTP {status}"


async def test_an_error_raised_by_the_client_leaves_the_payload_in_doubt(autojump_clock: MockClock) -> None:
    """The client may raise after the server has responded."""
    server = Server(RuntimeError("after the answer"), httpx2.Response(413))
    account = (await record(server)).sinks["lines"]
    assert (account.rejected, account.failed) == (0, 1)


async def test_a_closed_client_costs_its_events_and_nothing_else(autojump_clock: MockClock) -> None:
    """The events are counted as failed."""
    server = Server()
    await server.client.aclose()
    stats = await record(server, retry_budget=5)
    assert stats.sinks["lines"].failed == 1
    assert "closed" in str(stats.sinks["lines"].last_error)


@pytest.mark.parametrize(
    ("verify", "expected"), [(True, ssl.CERT_REQUIRED), (False, ssl.CERT_NONE)], ids=["checked", "not checked"]
)
async def test_certificates_are_verified_unless_verification_is_switched_off(
    verify: bool, expected: ssl.VerifyMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's certificates are used, and no proxy of the environment unless requested."""
    made = list[dict[str, Any]]()
    honest = httpx2.AsyncClient

    def watched(**settings: Any) -> httpx2.AsyncClient:
        made.append(settings)
        return honest(transport=httpx2.MockTransport(lambda _: httpx2.Response(204)))

    monkeypatch.setattr(httpx2, "AsyncClient", watched)
    endpoint = Endpoint("https://metrics.example", verify=verify)
    await endpoint.request("GET", "/")
    await endpoint.request("GET", "/")
    await endpoint.aclose()
    assert len(made) == 1
    assert made[0]["trust_env"] is False
    context = made[0]["verify"]
    assert (context.verify_mode if isinstance(context, ssl.SSLContext) else ssl.CERT_NONE) is expected


def test_response_excerpts_are_on_one_line() -> None:
    """They may contain any bytes."""
    assert Response(400, {}, b" a\r\n\tb  c ").words == "a b c"
    assert Response(400, {}, b"").words == ""
