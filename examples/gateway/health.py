"""The health checker: one task a provider asks its `/health` and keeps `Upstream.healthy` true to it."""

import httpx2
import trio

from trio_batchmetrics import BatchMetricsCollector

from .routing import Upstream

CHECK_INTERVAL = 0.25
"""Seconds between checks. A demo has 20 seconds to show something; a service would take 5 to 30."""

CHECK_TIMEOUT = 0.5
"""Seconds after which no answer is a bad answer."""


async def check_health(client: httpx2.AsyncClient, upstream: Upstream, metrics: BatchMetricsCollector) -> None:
    """Check one provider for ever.

    Args:
        client: The client to ask with.
        upstream: The provider; its `healthy` is set after each check.
        metrics: Where each check is recorded.
    """
    while True:
        started = trio.current_time()
        upstream.healthy = await _is_healthy(client, upstream)
        metrics.record_health_check(upstream.name, upstream.healthy, trio.current_time() - started)
        await trio.sleep(CHECK_INTERVAL)


async def _is_healthy(client: httpx2.AsyncClient, upstream: Upstream) -> bool:
    with trio.move_on_after(CHECK_TIMEOUT):
        try:
            response = await client.get(f"{upstream.url}/health")
        except httpx2.TransportError:
            return False
        return response.is_success
    return False
