"""Where the peers that send are connected to: sockets of this process, on the loopback interface."""

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
    """Bind a UDP socket that nobody reads, and give its port: what does not fit into its buffer is gone."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind((HOST, 0))
        yield receiver.getsockname()[1]


class LineServer(ThreadingHTTPServer):
    """Answers any POST with 204, and counts the lines."""

    daemon_threads = True
    lines = 0
    """Lines received so far."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Take the body."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, LineServer)  # noqa: S101 - the only server with this handler
        self.server.lines += body.count(b"\n") + 1
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@contextmanager
def line_server() -> Generator[LineServer, None, None]:
    """Run such a server in a thread."""
    with LineServer((HOST, 0), _Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
