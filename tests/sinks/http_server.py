"""A server on a real connection, for tests of how sinks speak HTTP/1.1."""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import h11
import trio

__all__ = ["HTTPServer"]


class HTTPServer(ABC):
    """A server that responds once a request is complete, and keeps the connection."""

    def __init__(self) -> None:
        self.connections = 0

    @abstractmethod
    def answer(self, request: h11.Request) -> tuple[int, list[tuple[str, str]], bytes]:
        """Return status, headers and body of the response to a request."""

    async def _serve(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        connection = h11.Connection(h11.SERVER)
        request: h11.Request | None = None
        async with stream:
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    try:
                        connection.receive_data(bytes(await stream.receive_some()))
                    except trio.BrokenResourceError:
                        return
                elif isinstance(event, h11.Request):
                    request = event
                elif isinstance(event, h11.EndOfMessage):
                    assert request is not None
                    status, headers, body = self.answer(request)
                    if body:
                        headers = [*headers, ("content-length", str(len(body)))]
                    response = connection.send(h11.Response(status_code=status, headers=headers)) or b""
                    response += (connection.send(h11.Data(body)) or b"") if body else b""
                    await stream.send_all(response + (connection.send(h11.EndOfMessage()) or b""))
                    connection.start_next_cycle()
                elif not isinstance(event, h11.Data):
                    return

    @asynccontextmanager
    async def listening(self, tls: ssl.SSLContext | None = None) -> AsyncGenerator[str, None]:
        """Serve on a free port, over TLS if there is a context; yield host and port."""
        serve: Any = trio.serve_tcp if tls is None else partial(trio.serve_ssl_over_tcp, ssl_context=tls)
        async with trio.open_nursery() as nursery:
            [listener] = await nursery.start(partial(serve, self._serve, 0, host="127.0.0.1"))
            socket: Any = (listener if tls is None else listener.transport_listener).socket
            yield f"127.0.0.1:{socket.getsockname()[1]}"
            nursery.cancel_scope.cancel()
