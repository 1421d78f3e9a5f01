"""The web samples of the docs: they store the recorded events somewhere, and report why they don't open."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import trio

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = ["README.md", "docs/howto/prometheus.md", "docs/howto/share-a-collector.md"]

Message = dict[str, Any]
App = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]


def samples(page: str) -> list[str]:
    """Return the samples of a page that handle a lifespan themselves."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [block for block in blocks if "lifespan.startup.complete" in block]


def application(page: str) -> App:
    """Run a page's sample; return its application."""
    [sample] = samples(page)
    module = ModuleType("a_web_sample")
    exec(compile(sample, page, "exec"), module.__dict__)
    app: App = module.__dict__["app"] if "app" in module.__dict__ else module.__dict__["App"]()
    return app


class Server:
    """A server that speaks ASGI with an application: a lifespan, and one request at a time in it."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.state: Message = {}
        self.lifespan: list[Message] = []

    async def started(self) -> Message:
        """Begin the lifespan, for as long as the application wants."""
        return {"type": "lifespan.startup"}

    async def answered(self, message: Message) -> None:
        """Keep a response to the lifespan."""
        self.lifespan.append(message)

    async def get(self, path: str) -> bytes:
        """Return the body of the response to a request."""
        body = b""

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            nonlocal body
            body += message.get("body", b"")

        scope: Message = {"type": "http", "method": "GET", "path": path, "headers": [], "state": self.state}
        await self.app(scope, receive, send)
        return body


@pytest.mark.parametrize("page", PAGES)
async def test_a_web_sample_opens_records_and_leaves_its_block(page: str) -> None:
    """A request gets a response and is recorded; where the sample has a page for Prometheus, the request is on it."""
    server = Server(application(page))
    messages_in, messages_out = trio.open_memory_channel[Message](2)
    opened = trio.Event()

    async def live() -> None:
        async def answered(message: Message) -> None:
            server.lifespan.append(message)
            if message["type"] == "lifespan.startup.complete":
                opened.set()

        await messages_in.send(await server.started())
        await server.app({"type": "lifespan", "state": server.state}, messages_out.receive, answered)

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(live)
            await opened.wait()
            assert await server.get("/") == b"hello\n"
            if page != "docs/howto/share-a-collector.md":  # it logs
                assert b'http_server_request_duration_seconds_count{http_request_method="GET"' in await server.get(
                    "/metrics"
                )
            await messages_in.send({"type": "lifespan.shutdown"})
    assert [message["type"] for message in server.lifespan] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    stats = server.state["metrics"].stats()
    assert (stats.total_events, stats.processed_events) == (1, 1)
    assert stats.sinks


@pytest.mark.parametrize("page", PAGES)
def test_a_web_sample_that_does_not_open_reports_the_reason(page: str) -> None:
    """On a server that runs asyncio, without the message the server would go on and each request would fail."""
    server = Server(application(page))
    with pytest.raises(RuntimeError, match="must be called from async context"):
        asyncio.run(_lifespan(server))
    [message] = server.lifespan
    assert message["type"] == "lifespan.startup.failed"
    assert "must be called from async context" in message["message"]


async def _lifespan(server: Server) -> None:
    await server.app({"type": "lifespan", "state": server.state}, server.started, server.answered)


def test_no_page_installs_the_package_by_name() -> None:
    """The package isn't on an index: the pages install it from a clone, a wheel or a repository."""
    by_name = re.compile(r"pip install [^\n]*(?<![/\w.])trio[-_]batchmetrics(?![^\n]*@ git\+)(?!-\*\.whl)")
    pages = [REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")]
    assert {page.name: found for page in pages if (found := by_name.findall(page.read_text(encoding="utf-8")))} == {}
