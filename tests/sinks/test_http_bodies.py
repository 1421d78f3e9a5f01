"""Bodies of responses: the status counts first, gzip and deflate are decoded, and reading is bounded."""

import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
import trio
from trio.testing import MockClock

from tests.helpers import balanced
from tests.sinks.test_http import Server, record
from trio_batchmetrics import BatchMetricsStats, collector
from trio_batchmetrics._http.bodies import MAX_BYTES
from trio_batchmetrics.sinks import ElasticsearchSink


def members(data: bytes) -> bytes:
    """Compress into two members, as proxies may concatenate them."""
    return gzip.compress(data[:5]) + gzip.compress(data[5:])


def padded(data: bytes) -> bytes:
    """Compress, and append zeros."""
    return gzip.compress(data) + b"\0" * 20


def raw_deflate(data: bytes) -> bytes:
    """Compress without zlib's header, as some servers do that take "deflate" literally."""
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflate.compress(data) + deflate.flush()


async def pieces(data: bytes, size: int = 7) -> AsyncIterator[bytes]:
    """Send a body in pieces, as from a network: httpx2 does not read such a body by itself."""
    for start in range(0, len(data), size):
        await trio.lowlevel.checkpoint()
        yield data[start : start + size]


async def without_end() -> AsyncIterator[bytes]:
    """Send endlessly."""
    while True:
        await trio.lowlevel.checkpoint()
        yield b"x" * 10_000


async def stalling() -> AsyncIterator[bytes]:
    """Send some bytes, then nothing."""
    yield b"some of it"
    await trio.sleep_forever()


async def breaking() -> AsyncIterator[bytes]:
    """Send some bytes, then lose the connection."""
    yield b"some of it"
    await trio.lowlevel.checkpoint()
    raise httpx2.ReadError("reset")


def encoded(status: int, encoding: str, body: AsyncIterator[bytes]) -> httpx2.Response:
    """Return a response with an encoding."""
    return httpx2.Response(status, headers={"content-encoding": encoding}, content=body)


@pytest.mark.parametrize(
    "body",
    [
        lambda: encoded(204, "gzip", pieces(b"")),
        lambda: encoded(200, "gzip", pieces(b"no gzip at all")),
        lambda: encoded(200, "gzip", pieces(gzip.compress(b"ok")[:-6])),
        lambda: encoded(200, "br", pieces(b"whatever")),
        lambda: encoded(200, "gzip, gzip", pieces(b"whatever")),
        lambda: encoded(200, "gzip", pieces(gzip.compress(b"x" * 50_000_000), 1000)),
        lambda: httpx2.Response(200, content=without_end()),
    ],
    ids="empty-gzip bad-gzip cut-gzip br twice bomb endless".split(),
)
async def test_a_2xx_is_delivered_regardless_of_its_body(
    body: Callable[[], httpx2.Response], autojump_clock: MockClock
) -> None:
    """The payload is not sent again, and the bound on reading applies to the decoded body."""
    server = Server(body())
    account = (await record(server, 2)).sinks["lines"]
    assert (account.delivered, account.retries, account.last_error) == (2, 0, None)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [200, 204, 400])
@pytest.mark.parametrize("how", ["stalls", "breaks off"])
async def test_an_incomplete_response_does_not_count_as_one(status: int, how: str, autojump_clock: MockClock) -> None:
    """Whatever broke it off may have made up the status too: the payload is in doubt, and sent again."""
    body = stalling() if how == "stalls" else breaking()
    server = Server(httpx2.Response(status, content=body), httpx2.Response(413))
    account = (await record(server)).sinks["lines"]
    assert (account.delivered, account.retries, account.failed, account.rejected) == (0, 1, 1, 0)


@pytest.mark.parametrize("status", [400, 413, 503])
async def test_the_status_of_a_refusal_counts_even_if_its_body_is_unreadable(
    status: int, autojump_clock: MockClock
) -> None:
    """It is refused, too large or retried as with any other body."""
    server = Server(encoded(status, "br", pieces(b"whatever")))
    account = (await record(server)).sinks["lines"]
    assert (account.failed, account.rejected, account.delivered) == (status == 400, status == 413, status == 503)
    assert account.last_error == f"HTTP {status}"


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("gzip", members),
        ("gzip", padded),
    ],
    ids="gzip x-gzip upper-case deflate raw-deflate members padded".split(),
)
@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_gzip_and_deflate_are_decoded(
    encoding: str, compress: Callable[[bytes], bytes], size: int, autojump_clock: MockClock
) -> None:
    """The message of a refusal is readable, into whatever pieces it is split."""
    if encoding == "deflate" and size == 1 and compress is raw_deflate:
        size = 2
    server = Server(encoded(400, encoding, pieces(compress(b"field type conflict"), size)))
    assert (await record(server)).sinks["lines"].last_error == "HTTP 400: field type conflict"


@pytest.mark.parametrize(
    ("body", "least"),
    [(gzip.compress(b"word " * 600_000), 3_000_000 // 64_000), (gzip.compress(b"") * 5_000, 5_000)],
    ids=["long", "many empty members"],
)
async def test_decompressing_a_body_never_blocks_the_event_loop_for_long(body: bytes, least: int) -> None:
    """Other tasks run between any two steps."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    server = Server(encoded(400, "gzip", pieces(body, 1_000_000)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        await record(server)
        nursery.cancel_scope.cancel()
    assert turns > least


# ------------------------------------------------------------------------------------------------------------- _bulk


def items(request: httpx2.Request, status: int = 201) -> bytes:
    """Return a response with an item for each event."""
    events = len(request.content.splitlines()) // 2
    return json.dumps({"errors": False, "items": [{"create": {"status": status}}] * events}).encode()


async def bulk(answer: Callable[[httpx2.Request], httpx2.Response], events: int = 4) -> tuple[BatchMetricsStats, int]:
    """Record events into an ElasticsearchSink; return the account, and the number of requests."""
    server = Server(*[answer] * 1000)
    sink = ElasticsearchSink("http://search.example", index="i", client=server.client)
    async with collector(sinks=[sink]) as metrics:
        for number in range(events):
            metrics.record_counter("c", {}, number)
        await metrics.flush()
    return balanced(metrics.stats()), len(server.requests)


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_compressed_bulk_response_is_read(encoding: str, compress: Any, autojump_clock: MockClock) -> None:
    """Each event's own result counts, and one request suffices."""
    stats, requests = await bulk(lambda request: encoded(200, encoding, pieces(compress(items(request)))))
    assert (stats.sinks["elasticsearch"].delivered, requests) == (4, 1)


async def test_a_bulk_response_that_is_never_readable_is_requested_a_bounded_number_of_times(
    autojump_clock: MockClock,
) -> None:
    """After five requests, which ids make safe, the events have failed: they may have arrived."""
    stats, requests = await bulk(lambda request: encoded(200, "br", pieces(items(request))))
    account = stats.sinks["elasticsearch"]
    assert (account.failed, account.delivered, requests) == (4, 0, 5)
    assert account.last_error == "HTTP 200 with a body in the encoding 'br'"


async def test_a_bulk_response_that_is_readable_the_second_time_delivers(autojump_clock: MockClock) -> None:
    """The documents of the first request are already there, so their ids conflict: 409."""
    calls = 0

    def answer(request: httpx2.Request) -> httpx2.Response:
        nonlocal calls
        calls += 1
        if calls == 1:
            return httpx2.Response(200, content=breaking())
        return httpx2.Response(200, content=items(request, 409))

    stats, requests = await bulk(answer)
    assert (stats.sinks["elasticsearch"].delivered, requests) == (4, 2)


async def test_a_bulk_response_that_is_too_long_is_requested_in_halves(autojump_clock: MockClock) -> None:
    """Half of the events have half of the response; a single event whose response is too long fails in the end."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        events = len(request.content.splitlines()) // 2
        body = items(request) if events <= 2 else b" " * (MAX_BYTES + 1)
        return httpx2.Response(200, content=pieces(body, 100_000))

    stats, requests = await bulk(answer, 8)
    assert (stats.sinks["elasticsearch"].delivered, requests) == (8, 7)
    stats, requests = await bulk(lambda _: httpx2.Response(200, content=without_end()), 1)
    assert (stats.sinks["elasticsearch"].failed, requests) == (1, 5)
