"""An event that the server may have stored is never rejected."""

import httpx2
import pytest
import trio

from tests.helpers import balanced
from tests.sinks.influxdb.server import CONFLICT, FakeServer, error, events, receipt
from tests.sinks.line_parsers import PARSERS
from trio_batchmetrics import Batch, BatchMetricsConfig, Gauge, collector
from trio_batchmetrics.abc import EventIds, Payload, Receipt


async def test_a_single_event_that_was_not_dropped_is_not_rejected() -> None:
    """The server reports that it dropped none, so the event may be stored."""
    text = "partial write: something new dropped=0"
    assert await receipt(error(400, text), events([0])) == Receipt.failed(f'HTTP 400: {{"error":"{text}"}}')
    found = await receipt(error(400, "partial write: unable to parse 'odd': no dropped=0"), events([0]))
    assert found.rest == "split"


class Partial(FakeServer):
    """Stores everything except a 7 without saying which or how many it dropped; later it refuses stored events."""

    later: httpx2.Response | None = None

    async def answer(self, request: httpx2.Request) -> httpx2.Response:
        """Refuse the 7, and later everything."""
        await trio.lowlevel.checkpoint()
        body = request.content.decode()
        self.bodies.append(body)
        if self.later is not None and len(self.bodies) > 1 and " value=7.0 " not in body:
            return self.later
        lines = PARSERS["influxdb"](body)
        self.stored += [line for line in lines if line.fields["value"] != 7]
        return error(400, "partial write: no sevens") if " value=7.0 " in body else httpx2.Response(204)


async def test_an_event_that_is_refused_alone_is_rejected_although_others_were_stored() -> None:
    """This event was never stored."""
    server = Partial()
    async with collector(sinks=[server.sink()]) as metrics:
        for number in range(16):
            metrics.record_gauge("m", {}, number)
    account = balanced(metrics.stats()).sinks["influxdb"]
    assert (account.delivered, account.rejected, account.failed) == (15, 1, 0)


@pytest.mark.parametrize("later", [error(413, "too large"), error(403, "no"), httpx2.Response(400, text="bad request")])
async def test_events_that_may_be_stored_are_not_rejected_when_they_are_refused_later(later: httpx2.Response) -> None:
    """After a partial write they are refused for another reason, and count as failed."""
    server = Partial()
    server.later = later
    async with collector(sinks=[server.sink()]) as metrics:
        for number in range(16):
            metrics.record_gauge("m", {}, number)
    account = balanced(metrics.stats()).sinks["influxdb"]
    assert len(server.stored) >= 15
    assert (account.delivered, account.rejected, account.failed) == (0, 1, 15)


async def test_events_that_may_be_stored_stay_in_doubt_while_other_payloads_are_sent() -> None:
    """A partly stored payload is set aside, and the same happens to another one."""
    server = FakeServer()
    sink = server.sink()

    async def send(first: int, last: int, *answers: httpx2.Response) -> Receipt:
        server.answers += answers
        payload = events(range(first, last))
        batch = Batch(payload, ids=EventIds("run", range(first, last)))
        found = await sink.send(Payload(batch, (sink.encode(payload),), "key"))
        assert found is not None
        return found

    some = error(400, "partial write: no sevens")
    for first in (100, 200):
        found = await send(first, first + 100, some)
        assert (found.rest, found.in_doubt) == ("split", False)
    large = error(413, "too large")
    assert await send(150, 151, large) == Receipt.failed('HTTP 413: {"error":"too large"}')  # counts as failed
    assert await send(250, 251, large) == Receipt.failed('HTTP 413: {"error":"too large"}')
    assert (await send(300, 301, large)).rest == "split"  # rejected: it was in neither payload
    assert (await send(150, 151, some)).rest == "split"  # rejected: a stored event couldn't be at fault


async def test_an_event_that_was_never_stored_is_rejected_if_it_is_too_large() -> None:
    """It is the only event of its payload."""
    server = FakeServer(error(413, "too large"))
    async with collector(sinks=[server.sink()]) as metrics:
        metrics.record_gauge("m", {}, 1)
    assert balanced(metrics.stats()).sinks["influxdb"].rejected == 1


async def test_rejections_learned_from_slow_responses_are_not_lost(autojump_clock: trio.testing.MockClock) -> None:
    """Many measurements conflict, each named by its own response: the attempt ends before all are known."""

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


ODD = events([4, 5], "odd")
NEW = error(400, "partial write: something new")


class Broken(FakeServer):
    """Loses the response to its second request."""

    async def answer(self, request: httpx2.Request) -> httpx2.Response:
        """Break the connection, or respond."""
        if len(self.bodies) == 1:
            raise httpx2.ReadError("gone", request=request)
        return await super().answer(request)


@pytest.mark.parametrize(
    ("answers", "server", "expected"),
    [
        # Both odd lines are refused, and the response about the other lines is lost, or asks for time.
        ([error(400, CONFLICT.format("odd", 2))], Broken(), ({4, 5}, [0, 1, 2, 3], None, True)),
        (
            [error(400, CONFLICT.format("odd", 2)), httpx2.Response(503, headers={"Retry-After": "7"})],
            FakeServer(),
            ({4, 5}, [0, 1, 2, 3], 7, False),
        ),
        # One of the odd lines is refused. They are stored in the end, but some of the others may not be.
        (
            [error(400, CONFLICT.format("odd", 1)), httpx2.Response(204), NEW],
            FakeServer(),
            (set[int](), [0, 1, 2, 3], None, False),
        ),
    ],
    ids=["lost", "busy", "unknown"],
)
async def test_lines_written_again_are_in_doubt_only_if_that_response_is_lost(
    answers: list[httpx2.Response], server: FakeServer, expected: tuple[set[int], list[int], float | None, bool]
) -> None:
    """A line that is refused in a later write was stored by none before."""
    found = await receipt(answers, [*events(range(4)), *ODD], server)
    assert (set(found.rejected), found.retry, found.retry_after, found.in_doubt) == expected


async def test_a_response_about_the_whole_request_ends_the_attempt() -> None:
    """There is no point in sending the other lines as well."""
    server = FakeServer(error(400, CONFLICT.format("odd", 1)), httpx2.Response(401))
    found = await receipt([], [*events(range(4)), *ODD], server)
    assert (found.rest, found.error, len(server.bodies)) == ("failed", "HTTP 401", 2)


@pytest.mark.parametrize(
    ("answers", "stored"),
    [
        ([error(400, CONFLICT.format("odd", 1)), error(400, CONFLICT.format("odd", 1)), httpx2.Response(204)], True),
        ([httpx2.Response(400, text="too big packed request; mustn't exceed 1000 bytes; got 1318 bytes")], False),
    ],
    ids=["some stored", "too large"],
)
async def test_an_event_that_is_too_large_alone_failed_only_if_an_earlier_write_may_have_stored_it(
    answers: list[httpx2.Response], stored: bool
) -> None:
    """The server stores nothing of a request that is too large."""
    server = FakeServer(*answers, error(413, "too large"))
    sink = server.sink()
    payload = [*events(range(4)), *ODD]
    outcomes: list[str] = []
    for first, last in ((0, 6), (5, 6)):
        part = payload[first:last]
        batch = Batch(part, ids=EventIds("r", range(first, last)))
        found = await sink.send(Payload(batch, (sink.encode(part),), "key"))
        assert found is not None
        outcomes.append(found.rest)
    assert outcomes == (["retry", "failed"] if stored else ["split", "split"])


async def test_positions_are_those_of_the_payload_although_an_event_is_beyond_the_servers_limits() -> None:
    """Such an event turns up only once the dialect is known; its line is left out, and the others move up."""
    some = error(400, CONFLICT.format("odd", 1))
    payload = [Gauge("large", {"a": "x" * 5000}, 1, timestamp=1), *events(range(1, 4)), *ODD]
    server = FakeServer(dialect="victoriametrics")
    found = await receipt([some, some, httpx2.Response(204)], payload, server)
    assert (set(found.rejected), found.rest, found.retry) == ({0}, "retry", [4, 5])
    found = await receipt([error(413, "too large")], payload, server)
    assert (set(found.rejected), found.rest, found.in_doubt) == ({0}, "split", False)
    found = await receipt([error(401, "no")], payload, server)
    assert (set(found.rejected), found.rest) == ({0}, "failed")
