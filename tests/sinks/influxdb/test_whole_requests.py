"""A response that names no event decides about the whole request, and no response makes the sink crash."""

import httpx2
import pytest
import trio

from tests.sinks.influxdb.server import FakeServer, error, error2, events, receipt
from trio_batchmetrics import collector
from trio_batchmetrics.abc import Receipt


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (httpx2.Response(204), Receipt()),
        (httpx2.Response(200), Receipt()),
        # About the request as a whole.
        (error(400, "database is required"), Receipt.failed('HTTP 400: {"error":"database is required"}')),
        (error(404, 'database not found: "x"'), Receipt.failed('HTTP 404: {"error":"database not found: \\"x\\""}')),
        (error(401, "authorization failed"), Receipt.failed('HTTP 401: {"error":"authorization failed"}')),
        (error(403, "no"), Receipt.failed('HTTP 403: {"error":"no"}')),
        (error2(404, "bucket not found"), Receipt.failed('HTTP 404: {"code":"invalid","message":"bucket not found"}')),
        (httpx2.Response(405, text="no"), Receipt.failed("HTTP 405: no")),
        (httpx2.Response(400), Receipt.failed("HTTP 400")),
        (httpx2.Response(400, json=["odd"]), Receipt.failed('HTTP 400: ["odd"]')),
        (error(400, "bad org", data={}), Receipt.failed('HTTP 400: {"error":"bad org","data":{}}')),
        (error(400, "bad", data=["odd"]), Receipt.failed('HTTP 400: {"error":"bad","data":["odd"]}')),
        # To be retried.
        (
            httpx2.Response(503, text="request throttled, queue full"),
            Receipt.retried(error="HTTP 503: request throttled, queue full"),
        ),
        (httpx2.Response(429, headers={"Retry-After": "7"}), Receipt.retried(7, error="HTTP 429")),
        (
            error(500, "partial write: x dropped=2"),
            Receipt.retried(error='HTTP 500: {"error":"partial write: x dropped=2"}', in_doubt=True),
        ),
        # Too large.
        (
            error(413, "Request Entity Too Large"),
            Receipt.split(error='HTTP 413: {"error":"Request Entity Too Large"}'),
        ),
        (
            httpx2.Response(400, text="too big unpacked request; mustn't exceed 1000 bytes; got 1318 bytes"),
            Receipt.split(error="HTTP 400: too big unpacked request; mustn't exceed 1000 bytes; got 1318 bytes"),
        ),
    ],
)
async def test_responses_to_the_whole_request_decide_about_all_its_events(
    answer: httpx2.Response, expected: Receipt
) -> None:
    """The payload is delivered, given up, retried, or halved."""
    assert await receipt(answer, events(range(4))) == expected


async def test_a_500_that_does_not_mention_points_is_retried() -> None:
    """The error may be temporary."""
    found = await receipt(error(500, "timeout"), events(range(4)))
    assert (found.rest, found.in_doubt) == ("retry", True)


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
async def test_an_unreadable_response_is_given_up_and_quotes_the_server(body: bytes) -> None:
    """No error of the library replaces the server's message."""
    found = await receipt(httpx2.Response(400, content=body), events(range(4)))
    assert (found.rejected, found.rest) == ({}, "failed")
    assert str(found.error).startswith(f"HTTP 400: {body[:20].decode()}")


async def test_a_missing_response_is_retried(autojump_clock: trio.testing.MockClock) -> None:
    """The connection breaks."""

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
