"""The sink rejects the events that a response names, and the others are delivered."""

import httpx2
import pytest

from tests.helpers import balanced
from tests.sinks.influxdb.server import (
    CONFLICT,
    DATABASE,
    LINES,
    OCCURRED,
    FakeServer,
    error,
    error2,
    events,
    numbered,
    outside,
    receipt,
    unparsed,
)
from trio_batchmetrics import Gauge, MetricEvent, collector, label, metric_event


@metric_event
class Nothing(MetricEvent):
    """Has a label, and measures nothing."""

    a: str = label("a")


INVALID = "unable to parse: invalid number"
RETENTION = "partial write: points beyond retention policy"
FULL = "partial write: max-series-per-database limit exceeded: (10)"


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
    """The other events are sent again at once if the server may have stored none of them."""
    server = FakeServer()
    found = await receipt(answer, events(range(4)), server)
    assert (found.rejected, found.rest) == (rejected, "delivered")
    left = [line for number, line in enumerate(LINES) if number not in rejected]
    assert [body.splitlines() for body in server.bodies] == [LINES, *([left] if again and left else [])]


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
async def test_a_response_after_a_refusal_is_about_the_other_events(
    last: httpx2.Response, rejected: set[int], retry: bool
) -> None:
    """Only events that the last response reports as stored count as delivered."""
    payload = [*events(range(2), "other"), *events(range(2, 5))]
    found = await receipt([error(400, CONFLICT.format("other", 2)), last], payload)
    assert (set(found.rejected), found.rest) == (rejected, "retry" if retry else "delivered")
    assert found.retry == ([2, 3, 4] if retry else None)


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
"""Real responses of 1.13.2 and 2.7.12, except the last two, which old versions give; with the lines they refuse."""


@pytest.mark.parametrize(("answer", "rejected"), TODAY)
async def test_current_error_messages_name_the_same_events(answer: httpx2.Response, rejected: set[int]) -> None:
    """One request suffices: the other events are stored, and not sent again."""
    server = FakeServer()
    found = await receipt(answer, events(range(4)), server)
    assert (set(found.rejected), found.rest) == (rejected, "delivered")
    assert len(server.bodies) == 1
    assert not any("dropped=" in reason for reason in found.rejected.values())


async def test_events_that_measure_nothing_have_no_line() -> None:
    """Alone, nothing is sent; among others, those arrive, and a refused one is found."""
    server = FakeServer()
    async with collector(sinks=[server.sink()]) as metrics:
        metrics.record(Nothing("x"))
    assert server.requests == []
    assert balanced(metrics.stats()).sinks["influxdb"].delivered == 1
    payload = [Nothing("x", timestamp=1), *events([1]), Nothing("y", timestamp=2), *events([2, 3], "bad")]
    found = await receipt([error(400, CONFLICT.format("bad", 2))], payload, server)
    assert (set(found.rejected), found.rest) == ({3, 4}, "delivered")
    assert server.values() == [1]


async def test_lines_of_equal_age_are_rejected_only_together() -> None:
    """Two lines have the same nanosecond, and one or both of them are dropped."""
    payload = [Gauge(f"m{number}", {}, 1, timestamp=number // 2) for number in range(4)]
    for count, rejected in ((1, set[int]()), (2, {0, 1}), (3, set[int]()), (4, {0, 1, 2, 3})):
        found = await receipt(error(400, f"partial write: points beyond retention policy dropped={count}"), payload)
        assert set(found.rejected) == rejected
        assert found.rest == ("delivered" if rejected else "split")


async def test_a_line_that_contains_its_own_terminator_is_found() -> None:
    """A label contains `': `."""
    payload = [Gauge("m", {"a": "b': c"}, 1, timestamp=1), Gauge("m", {"a": "b"}, 1, timestamp=1)]
    text = "unable to parse 'm,a=b':\\ c value=1.0 1': bad: 'it's'"
    found = await receipt(error(400, text), payload)
    assert found.rejected == {0: "unable to parse: bad: 'it's'"}
