"""Credentials, paths and queries are never shown, whatever contains or repeats them."""

import logging
from base64 import b64encode
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from typing import Any

import h11
import httpx2
import pytest
import trio
from trio.testing import MockClock

from tests.helpers import balanced
from tests.sinks.http_server import HTTPServer
from tests.sinks.test_http import LinesSink
from trio_batchmetrics import BatchMetricsConfig, collector

SECRET = "s3cret-of-mine"
BASIC = b64encode(f"ann:{SECRET}".encode()).decode()


class HeaderAuth(httpx2.Auth):
    """A user's own scheme."""

    def __init__(self, key: str, header: str) -> None:
        self.key = key
        self.header = header

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Put the key into a header."""
        request.headers[self.header] = self.key
        yield request


class ClosureAuth(httpx2.Auth):
    """A scheme without attributes that could be inspected."""

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Put the secret into a header."""
        request.headers["x-signature"] = f"v1 {SECRET}"
        yield request


def echo(request: httpx2.Request) -> httpx2.Response:
    """Refuse a request and repeat all of it, decoded where that is easy."""
    headers = "; ".join(f"{name}: {value}" for name, value in request.headers.items())
    plain = SECRET if BASIC in headers else ""
    return httpx2.Response(403, text=f"no! {request.method} {request.url} {headers} {plain}")


def digest(request: httpx2.Request) -> httpx2.Response:
    """Ask for digest authentication, then refuse and repeat the request."""
    if "authorization" not in request.headers:
        challenge = 'Digest realm="metrics", nonce="abc", qop="auth", algorithm=SHA-256'
        return httpx2.Response(401, headers={"www-authenticate": challenge})
    return echo(request)


def client(handler: Callable[[httpx2.Request], httpx2.Response] = echo, **settings: Any) -> httpx2.AsyncClient:
    """Create a client of the application."""
    return httpx2.AsyncClient(transport=httpx2.MockTransport(handler), **settings)


async def shown(sink: LinesSink, caplog: pytest.LogCaptureFixture) -> str:
    """Deliver an event that is refused; return everything visible about it, including the log at DEBUG."""
    caplog.set_level(logging.DEBUG, logger="trio_batchmetrics")
    async with collector(BatchMetricsConfig(shutdown_timeout=2), sinks=[sink]) as metrics:
        metrics.record_counter("c", {}, 1)
    account = balanced(metrics.stats()).sinks["lines"]
    assert account.failed == 1
    ours = " ".join(record.getMessage() for record in caplog.records if record.name == "trio_batchmetrics")
    return f"{account.last_error} {ours} {sink!r} {sink.server!r} {metrics.stats()} {metrics.stats().sinks!r}"


@pytest.mark.parametrize(
    "settings",
    [
        lambda: {"auth": httpx2.BasicAuth("ann", SECRET), "client": client()},
        lambda: {"auth": HeaderAuth(SECRET, "x-api-key"), "client": client()},
        lambda: {"auth": HeaderAuth(f"Bearer {SECRET}", "authorization"), "client": client()},
        lambda: {"auth": ClosureAuth(), "client": client()},
        lambda: {"client": client(auth=("ann", SECRET))},
        lambda: {"client": client(auth=ClosureAuth())},
        lambda: {"client": client(headers={"authorization": f"Token {SECRET}"})},
        lambda: {"client": client(headers={"x-key": SECRET})},
        lambda: {"client": client(cookies={"session": SECRET})},
        lambda: {"client": client(params={"token": SECRET})},
    ],
    ids="basic own-header own-bearer closure client-auth client-own-auth client-header client-key cookie query".split(),
)
async def test_a_request_repeated_by_the_server_is_shown_without_credentials(
    settings: Callable[[], Any], autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """This covers credentials in an httpx2.Auth, and those of the application's client."""
    words = await shown(LinesSink("http://metrics.example/base", **settings()), caplog)
    assert "HTTP 403: no! POST" in words
    assert SECRET not in words
    assert BASIC not in words
    assert "/base" not in words


async def test_digest_authentication_repeated_by_the_server_is_not_shown(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the user nor the proof is shown, since the proof can be tested against passwords."""
    proofs: list[str] = []

    def refuse(request: httpx2.Request) -> httpx2.Response:
        proofs.append(request.headers.get("authorization", "").partition('response="')[2].partition('"')[0])
        return digest(request)

    auth = httpx2.DigestAuth("ann-of-mine", SECRET)
    words = await shown(LinesSink("http://metrics.example", auth=auth, client=client(refuse)), caplog)
    assert "HTTP 403: no! POST" in words
    assert len(proofs[-1]) == 64
    assert proofs[-1] not in words
    assert "ann-of-mine" not in words


@pytest.mark.parametrize(
    "answer",
    [
        lambda: httpx2.Response(307, headers={"location": f"http://{SECRET}.example/x"}),
        lambda: httpx2.Response(400, content=f"bad {SECRET}".encode("utf-16")),
    ],
    ids=["host of a redirect", "UTF-16"],
)
async def test_a_credential_is_removed_from_odd_places_of_a_response(
    answer: Callable[[], httpx2.Response], autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be in the host of a redirect, or between the NULs of UTF-16."""
    words = await shown(LinesSink("http://metrics.example", auth=SECRET, client=client(lambda _: answer())), caplog)
    assert "HTTP 307 to http://….example" in words or "HTTP 400: " in words
    assert SECRET not in words.replace("\0", "").replace("\\x00", "")


class Vault:
    """Keeps a secret in a slot."""

    __slots__ = ("empty", "secret")

    def __init__(self, secret: object) -> None:
        self.secret = secret


@pytest.mark.parametrize(
    "hold",
    [
        lambda: {"token": SECRET},
        lambda: ("ann", SECRET),
        lambda: Vault(SECRET),
        lambda: {"ann": Vault(SECRET.encode())},
        lambda: {"ann": [SECRET]},
        lambda: {"authorization": f"Bearer {SECRET}"},
    ],
    ids=["dict", "tuple", "object", "object in dict", "list in dict", "header"],
)
async def test_an_error_raised_by_an_auth_shows_no_credential_that_it_holds_in_an_object(
    hold: Callable[[], Any], autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """For example, fetching a token fails before anything is sent to the server."""

    class Fetching(httpx2.Auth):
        def __init__(self) -> None:
            self.held = hold()

        def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
            """Raise."""
            yield from ()
            raise RuntimeError(f"no token for client_secret={SECRET}")

    words = await shown(LinesSink("http://metrics.example", retry_budget=1, auth=Fetching(), client=client()), caplog)
    assert "RuntimeError: no token for client_secret=…" in words
    assert SECRET not in words


@pytest.mark.parametrize("where", ["auth", "client's auth", "base_url", "hook"])
async def test_an_error_raised_by_a_client_shows_no_credential(
    where: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """An Auth may fail before anything is sent, or a hook may show the whole client."""

    class Failing(HeaderAuth):
        def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
            """Raise an error that contains the key."""
            yield from super().auth_flow(request)
            raise RuntimeError(f"cannot sign with {self.key}")

    async def hook(_: httpx2.Request) -> None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError(f"{SECRET} {BASIC}")

    settings: dict[str, dict[str, Any]] = {
        "auth": {"auth": Failing(SECRET, "x-key"), "client": client()},
        "client's auth": {"client": client(auth=Failing(SECRET, "x-key"))},
        "base_url": {
            "client": client(base_url=f"http://ann:{SECRET}@metrics.example", event_hooks={"request": [hook]})
        },
        "hook": {"client": client(auth=("ann", SECRET), event_hooks={"request": [hook]})},
    }
    words = await shown(LinesSink("http://metrics.example", retry_budget=1, **settings[where]), caplog)
    assert "RuntimeError" in words
    assert SECRET not in words
    assert BASIC not in words


async def test_the_path_and_query_that_a_server_repeats_are_not_shown(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A path may contain a token, as with hosted back-ends."""
    words = await shown(LinesSink("http://metrics.example/t0ken-of-mine/x%20y", client=client()), caplog)
    assert "t0ken" not in words
    assert "x%20y" not in words
    assert "x y" not in words


# ------------------------------------------------------------------------------------------------ on real connections


class Echoing(HTTPServer):
    """A server that repeats the head of each request; it ignores targets, so it can also be a proxy."""

    def __init__(self, status: int = 403) -> None:
        super().__init__()
        self.status = status
        self.heads: list[str] = []

    def answer(self, request: h11.Request) -> tuple[int, list[tuple[str, str]], bytes]:
        """Repeat the request, and redirect to its target."""
        lines = [request.target, *(b"%b: %b" % pair for pair in request.headers)]
        self.heads.append("; ".join(line.decode() for line in lines))
        return self.status, [("location", lines[0].decode())], self.heads[-1].encode()


@asynccontextmanager
async def echoing(status: int = 403) -> AsyncGenerator[tuple[Echoing, str], None]:
    """Serve on a free port; yield the server, and host and port."""
    server = Echoing(status)
    with trio.fail_after(20):
        async with server.listening() as address:
            yield server, address


@pytest.mark.parametrize("whose", ["the environment's", "the client's", "the client's environment's"])
async def test_a_request_repeated_by_a_proxy_is_shown_without_the_proxys_credentials(
    whose: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The proxy may be the environment's or the client's."""
    async with echoing() as (proxy, address):
        url = f"http://ann:{SECRET}@{address}"
        settings: dict[str, Any] = {"trust_env": True}
        if whose == "the client's":
            settings = {"client": httpx2.AsyncClient(proxy=url, trust_env=False)}
        else:
            for name in ("NO_PROXY", "no_proxy"):
                monkeypatch.delenv(name, raising=False)
            for name in ("HTTP_PROXY", "http_proxy"):
                monkeypatch.setenv(name, url)
            if whose == "the client's environment's":
                settings = {"client": httpx2.AsyncClient()}
        words = await shown(LinesSink("http://metrics.example/base", **settings), caplog)
        if "client" in settings:
            await settings["client"].aclose()
    assert BASIC in proxy.heads[0]
    assert "HTTP 403" in words
    assert SECRET not in words
    assert BASIC not in words


async def test_an_invalid_proxy_is_reported_without_its_credentials(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It counts as a failed attempt, and the application continues."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", f"gopher://ann:{SECRET}@proxy.example")
    monkeypatch.setenv("http_proxy", f"gopher://ann:{SECRET}@proxy.example")
    words = await shown(LinesSink("http://metrics.example", trust_env=True, retry_budget=0.1, backoff=0.01), caplog)
    assert "Unknown scheme for proxy URL" in words
    assert SECRET not in words


async def test_the_http_clients_own_loggers_show_nothing_of_our_requests(caplog: pytest.LogCaptureFixture) -> None:
    """No level shows a path, query or credential; other clients' lines still appear, even at the same time."""
    caplog.set_level(logging.DEBUG)
    async with echoing(200) as (_, ours), echoing(200) as (_, theirs), httpx2.AsyncClient(trust_env=False) as other:
        sink = LinesSink(f"http://ann:{SECRET}@{ours}/t0ken-of-mine")
        async with collector(BatchMetricsConfig(batch_size=1), sinks=[sink]) as metrics:
            for number in range(5):
                metrics.record_counter("c", {}, number)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(metrics.flush)
                    nursery.start_soon(other.get, f"http://{theirs}/their-path?q={number}")
        await other.get(f"http://{theirs}/their-path?q=5")
    assert balanced(metrics.stats()).processed_events == 5
    lines = [f"{record.name} {record.getMessage()}" for record in caplog.records]
    assert not [line for line in lines if SECRET in line or BASIC in line or "t0ken" in line]
    for number in range(6):
        assert sum(line.startswith("httpx2 ") and f"/their-path?q={number}" in line for line in lines) == 1
        assert any(line.startswith("httpcore2.http11 receive_response_headers.complete") for line in lines)


async def test_the_http_clients_loggers_are_restored() -> None:
    """After the block, the filters, levels and handlers are the same as before."""
    loggers = [logging.getLogger(name) for name in ("httpx2", "httpcore2.http11", "httpcore2.connection")]
    mine = logging.Filter("httpx2")
    loggers[0].addFilter(mine)
    before = [(list(logger.filters), logger.level, list(logger.handlers), logger.propagate) for logger in loggers]
    try:
        async with echoing(200) as (_, address), collector(sinks=[LinesSink(f"http://{address}")]) as metrics:
            metrics.record_counter("c", {}, 1)
            await metrics.flush()
            assert mine in loggers[0].filters
        after = [(list(logger.filters), logger.level, list(logger.handlers), logger.propagate) for logger in loggers]
        assert after == before
    finally:
        loggers[0].removeFilter(mine)


async def test_an_applications_client_logs_as_its_owner_configured_it(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The client belongs to the application."""
    caplog.set_level(logging.INFO, logger="httpx2")
    own = client(lambda _: httpx2.Response(204))
    async with collector(sinks=[LinesSink("http://metrics.example/base", client=own)]) as metrics:
        metrics.record_counter("c", {}, 1)
    assert [record.getMessage() for record in caplog.records if record.name == "httpx2"] == [
        'HTTP Request: POST http://metrics.example/base/in "HTTP/1.1 204 No Content"'
    ]
