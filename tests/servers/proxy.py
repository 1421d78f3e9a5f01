"""The network between the library and a server, with faults that a test switches on and off.

How this works: the proxy reads each request completely, remembers it, forwards it to the server over a connection of
its own, reads the response completely, and passes it on. So it always knows which requests and responses arrived. It
looks up the fault when a request's headers have arrived; the fault then applies to the whole request, even if the test
switches to another one meanwhile. The tasks live in the proxy's block and end with it. A client that does not speak
HTTP fails the test: the error leaves the block.
"""

import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Self

import h11
import trio

from tests.servers.client import HOST, free_port
from tests.servers.wire import CHUNK, Answered, ClientConnection, Seen, ask, header_list

__all__ = ["Proxy", "Seen"]


_Fault = Callable[[ClientConnection, Seen], Awaitable[None]]


class Proxy:
    """Stands in front of a server and forwards requests, or applies the fault that a test selects.

    A fault stays active until another one is switched on or `forward` is called. With ``times=2`` it applies to the
    next two requests, and then everything is forwarded again. Entering and leaving the block are checkpoints; no other
    method is. The proxy needs the real clock: a test that uses it cannot have `autojump_clock`.

    Args:
        host: the server's.
        port: the server's.

    Example:
        ::

            async with Proxy(server.host, server.port) as proxy:
                proxy.answer(503, {"Retry-After": "1"}, times=2)
                ...  # give proxy.url to a sink
                assert [seen.forwarded for seen in proxy.requests] == [False, False, True]
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = HOST
        self.port = free_port()
        self.requests: list[Seen] = []
        """All requests whose headers arrived, in order of arrival."""
        self.connections = 0
        """The number of connections that clients made."""
        self._upstream = (host, port)
        self._fault: _Fault = self._forward
        self._left: int | None = None
        self._listener: trio.SocketListener | None = None
        self._reopened = trio.Event()
        self._open: set[ClientConnection] = set()
        self._manager = trio.open_nursery()
        self._nursery: trio.Nursery | None = None

    @property
    def url(self) -> str:
        """The address for clients, without a trailing slash."""
        return f"http://{self.host}:{self.port}"

    @property
    def forwarded(self) -> int:
        """The number of requests that the server received and answered."""
        return sum(seen.forwarded for seen in self.requests)

    # --------------------------------------------------------------------------------- switches for a test

    def forward(self) -> None:
        """Forward everything from now on, and listen again after `refuse`."""
        self._switch(self._forward, None)

    def refuse(self) -> None:
        """Behave like a server that is not running, until the next switch: close and refuse all connections."""
        self._switch(self._forward, None)
        if self._listener is not None:
            self._listener.socket.close()
            self._listener = None
            self._reopened = trio.Event()
        self.drop_connections()

    def drop_connections(self) -> None:
        """Close the open connections, as a server does with connections that have been idle for long."""
        for connection in self._open:
            connection.stream.socket.close()  # at once, so that a client that checks its connection notices
            connection.scope.cancel()

    def reset(self, *, times: int | None = None) -> None:
        """Reset the connection when a request begins: the server never sees it."""

        async def fault(connection: ClientConnection, _seen: Seen) -> None:
            connection.reset()

        self._switch(fault, times)

    def reset_after(self, *, times: int | None = None) -> None:
        """Reset the connection instead of passing on the server's response: delivered, but the client cannot know."""

        async def fault(connection: ClientConnection, seen: Seen) -> None:
            if await connection.body(seen):
                await ask(*self._upstream, seen)
            connection.reset()

        self._switch(fault, times)

    def black_hole(self, *, times: int | None = None) -> None:
        """Read the request and never respond; the server never sees it."""

        async def fault(connection: ClientConnection, seen: Seen) -> None:
            if await connection.body(seen):
                while await connection.stream.receive_some(CHUNK):
                    pass

        self._switch(fault, times)

    def slow(self, seconds: float, *, times: int | None = None) -> None:
        """Delay the server's response; the server gets the request at once."""

        async def fault(connection: ClientConnection, seen: Seen) -> None:
            await self._forward(connection, seen, delay=seconds)

        self._switch(fault, times)

    def answer(
        self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"", *, times: int | None = None
    ) -> None:
        """Respond without contacting the server. A Content-Length is added."""
        length = {} if status in (204, 304) else {"Content-Length": str(len(body))}
        answered = Answered(h11.Response(status_code=status, headers=header_list({**length, **(headers or {})})), body)

        async def fault(connection: ClientConnection, seen: Seen) -> None:
            if await connection.body(seen):
                await connection.answer(answered)

        self._switch(fault, times)

    def garbage(self, data: bytes = b"\x00\xff no HTTP\r\n\r\n", *, times: int | None = None) -> None:
        """Respond with meaningless bytes and close; the server never sees the request."""

        async def fault(connection: ClientConnection, seen: Seen) -> None:
            if await connection.body(seen):
                await connection.stream.send_all(data)
                await connection.stream.aclose()

        self._switch(fault, times)

    def truncate(self, status: int = 200, body: bytes = b'{"errors": false}', *, times: int | None = None) -> None:
        """Respond with half a body and close; the server never sees the request."""
        head = f"HTTP/1.1 {status} Half\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        self.garbage(head + body[: len(body) // 2], times=times)

    def _switch(self, fault: _Fault, times: int | None) -> None:
        self._fault = fault
        self._left = times
        if self._listener is None and self._nursery is not None:
            self._listen()

    # ---------------------------------------------------------------------------------------------- serving

    async def __aenter__(self) -> Self:
        self._nursery = await self._manager.__aenter__()
        self._listen()
        self._nursery.start_soon(self._accept)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._nursery is not None
        self._nursery.cancel_scope.cancel()
        # None, whatever the block raised: otherwise the nursery would wrap the test's own exception.
        await self._manager.__aexit__(None, None, None)  # noqa: ASYNC102 -- its tasks are cancelled and end at once

    def _listen(self) -> None:
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((self.host, self.port))
        listening.listen(100)
        self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
        self._reopened.set()

    async def _accept(self) -> None:
        assert self._nursery is not None
        try:
            while True:
                while self._listener is None:
                    await self._reopened.wait()
                try:
                    stream = await self._listener.accept()
                except trio.ClosedResourceError:
                    continue  # closed by `refuse`: wait until it is reopened
                self.connections += 1
                self._nursery.start_soon(self._serve, ClientConnection(stream))
        finally:
            if self._listener is not None:
                self._listener.socket.close()

    async def _serve(self, connection: ClientConnection) -> None:
        """Serve one connection, request by request."""
        self._open.add(connection)
        try:
            with connection.scope:
                while await self._serve_request(connection):
                    pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client is gone, or the fault closed the connection
        finally:
            self._open.discard(connection)
            connection.stream.socket.close()

    async def _serve_request(self, connection: ClientConnection) -> bool:
        """Serve one request; return whether another may follow on this connection."""
        request = await connection.event()
        if not isinstance(request, h11.Request):
            return False  # closed by the client
        seen = Seen(
            request.method.decode(),
            request.target.decode(),
            {name.decode(): value.decode("latin-1") for name, value in request.headers},
        )
        self.requests.append(seen)
        fault = self._fault
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self._fault, self._left = self._forward, None
        await fault(connection, seen)
        if connection.http.our_state is not h11.DONE or connection.http.their_state is not h11.DONE:
            return False
        connection.http.start_next_cycle()
        return True

    async def _forward(self, connection: ClientConnection, seen: Seen, *, delay: float = 0.0) -> None:
        if not await connection.body(seen):
            return
        answered = await ask(*self._upstream, seen)
        if delay:
            await trio.sleep(delay)
        if answered is None:
            connection.reset()
        else:
            await connection.answer(answered)
