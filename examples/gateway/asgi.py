"""The little that a plain ASGI application needs: read a body, send JSON, be served by Hypercorn."""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import attrs
import trio
from hypercorn.config import Config
from hypercorn.trio import serve  # pyright: ignore[reportUnknownVariableType]  # its WSGI half
from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable


@attrs.frozen
class Response:
    """An answer to send as JSON."""

    status: int
    content: object
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])


async def read_body(receive: ASGIReceiveCallable) -> bytes | None:
    """Return the whole body of a request.

    Args:
        receive: The request's ASGI receive callable.

    Returns:
        The body's bytes, or None if the client went away before it had sent them all.
    """
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message["body"]
        if not message["more_body"]:
            return body


async def send_json(send: ASGISendCallable, response: Response) -> None:
    """Send one whole response.

    Args:
        send: The request's ASGI send callable.
        response: What to send.
    """
    body = json.dumps(response.content).encode()
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        **response.headers,
    }
    await send(
        {
            "type": "http.response.start",
            "status": response.status,
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def run_lifespan(
    receive: ASGIReceiveCallable,
    send: ASGISendCallable,
    running: AbstractAsyncContextManager[object],
) -> None:
    """Speak the ASGI lifespan protocol: keep `running` entered from startup to shutdown.

    Args:
        receive: The lifespan's ASGI receive callable.
        send: The lifespan's ASGI send callable.
        running: Entered at startup, left at shutdown: what lives as long as the application.
    """
    await receive()  # lifespan.startup
    async with running:
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
    await send({"type": "lifespan.shutdown.complete"})


@asynccontextmanager
async def serving(app: ASGIFramework, port: int = 0) -> AsyncGenerator[str, None]:
    """Serve an application on the loopback interface while the block runs.

    Leaving the block stops accepting connections, waits for the requests under way (a second at
    most), then runs the application's shutdown.

    Args:
        app: The ASGI application.
        port: Where; 0 for any that is free.

    Yields:
        The server's base URL.
    """
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.loglevel = "WARNING"
    config.graceful_timeout = 1.0
    # Longer than httpx2 keeps an idle connection (5 s): of the two it should be the client that
    # closes, or a request may meet a connection that the server is about to close.
    config.keep_alive_timeout = 30.0
    shutdown = trio.Event()
    async with trio.open_nursery() as nursery:
        urls: list[str] = await nursery.start(partial(serve, app, config, shutdown_trigger=shutdown.wait, mode="asgi"))
        try:
            yield urls[0]
        finally:
            shutdown.set()
