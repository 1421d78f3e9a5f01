"""Measures how long a page or a push of thousands of changed series blocks the run loop.

A concurrent task makes one checkpoint after another. Its longest wait, beyond its own work, is the time for which the
loop was blocked. Each round first changes every series. A push does the same as the delivery engine in an attempt, to a
server in another process that responds at once. CPython's garbage collector is off, because its longest pauses depend
on everything that the application keeps; figures with it have no target.
"""

from __future__ import annotations

import gc
import multiprocessing
import socketserver
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, NamedTuple

import trio

from trio_batchmetrics import Batch, HistogramPoint
from trio_batchmetrics.abc import Payload, SeriesSink, SinkContext, in_steps
from trio_batchmetrics.sinks import InfluxDBSeriesSink, OTLPSink, PrometheusSink, PushgatewaySink

from .effort import Effort
from .figures import Figure, Outcome, Spread

__all__ = ["responding_server", "run"]

SERIES = 2_000
INSTRUMENTS = (1, 20)
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
COUNTS = (1, *[0] * 13, 1)
TARGET_MS = 2.0

Show = Callable[[], Awaitable[object]]


class Subject(NamedTuple):
    """One way to show series."""

    name: str
    sink: SeriesSink[Any]
    show: Show


class _Handler(socketserver.StreamRequestHandler):
    """Responds with 204 to each request of a connection."""

    def handle(self) -> None:
        while line := self.rfile.readline():
            size = 0
            while line not in (b"\r\n", b""):
                name, _, value = line.partition(b":")
                size = int(value) if name.lower() == b"content-length" else size
                line = self.rfile.readline()
            self.rfile.read(size)
            self.wfile.write(b"HTTP/1.1 204 No Content\r\n\r\n")


def _serve(port: Any) -> None:
    """Respond to requests until the process is terminated; each sink keeps its own connection."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Handler) as server:
        port.send(server.server_address[1])
        server.serve_forever()


@contextmanager
def responding_server() -> Generator[str]:
    """Run a server in another process; yield its URL."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


def _page() -> Subject:
    sink = PrometheusSink()
    app = sink.asgi_app()
    headers = [(b"accept-encoding", b"identity")]

    async def receive() -> Any:
        await trio.sleep_forever()

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()

    async def show() -> None:
        await app({"type": "http", "method": "GET", "path": "/metrics", "headers": headers}, receive, send)

    return Subject("a Prometheus page by `asgi_app`", sink, show)


def _push(name: str, sink: Any) -> Subject:
    async def show() -> None:
        parts = await in_steps(sink.snapshot())  # like the delivery engine
        receipt = await sink.send(Payload(Batch([]), tuple(parts), "key"))
        if receipt is not None and receipt.error is not None:
            raise AssertionError(receipt.error)

    return Subject(name, sink, show)


def _changes(instruments: int) -> list[Batch]:
    """Return batches that together change every series."""
    batches: list[Batch] = []
    for number in range(instruments):
        name = f"requests.{number}.duration"
        for start in range(0, SERIES, 500):
            points = [
                HistogramPoint(
                    name, {"http.route": f"/api/{n}", "method": "GET", "status": 200}, 2, 12.5, BOUNDS, COUNTS
                )
                for n in range(start, start + 500)
            ]
            batches.append(Batch(points))
    return batches


async def _blocked(show: Show) -> float:
    """Return the longest time between two steps of another task, in milliseconds."""
    longest = 0.0

    async def probe() -> None:
        nonlocal longest
        while True:
            start = perf_counter()
            await trio.lowlevel.checkpoint()
            longest = max(longest, perf_counter() - start)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(probe)
        await trio.lowlevel.checkpoint()
        await show()
        nursery.cancel_scope.cancel()
    return longest * 1e3


async def _measured(subjects: list[Subject], instruments: int, effort: Effort) -> list[Figure]:
    changes = _changes(instruments)
    for subject in subjects:
        subject.sink.bind(SinkContext())
    found: dict[tuple[str, bool], list[float]] = {}
    end = perf_counter() + effort.seconds * 1.5
    rounds = 0
    while rounds < 4 or perf_counter() < end:
        for collecting in (False, True):
            for subject in subjects:
                for batch in changes:
                    subject.sink.merge(batch)
                if not collecting:
                    gc.disable()
                blocked = await _blocked(subject.show)
                gc.enable()
                if rounds:
                    found.setdefault((subject.name, collecting), []).append(blocked)
        rounds += 1
    for subject in subjects:
        await subject.sink.aclose()
    what = f"{SERIES:_} changed histograms".replace("_", " ")
    with_gc = ", garbage collector on"
    what = what if instruments == 1 else f"{instruments} instruments of {what}"
    return [
        Figure(
            f"longest time that the loop is blocked by {name} of {what}{with_gc if collecting else ''}",
            min(times),
            "ms",
            None if collecting else TARGET_MS,
            Spread.of(times),
        )
        for (name, collecting), times in found.items()
    ]


def run(effort: Effort) -> Outcome:
    """Run the benchmark."""
    figures: list[Figure] = []
    with responding_server() as url:
        for instruments in INSTRUMENTS:
            subjects = [
                _page(),
                _push("a push to a Pushgateway", PushgatewaySink(url, job="bench")),
                _push("a push to InfluxDB", InfluxDBSeriesSink(url, database="bench", dialect="influxdb")),
                _push("a push over OTLP", OTLPSink(url)),
            ]
            figures += trio.run(_measured, subjects, instruments, effort)
    return Outcome(figures)
