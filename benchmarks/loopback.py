"""Local servers for the peers that send: sockets of this process, on the loopback interface."""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

__all__ = ["LineServer", "datagrams", "line_server"]

HOST = "127.0.0.1"


@contextmanager
def datagrams() -> Generator[int, None, None]:
    """Bind a UDP socket that nobody reads; yield its port. Datagrams that don't fit into its buffer are lost."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind((HOST, 0))
        yield receiver.getsockname()[1]


class LineServer(ThreadingHTTPServer):
    """Responds with 204 to any POST, and counts the lines."""

    daemon_threads = True
    lines = 0
    """The number of lines received so far."""

    @property
    def url(self) -> str:
        """The URL of the server."""
        return f"http://{HOST}:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Read the body and count its lines."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, LineServer)  # noqa: S101 - the only server with this handler
        self.server.lines += body.count(b"\n") + 1
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Log nothing."""


@contextmanager
def line_server() -> Generator[LineServer, None, None]:
    """Run a server in a thread; yield it."""
    with LineServer((HOST, 0), _Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
