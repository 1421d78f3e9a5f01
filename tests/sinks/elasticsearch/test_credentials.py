"""No repr, log line or error shows a credential."""

import httpx2
import pytest
from trio.testing import MockClock

from tests.helpers import balanced
from tests.sinks.elasticsearch.cluster import ONE_BATCH, FakeCluster
from trio_batchmetrics import CacheMetric, Gauge, collector
from trio_batchmetrics.sinks._elasticsearch.sink import ElasticsearchSink


async def test_no_output_shows_a_credential(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the sink's repr, an error nor a log line shows it, whatever the server repeats."""
    secret = "hunter22"
    said = {"error": {"type": "t", "reason": f"{secret} is wrong"}, "status": 400}
    items = [{"create": said}, {"create": {**said, "status": 429}}]
    cluster = FakeCluster(
        httpx2.Response(200, json={"errors": True, "items": items}),
        httpx2.Response(401, json=said),
        put=[httpx2.Response(403, json=said)],
    )
    sink = ElasticsearchSink(
        f"http://ann:{secret}@search.example/private", index="metrics", client=cluster.client, template=True
    )
    assert repr(sink) == "<ElasticsearchSink search.example>"
    async with collector(ONE_BATCH, sinks=[sink]) as metrics:
        metrics.record(CacheMetric("redis", "hit"))
        metrics.record(Gauge("g", {}, 1))
        await metrics.flush()
    account = balanced(metrics.stats()).sinks["elasticsearch"]
    assert account.failed + account.rejected == 2
    assert account.last_error is not None
    for shown in (account.last_error, *caplog.messages, str(metrics.stats())):
        assert secret not in shown
        assert "private" not in shown
