"""HTTP as the proxy speaks it: requests read from a client, asked of a server, answers sent back."""

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
    """By names in lower case."""
    body: bytes = b""
    complete: bool = False
    """Whether all of it was read."""
    forwarded: bool = False
    """Whether the server got all of it and answered."""
    status: int | None = None
    """What the server answered, whether the client got to know it or not."""


@dataclass
class Answered:
    """A server's answer, complete."""

    head: h11.Response
    body: bytes


@dataclass(eq=False)
class ClientConnection:
    """A client's connection, and what h11 knows of it."""

    stream: trio.SocketStream
    http: h11.Connection = field(default_factory=lambda: h11.Connection(h11.SERVER))
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    def reset(self) -> None:
        """End it so that the client gets a RST: closing without lingering is one."""
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.socket.close()

    async def event(self) -> h11.Event | None:
        """Return the next event, or None when the client has gone."""
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
        """Read the rest of a request; say whether it came to its end."""
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
        """Send a whole answer."""
        data = [h11.Data(data=answered.body)] if answered.body else []
        await self.send(answered.head, *data, h11.EndOfMessage())


async def ask(host: str, port: int, seen: Seen) -> Answered | None:
    """Send a request to a server over a new connection, and say in it what came of it.

    Returns:
        The answer, or None if the server is not there or went away.
    """
    http = h11.Connection(h11.CLIENT)
    # The body is sent whole, whatever pieces it came in.
    kept = {name: value for name, value in seen.headers.items() if name not in ("transfer-encoding", "expect")}
    kept.setdefault("host", f"{host}:{port}")  # HTTP/1.0 does without
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
                pass  # a body that is too large is answered before it is read to its end
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
    """Return headers as h11 takes them."""
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
