"""No repr, log line or error shows a credential, even where a server repeats it."""

import logging

import httpx2
import pytest

from tests.sinks.influxdb.server import URL, FakeServer, error, events
from trio_batchmetrics import Batch, BatchMetricsConfig, collector
from trio_batchmetrics.abc import Payload
from trio_batchmetrics.sinks._influxdb.series_sink import InfluxDBSeriesSink
from trio_batchmetrics.sinks._influxdb.sink import InfluxDBSink


def test_credentials_in_the_url_and_a_token_are_refused_together() -> None:
    """The message shows neither."""
    with pytest.raises(ValueError, match=r"^token and user and password are both given$"):
        InfluxDBSink("http://user:hunter22@influx.example", bucket="b", token="secret")


@pytest.mark.parametrize("status", [401, 400, 503])
async def test_no_credential_is_shown(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """No repr, log line or error has it, even if the server repeats it."""
    caplog.set_level(logging.DEBUG, logger="trio_batchmetrics")
    words = "no such token: hunter22"
    answers = [httpx2.Response(status, json={"error": words}) for _ in range(20)]
    server = FakeServer(*answers)
    sinks = [
        InfluxDBSink(URL, bucket="b", token="hunter22", client=server.client, name="a", backoff=0.001),
        InfluxDBSink("http://u:hunter22@x", database="b", client=server.client, name="b", backoff=0.001),
        InfluxDBSeriesSink(URL, database="d", token="hunter22", client=server.client, name="c", backoff=0.001),
    ]
    async with collector(BatchMetricsConfig(shutdown_timeout=0.05), sinks=sinks) as metrics:
        metrics.record_counter("c\n", {"a": "\\"}, 2)
    shown = [repr(sinks), repr(metrics.stats()), caplog.text, *(repr(vars(sink)["_target"]) for sink in sinks)]
    assert "hunter" not in "".join(shown)
    assert repr(sinks[0]) == "<InfluxDBSink influx.example:8086>"
    assert "HTTP" in str(metrics.stats().sinks["a"].last_error)


@pytest.mark.parametrize("before", range(270, 300))
async def test_a_truncated_reason_leaves_no_part_of_a_credential(before: int) -> None:
    """The credential is removed before the reason is cut."""
    server = FakeServer(error(400, f"partial write: {'x' * before}hunter22hunter22 dropped=1"))
    sink = server.sink(token="hunter22hunter22")
    payload = events([0])
    found = await sink.send(Payload(Batch(payload), (sink.encode(payload),), "key"))
    assert found is not None
    assert "hunt" not in found.rejected[0]
    assert len(found.rejected[0]) <= 300
