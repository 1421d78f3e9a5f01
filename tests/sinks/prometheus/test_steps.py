"""A page that is written in steps, with merges in between: each series is consistent, and nothing stale is left."""

from __future__ import annotations

import gzip
import re
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.aggregation.streams import STREAMS
from tests.helpers import examples
from tests.sinks.prometheus.test_consistency import BOUNDS, VALUES, Looked, assert_consistent, batch
from tests.sinks.prometheus_parsing import OPENMETRICS
from trio_batchmetrics import Counter, Gauge, Histogram, MetricEvent
from trio_batchmetrics.abc import SinkContext
from trio_batchmetrics.sinks import PrometheusSink
from trio_batchmetrics.sinks._prometheus.page import Page


def page_of(streams: list[list[MetricEvent]]) -> Page:
    """Return a page with these events."""
    now = 0

    def clock() -> int:
        nonlocal now
        now += 1
        return now

    page = Page(SinkContext(), clock, None)
    for stream in streams:
        page.merge(stream)
    return page


@given(first=STREAMS, second=STREAMS, openmetrics=st.booleans(), looks=st.booleans())
@settings(max_examples=examples(50))
def test_a_page_in_steps_is_the_page_that_is_written_at_once(
    first: list[MetricEvent], second: list[MetricEvent], openmetrics: bool, looks: bool
) -> None:
    """Whether parts of it are cached or not, if nothing changes meanwhile."""
    page, fresh = page_of([first]), page_of([first, second])
    if looks:
        page.write(openmetrics=openmetrics)
    page.merge(second)
    expected = fresh.write(openmetrics=openmetrics)
    assert b"".join(page.pieces(openmetrics=openmetrics)) == expected
    assert page.write(openmetrics=openmetrics) == expected


@pytest.mark.parametrize("accept", [None, OPENMETRICS])
async def test_the_awaited_page_is_the_rendered_one(accept: str | None) -> None:
    """Also if it has thousands of series."""
    sink = PrometheusSink()
    sink.bind(SinkContext())
    sink.merge([Histogram("h", {"n": n}, n) for n in range(1500)])
    sink.merge([Counter("c", {"n": n}, n) for n in range(2100)])
    assert await sink.page(accept) == sink.render(accept)


def assert_consistent_page(text: str) -> None:
    """Check every histogram of a page, and that no line is there twice."""
    lines = text.splitlines()
    assert len(lines) == len({*lines})
    buckets: dict[str, list[int]] = {}
    for number, value in re.findall(r'^h_bucket{n="(\d+)",le="[^"]*"} (\d+)$', text, re.MULTILINE):
        buckets.setdefault(number, []).append(int(value))
    sums = dict(re.findall(r'^h_sum{n="(\d+)"} (\S+)$', text, re.MULTILINE))
    assert set(buckets) == set(sums)
    for number, cumulative in buckets.items():
        assert_consistent(cumulative, None, float(sums[number]))


@pytest.mark.parametrize("openmetrics", [False, True])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_each_series_is_consistent_while_events_are_merged_between_the_steps(openmetrics: bool, stride: int) -> None:
    """Series begin, change and expire meanwhile; afterwards, no cached part is stale."""
    looked = Looked()
    page = looked.sink._page
    turn = 0
    for _ in range(20):
        pieces: list[bytes] = []
        for at, piece in enumerate(page.pieces(openmetrics=openmetrics)):
            pieces.append(piece)
            if at % stride == 0:
                for _ in range(10):
                    looked.sink.merge(batch(turn % 200))
                    turn += 1
                if turn % 50 == 0:
                    looked.store.expire(looked.store.generation - 20)
        assert_consistent_page(b"".join(pieces).decode())
        looked.sink.merge(batch(turn % 200))
        turn += 1
        looked.look()
        looked.assert_nothing_stale()


def test_numbers_that_change_between_two_steps_are_not_cached() -> None:
    """Half of the lines show the values before a merge, half those after it; the next page shows all after it."""
    page = page_of([])
    page.merge([Gauge("g", {"n": n}, 1) for n in range(1000)])
    pieces = page.pieces(openmetrics=False)
    assert next(pieces).startswith(b"# HELP")
    first = next(pieces)
    page.merge([Gauge("g", {"n": n}, 2) for n in range(1000)])
    rest = b"".join(pieces)
    assert (first.count(b" 1.0\n"), rest.count(b" 2.0\n")) == (400, 600)
    assert page.write(openmetrics=False).count(b" 2.0\n") == 1000


def test_series_that_expire_between_two_steps_do_not_come_back() -> None:
    """A page in the middle may show them a last time; the next doesn't, and they begin at 0."""
    page = page_of([])
    for name in ("g", "h"):
        page.merge([Gauge(name, {"n": n}, 1) for n in range(500)])
    pieces = page.pieces(openmetrics=False)
    next(pieces)
    page.store.expire(page.store.generation + 1)
    page.merge([Counter("h", {"n": 1}, 5)])
    rest = b"".join(pieces)
    assert b"h{" not in rest
    text = page.write(openmetrics=False)
    assert text == b'# HELP h_total h\n# TYPE h_total counter\nh_total{n="1"} 5.0\n'


async def test_others_run_while_a_page_is_served() -> None:
    """Thousands of changed histograms are many steps; the page is whole, and so is a compressed one."""
    sink = PrometheusSink()
    sink.bind(SinkContext(bounds={"h": BOUNDS}))
    for value in VALUES:
        sink.merge([Histogram("h", {"n": n}, value) for n in range(2000)])
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    for encoding in (b"identity", b"gzip"):
        turns = 0
        sent: list[Any] = []

        async def send(message: Any, sent: list[Any] = sent) -> None:
            sent.append(message)

        async def receive() -> Any:
            await trio.sleep_forever()

        sink.merge([Histogram("h", {"n": n}, 1.0) for n in range(2000)])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"accept-encoding", encoding)]}
            await sink.asgi_app()(scope, receive, send)
            nursery.cancel_scope.cancel()
        assert turns > 5
        body = sent[1]["body"]
        page = gzip.decompress(body) if encoding == b"gzip" else body
        assert page == sink.render()[0]
        assert_consistent_page(page.decode())
