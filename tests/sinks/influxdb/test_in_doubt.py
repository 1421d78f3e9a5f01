"""An event that the server may have stored is never rejected."""

import httpx2
import pytest
import trio

from tests.helpers import balanced
from tests.sinks.influxdb.server import CONFLICT, FakeServer, error, events, receipt
from tests.sinks.line_parsers import PARSERS
from trio_batchmetrics import Batch, BatchMetricsConfig, collector
from trio_batchmetrics.abc import EventIds, Payload, Receipt


async def test_a_single_event_that_was_not_dropped_is_not_rejected() -> None:
    """The server reports that it dropped none, so the event may be stored."""
    text = "partial write: something new dropped=0"
    assert await receipt(error(400, text), events([0])) == Receipt(error=f'HTTP 400: {{"error":"{text}"}}')
    found = await receipt(error(400, "partial write: unable to parse 'odd': no dropped=0"), events([0]))
    assert found.too_large


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
        assert (found.too_large, found.uncertain) == (True, False)
    large = error(413, "too large")
    assert await send(150, 151, large) == Receipt(error='HTTP 413: {"error":"too large"}')  # counts as failed
    assert await send(250, 251, large) == Receipt(error='HTTP 413: {"error":"too large"}')
    assert (await send(300, 301, large)).too_large  # rejected: it was in neither payload
    assert (await send(150, 151, some)).too_large  # rejected: a stored event couldn't be at fault


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
