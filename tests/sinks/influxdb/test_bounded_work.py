"""Reading a response takes a few milliseconds, and the sink's memory is bounded in bytes."""

import json
from itertools import chain
from time import process_time
from typing import Any

import pytest

from tests.sinks.influxdb.server import CONFLICT, FakeServer, error, events, receipt
from trio_batchmetrics import Gauge
from trio_batchmetrics._http import Response
from trio_batchmetrics.sinks._influxdb.responses import receipt_for
from trio_batchmetrics.sinks._influxdb.timestamps import Timestamps
from trio_batchmetrics.sinks._influxdb.writer import LineWriter


@pytest.mark.parametrize(
    "text",
    [
        "partial write" + " " * 200_000,
        "partial write" + 'input field "' * 20_000 + " dropped=1",
        "partial write" + 'input field "a" on measurement "' * 10_000 + " dropped=1",
        "partial write" + " dropped=1" * 20_000 + " x",
        "unable to parse 'm value=0.0 1000" + "': " * 100_000,
        "\n".join(["unable to parse 'm value=0.0 1000" + "': " * 20_000] * 5),
    ],
    ids=["spaces", "fields", "measurements", "dropped", "quotes", "lines of quotes"],
)
async def test_every_response_is_read_quickly(text: str) -> None:
    """Each is read in a few milliseconds; a regular expression took seconds to hours."""
    start = process_time()
    await receipt(error(400, text), events(range(4)))
    assert process_time() - start < 1


async def test_many_named_lines_are_found_quickly() -> None:
    """As many as a payload can have, including long lines and lines that are prefixes of others."""
    payload = [Gauge("m", {"a": "x"}, number, timestamp=10**18 + number) for number in range(20_000)]
    payload += [Gauge("m", {"a": "': " * 10_000}, 1, timestamp=10**17 + number) for number in range(20)]
    payload += [Gauge("m", {}, 1, timestamp=int("1" * length)) for length in range(1, 19)]
    lines = FakeServer().sink().encode(payload).decode().splitlines()
    text = "\n".join(f"unable to parse '{line}': no {number}" for number, line in enumerate(lines))
    start = process_time()
    found = await receipt(error(400, f"partial write: {text} dropped=0"), payload)
    assert process_time() - start < 2
    assert found.rejected == {number: f"unable to parse: no {number}" for number in range(len(payload))}


@pytest.mark.parametrize("measurement", ["m", "of somebody else"])
async def test_long_labels_do_not_slow_down_reading_a_conflict(measurement: str) -> None:
    """Measurement and fields are at the ends of a line; reading all of it blocked the event loop for two seconds."""
    long = {f"label{number}": "x" * 100 for number in range(10)}
    payload = [Gauge("m", long, number, timestamp=10**18 + number) for number in range(4000)]
    body = FakeServer().sink().encode(payload)
    answer = Response(400, {}, json.dumps({"error": CONFLICT.format(measurement, 2500)}).encode())
    server = FakeServer().sink().server
    start = process_time()
    found, _ = receipt_for(answer, server, body, payload)
    assert process_time() - start < 0.3
    assert (found.rejected, found.rest) == ({}, "split")


async def test_a_long_reason_shared_by_many_events_is_read_once() -> None:
    """All dropped events share it."""
    start = process_time()
    found = await receipt(error(400, f"partial write: {'x y ' * 100_000}dropped=2000"), events(range(2000)))
    assert process_time() - start < 1
    assert (len(found.rejected), len(found.rejected[0])) == (2000, 300)


async def test_fewer_series_are_remembered_if_they_are_long() -> None:
    """So memory is bounded in bytes."""
    sink = FakeServer().sink()
    writer: LineWriter = vars(sink)["_writer"]
    kept: list[int] = []
    for start in range(0, 10_000, 100):
        sink.encode([Gauge("m", {"a": f"{'x' * 8000}{number}"}, 1) for number in range(start, start + 100)])
        prefixes: dict[Any, list[Any]] = vars(writer.prefixes)["_prefixes"]
        kept.append(sum(map(len, chain.from_iterable(prefixes.values()))))
    timestamps: Timestamps = vars(sink)["_timestamps"]
    chunks = vars(timestamps)["_chunks"]
    assert 10_000_000 < sum(len(prefix) for chunk in chunks for prefix in chunk.prefixes) < 21_000_000
    assert 500 < max(kept) < 1100
