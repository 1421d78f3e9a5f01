"""The network between the library and a server, with faults that a test switches on and off.

How this works: the proxy reads each request whole, remembers it, asks the server over a connection of its own, reads
the answer whole, and hands it on. So it is always known what reached whom. A fault is looked up when a request's
headers have arrived; it is valid for that request to its end, whatever is switched meanwhile. The tasks live in the
proxy's block and end with it. A client that speaks no HTTP is a failure of the test: the error leaves the block.
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
    """Stands before a server and forwards, or does what a test asks it to.

    Each fault stays until another is switched on or `forward` is called; with ``times=2`` it is for the next two
    requests, and then all is forwarded again. Entering and leaving the block are checkpoints, and no other method is.
    It needs the real clock: a test that uses it cannot have `autojump_clock`.

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
        """All requests whose headers arrived, in that order."""
        self.connections = 0
        """How many connections clients made."""
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
        """Where clients reach it, without a slash at the end."""
        return f"http://{self.host}:{self.port}"

    @property
    def forwarded(self) -> int:
        """How many requests the server got and answered."""
        return sum(seen.forwarded for seen in self.requests)

    # ---------------------------------------------------------------------------------- what a test switches

    def forward(self) -> None:
        """Forward everything from now on, and listen again after `refuse`."""
        self._switch(self._forward, None)

    def refuse(self) -> None:
        """Be as a server that is not running: connections are closed, new ones refused, until something else is set."""
        self._switch(self._forward, None)
        if self._listener is not None:
            self._listener.socket.close()
            self._listener = None
            self._reopened = trio.Event()
        self.drop_connections()

    def drop_connections(self) -> None:
        """Close the connections that are open, as a server does with those that are idle for long."""
        for connection in self._open:
            connection.stream.socket.close()  # at once: a client that looks at its connection sees it
            connection.scope.cancel()

    def reset(self, *, times: int | None = None) -> None:
        """Reset the connection when a request begins: the server never sees it."""

        async def fault(connection: ClientConnection, _seen: Seen) -> None:
            connection.reset()

        self._switch(fault, times)

    def reset_after(self, *, times: int | None = None) -> None:
        """Reset the connection in place of the server's answer: delivered, but the client cannot know."""

        async def fault(connection: ClientConnection, seen: Seen) -> None:
            if await connection.body(seen):
                await ask(*self._upstream, seen)
            connection.reset()

        self._switch(fault, times)

    def black_hole(self, *, times: int | None = None) -> None:
        """Read the request and never answer; the server never sees it."""

        async def fault(connection: ClientConnection, seen: Seen) -> None:
            if await connection.body(seen):
                while await connection.stream.receive_some(CHUNK):
                    pass

        self._switch(fault, times)

    def slow(self, seconds: float, *, times: int | None = None) -> None:
        """Hold back the server's answer for a while; it gets the request at once."""

        async def fault(connection: ClientConnection, seen: Seen) -> None:
            await self._forward(connection, seen, delay=seconds)

        self._switch(fault, times)

    def answer(
        self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"", *, times: int | None = None
    ) -> None:
        """Answer without asking the server. A Content-Length is added."""
        length = {} if status in (204, 304) else {"Content-Length": str(len(body))}
        answered = Answered(h11.Response(status_code=status, headers=header_list({**length, **(headers or {})})), body)

        async def fault(connection: ClientConnection, seen: Seen) -> None:
            if await connection.body(seen):
                await connection.answer(answered)

        self._switch(fault, times)

    def garbage(self, data: bytes = b"\x00\xff no HTTP\r\n\r\n", *, times: int | None = None) -> None:
        """Answer bytes that mean nothing, and close; the server never sees the request."""

        async def fault(connection: ClientConnection, seen: Seen) -> None:
            if await connection.body(seen):
                await connection.stream.send_all(data)
                await connection.stream.aclose()

        self._switch(fault, times)

    def truncate(self, status: int = 200, body: bytes = b'{"errors": false}', *, times: int | None = None) -> None:
        """Answer with half of a body and close; the server never sees the request."""
        head = f"HTTP/1.1 {status} Half\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        self.garbage(head + body[: len(body) // 2], times=times)

    def _switch(self, fault: _Fault, times: int | None) -> None:
        self._fault = fault
        self._left = times
        if self._listener is None and self._nursery is not None:
            self._listen()

    # ---------------------------------------------------------------------------------------------- at work

    async def __aenter__(self) -> Self:
        self._nursery = await self._manager.__aenter__()
        self._listen()
        self._nursery.start_soon(self._accept)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._nursery is not None
        self._nursery.cancel_scope.cancel()
        # None whatever the block raised: the nursery would wrap what is the test's own.
        await self._manager.__aexit__(None, None, None)  # noqa: ASYNC102 -- its tasks end at once: they are cancelled

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
                    continue  # refused: wait until it is reopened
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
            pass  # the client has gone, or the fault closed the connection
        finally:
            self._open.discard(connection)
            connection.stream.socket.close()

    async def _serve_request(self, connection: ClientConnection) -> bool:
        """Serve one request; say whether another may follow on this connection."""
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
