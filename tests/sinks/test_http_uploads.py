"""Large request bodies are sent in pieces, with the same headers and bytes as small ones."""

from __future__ import annotations

import httpx2
import pytest

from trio_batchmetrics import Batch, Counter
from trio_batchmetrics._http import Endpoint
from trio_batchmetrics.abc import Payload, SinkContext
from trio_batchmetrics.sinks import PushgatewaySink

SIZES = [0, 1, 255_999, 256_000, 256_001, 1_000_000]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("redirected", [False, True])
async def test_a_body_arrives_whole_whatever_its_size(size: int, redirected: bool) -> None:
    """Also if the server redirects, and the body is sent again."""
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    seen: list[tuple[str, str | None, bytes]] = []

    async def answer(request: httpx2.Request) -> httpx2.Response:
        content = await request.aread()
        assert "transfer-encoding" not in request.headers
        seen.append((request.url.path, request.headers.get("content-length"), content))
        if redirected and len(seen) == 1:
            return httpx2.Response(307, headers={"location": "/there"})
        return httpx2.Response(204)

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client:
        endpoint = Endpoint("http://host", client=client)
        endpoint.begin(compress=False)
        response = await endpoint.request("POST", "/here", body)
    assert response.status == 204
    assert seen == [("/here", str(size), body), *([("/there", str(size), body)] if redirected else [])]


async def test_a_large_push_is_sent_once_and_whole() -> None:
    """Its parts are joined off the run loop."""
    bodies: list[bytes] = []

    async def answer(request: httpx2.Request) -> httpx2.Response:
        bodies.append(await request.aread())
        return httpx2.Response(200)

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client:
        sink = PushgatewaySink("http://host", job="j", client=client)
        sink.bind(SinkContext())
        sink.merge([Counter("c", {"n": number, "text": "x" * 1000}, number) for number in range(1500)])
        parts = tuple(sink.snapshot())
        assert await sink.send(Payload(Batch([]), parts, "key")) is not None
    assert bodies == [b"".join(parts)]
    assert len(bodies[0]) > 1_500_000
