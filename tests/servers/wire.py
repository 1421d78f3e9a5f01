"""HTTP as the proxy speaks it: reads requests from a client, sends them to a server, and returns the responses."""

import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

import h11
import trio

__all__ = ["CHUNK", "Answered", "ClientConnection", "Seen", "ask", "header_list"]

CHUNK = 65_536


@dataclass
class Seen:
    """A request that a client sent, as far as the proxy read it."""

    method: str
    target: str
    """Path and query."""
    headers: Mapping[str, str]
    """Header values, by names in lower case."""
    body: bytes = b""
    complete: bool = False
    """Whether the whole request was read."""
    forwarded: bool = False
    """Whether the server received the whole request and responded."""
    status: int | None = None
    """The status of the server's response, whether it reached the client or not."""


@dataclass
class Answered:
    """A complete response of a server."""

    head: h11.Response
    body: bytes


@dataclass(eq=False)
class ClientConnection:
    """A client's connection, and its h11 state."""

    stream: trio.SocketStream
    http: h11.Connection = field(default_factory=lambda: h11.Connection(h11.SERVER))
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    def reset(self) -> None:
        """Close the connection with a RST, which closing without lingering sends."""
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.socket.close()

    async def event(self) -> h11.Event | None:
        """Return the next event, or None when the client is gone."""
        while True:
            event = self.http.next_event()
            if isinstance(event, h11.Event):
                return event
            if self.http.they_are_waiting_for_100_continue:
                await self.send(h11.InformationalResponse(status_code=100, headers=[]))
            data = await self.stream.receive_some(CHUNK)
            if not data:
                return None
            self.http.receive_data(data)

    async def body(self, seen: Seen) -> bool:
        """Read the rest of a request; return whether it is complete."""
        while (event := await self.event()) is not None:
            if isinstance(event, h11.Data):
                seen.body += event.data
            else:
                assert isinstance(event, h11.EndOfMessage)
                seen.complete = True
                return True
        return False

    async def send(self, *events: h11.Event) -> None:
        """Send some events at once."""
        await self.stream.send_all(b"".join(self.http.send(event) or b"" for event in events))

    async def answer(self, answered: Answered) -> None:
        """Send a whole response."""
        data = [h11.Data(data=answered.body)] if answered.body else []
        await self.send(answered.head, *data, h11.EndOfMessage())


async def ask(host: str, port: int, seen: Seen) -> Answered | None:
    """Send a request to a server over a new connection, and note the result in it.

    Returns:
        The response, or None if the server is missing or went away.
    """
    http = h11.Connection(h11.CLIENT)
    # The body is sent as a whole, even if it came in pieces.
    kept = {name: value for name, value in seen.headers.items() if name not in ("transfer-encoding", "expect")}
    kept.setdefault("host", f"{host}:{port}")  # HTTP/1.0 works without it
    if seen.body:
        kept["content-length"] = str(len(seen.body))
    request = h11.Request(method=seen.method, target=seen.target, headers=header_list(kept))
    data = [h11.Data(data=seen.body)] if seen.body else []
    wire = b"".join(http.send(event) or b"" for event in (request, *data, h11.EndOfMessage()))
    try:
        async with await trio.open_tcp_stream(host, port) as stream:
            try:
                await stream.send_all(wire)
            except trio.BrokenResourceError:
                pass  # a server may respond to a body that is too large before it has read all of it
            answered = await _read_answer(http, stream)
    except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError):
        return None
    seen.forwarded = True
    seen.status = answered.head.status_code
    return answered


async def _read_answer(http: h11.Connection, stream: trio.SocketStream) -> Answered:
    head: h11.Response | None = None
    body = b""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await stream.receive_some(CHUNK))
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            return Answered(head, body)


def header_list(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return headers in h11's form."""
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
