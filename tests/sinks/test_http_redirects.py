"""Redirects are followed within one origin, never beyond, and always explained; dates without a zone are UTC."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from trio.testing import MockClock

from tests.sinks.test_http import Server, record
from trio_batchmetrics._http import retry_after


def to(location: str, status: int = 307) -> httpx2.Response:
    """Return a response that redirects to a location."""
    return httpx2.Response(status, headers={"location": location}, text="over there")


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize(
    "location",
    [
        "/base/in/",
        "http://metrics.example/base/in/",
        "http://metrics.example:80/base/in/",
        "in/",
        "//metrics.example/base/in/",
        "http://bob:word@metrics.example/base/in/",
    ],
)
async def test_a_redirect_within_the_origin_is_followed(status: int, location: str, autojump_clock: MockClock) -> None:
    """The same attempt repeats the method, the body and the credentials."""
    server = Server(to(location, status))
    account = (await record(server, 2, auth=("ann", "s3cret"), headers={"x-key": "k3y-of-mine"})).sinks["lines"]
    assert (account.delivered, account.retries, account.last_error) == (2, 0, None)
    first, second = server.requests
    assert str(second.url) == "http://metrics.example/base/in/"
    assert (second.method, second.content) == ("POST", b"0\n1\n")
    for name in ("authorization", "x-key", "content-type"):
        assert second.headers[name] == first.headers[name]


@pytest.mark.parametrize(
    ("location", "origin"),
    [
        ("http://elsewhere.example/base/in?token=s3cret", "http://elsewhere.example"),
        ("https://metrics.example/base/in", "https://metrics.example"),
        ("http://metrics.example:8080/base/in", "http://metrics.example:8080"),
        ("//ann:s3cret@elsewhere.example:81/s3cret", "http://elsewhere.example:81"),
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_to_another_origin_is_an_error_that_names_it(
    status: int, location: str, origin: str, autojump_clock: MockClock
) -> None:
    """Neither events nor credentials are sent there, and neither path, query nor password is shown."""
    server = Server(to(location, status))
    account = (await record(server, 2, auth=("ann", "s3cret"))).sinks["lines"]
    assert (account.failed, account.retries) == (2, 0)
    assert account.last_error == f"HTTP {status} to {origin}: over there"
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [300, 301, 302, 303])
async def test_a_redirect_that_may_change_the_method_is_an_error(status: int, autojump_clock: MockClock) -> None:
    """This includes the same origin: a GET would arrive there without events."""
    server = Server(to("/login", status))
    account = (await record(server)).sinks["lines"]
    assert account.last_error == f"HTTP {status} to http://metrics.example: over there"
    assert len(server.requests) == 1


async def test_a_loop_of_redirects_ends(autojump_clock: MockClock) -> None:
    """After five redirects the response counts as an error."""
    server = Server(*[to("/base/in")] * 50)
    account = (await record(server)).sinks["lines"]
    assert (account.failed, len(server.requests)) == (1, 6)
    assert account.last_error == "HTTP 307 to http://metrics.example: over there"


@pytest.mark.parametrize("location", ["http://[::1", "http://x\x00y/", "mailto:ann", "http://metrics.example:99999/"])
async def test_an_invalid_location_header_does_no_harm(location: str, autojump_clock: MockClock) -> None:
    """The status still counts."""

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(307, headers=[(b"location", location.encode())], text="over there")

    account = (await record(Server(answer))).sinks["lines"]
    assert str(account.last_error).startswith("HTTP 307")
    assert account.failed == 1


async def test_the_response_behind_a_redirect_counts(autojump_clock: MockClock) -> None:
    """A refusal there is a refusal, and a 503 is retried from the start."""
    server = Server(to("/base/in/"), httpx2.Response(503), to("/base/in/"), httpx2.Response(413))
    account = (await record(server)).sinks["lines"]
    assert (account.rejected, account.retries) == (1, 1)
    assert [request.url.path for request in server.requests] == ["/base/in", "/base/in/"] * 2


# --------------------------------------------------------------------------------------------------------- Retry-After


@pytest.fixture
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run in a time zone eleven hours ahead of UTC."""
    monkeypatch.setenv("TZ", "Etc/GMT-11")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system cannot change a process's time zone")
@pytest.mark.parametrize("form", ["%a %b %d %H:%M:%S %Y", "%a, %d %b %Y %H:%M:%S -0000", "%a, %d %b %Y %H:%M:%S GMT"])
def test_a_retry_after_date_without_a_zone_is_utc(form: str, far_from_greenwich: None) -> None:
    """It may be in C's asctime form, with -0000, or in the usual form: the same moment (RFC 9110 §5.6.7)."""
    header = (datetime.now(UTC) + timedelta(seconds=40)).strftime(form)
    assert 38 <= (retry_after(header) or 0) <= 40
