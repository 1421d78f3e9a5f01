"""If a response doesn't tell which event is at fault, halving finds it."""

import httpx2
import pytest

from tests.helpers import balanced
from tests.sinks.influxdb.server import (
    CONFLICT,
    OCCURRED,
    FakeServer,
    error,
    events,
    numbered,
    outside,
    receipt,
    unparsed,
)
from trio_batchmetrics import collector


@pytest.mark.parametrize(
    "answer",
    [
        error(400, outside(2, newest="Write Window Upper")),  # some of the oldest, and some of the newest
        error(400, outside(9)),
        error(500, "points beyond retention policy"),
    ],
)
async def test_points_outside_the_retention_are_found_by_halving_where_their_number_is_ambiguous(
    answer: httpx2.Response,
) -> None:
    """The payload isn't retried unchanged for 300 s."""
    found = await receipt(answer, events(range(4)))
    assert (found.rejected, found.rest) == ({}, "split")


@pytest.mark.parametrize(
    "answer",
    [
        error(400, CONFLICT.format("m", 3)),  # of the four, without naming them
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
async def test_a_response_that_does_not_identify_the_event_halves_the_payload(answer: httpx2.Response) -> None:
    """It is halved down to one event, which is then rejected."""
    found = await receipt(answer, events(range(4)))
    assert (found.rejected, found.rest) == ({}, "split")
    assert str(found.error).startswith(f"HTTP {answer.status_code}: ")


async def test_halving_finds_the_event_at_fault() -> None:
    """The server refuses any body that contains it and doesn't name it."""

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
