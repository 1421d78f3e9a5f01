"""Sinks over HTTP on real connections: TLS, proxies of the environment, and one connection for many payloads."""

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import h11
import pytest
import trio
import trustme

from tests.helpers import balanced
from tests.sinks.http_server import HTTPServer
from tests.sinks.test_http import LinesSink
from trio_batchmetrics import BatchMetricsConfig, BatchMetricsStats, collector

AUTHORITY = trustme.CA()
CERTIFICATE = AUTHORITY.issue_cert("127.0.0.1")


class Seen(HTTPServer):
    """A server that records connections and each request's target."""

    def __init__(self, *, sets_cookies: bool = False) -> None:
        super().__init__()
        self.targets: list[bytes] = []
        self.cookies: list[bytes] = []
        self.sets_cookies = sets_cookies

    def answer(self, request: h11.Request) -> tuple[int, list[tuple[str, str]], bytes]:
        """Respond with 204."""
        self.targets.append(request.target)
        self.cookies += [value for name, value in request.headers if name == b"cookie"]
        return 204, [("set-cookie", f"c{len(self.targets)}=1")] if self.sets_cookies else [], b""


@asynccontextmanager
async def serving(*, tls: bool = False, cookies: bool = False) -> AsyncGenerator[tuple[Seen, str], None]:
    """Serve on a free port, over TLS on request; yield the server, and host and port."""
    seen = Seen(sets_cookies=cookies)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    CERTIFICATE.configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    async with seen.listening(context if tls else None) as address:
        yield seen, address


async def deliver(url: str, payloads: int = 1, **settings: Any) -> BatchMetricsStats:
    """Deliver this many payloads."""
    config = BatchMetricsConfig(shutdown_timeout=0.5)
    async with collector(config, sinks=[LinesSink(url, backoff=0.01, max_backoff=0.01, **settings)]) as metrics:
        for number in range(payloads):
            metrics.record_counter("c", {}, number)
            with trio.move_on_after(1):
                await metrics.flush()
    return balanced(metrics.stats())


@pytest.mark.parametrize("how", ["a file", "a context", "not checked"])
async def test_a_trusted_certificate_is_accepted(how: str, tmp_path: Path) -> None:
    """The authority is given by a file or a TLS context, or verification is off."""
    AUTHORITY.cert_pem.write_to_path(tmp_path / "authority.pem")
    context = ssl.create_default_context(cafile=tmp_path / "authority.pem")
    verify: Any = {"a file": str(tmp_path / "authority.pem"), "a context": context, "not checked": False}[how]
    async with serving(tls=True) as (seen, address):
        stats = await deliver(f"https://{address}", verify=verify)
    assert stats.sinks["lines"].delivered == 1
    assert seen.targets == [b"/in"]


async def test_an_untrusted_certificate_is_refused(tmp_path: Path) -> None:
    """It may change, so the sink retries; nothing is sent meanwhile, and the error gives the reason."""
    async with serving(tls=True) as (seen, address):
        # Within its budget: httpcore2 leaves the socket to the garbage collector where a handshake is cancelled.
        stats = await deliver(f"https://{address}", retry_budget=0.2)
    assert stats.sinks["lines"].failed == 1
    assert stats.sinks["lines"].retries > 0
    assert "certificate" in str(stats.sinks["lines"].last_error).lower()
    assert seen.targets == []


@pytest.mark.parametrize("trust_env", [False, True])
async def test_proxies_of_the_environment_are_used_only_on_request(
    trust_env: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a variable set for a browser would send metrics elsewhere."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with serving() as (server, address), serving() as (proxy, proxy_address):
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy_address}")
        monkeypatch.setenv("http_proxy", f"http://{proxy_address}")
        stats = await deliver(f"http://{address}", trust_env=trust_env)
    assert stats.sinks["lines"].delivered == 1
    assert len(server.targets) == (not trust_env)
    assert proxy.targets == ([f"http://{address}/in".encode()] if trust_env else [])


@pytest.mark.parametrize("tls", [False, True])
async def test_many_payloads_go_over_one_connection(tls: bool, tmp_path: Path) -> None:
    """Opening a connection costs more than a payload."""
    AUTHORITY.cert_pem.write_to_path(tmp_path / "authority.pem")
    async with serving(tls=tls) as (seen, address):
        scheme = "https" if tls else "http"
        stats = await deliver(f"{scheme}://{address}", payloads=20, verify=str(tmp_path / "authority.pem"))
    assert stats.sinks["lines"].delivered == 20
    assert len(seen.targets) == 20
    assert seen.connections == 1


async def test_cookies_are_not_kept() -> None:
    """A server that sets a new one with each response would be sent all of them, until it refuses."""
    async with serving(cookies=True) as (seen, address):
        stats = await deliver(f"http://{address}", payloads=5)
    assert stats.sinks["lines"].delivered == 5
    assert seen.cookies == []
