"""A free port, and requests over HTTP to whatever listens there: the tests' own client, never the library's."""

import http.client
import json
import random
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

__all__ = ["HOST", "Answer", "Client", "ServerFailedError", "free_port"]

HOST = "127.0.0.1"


class ServerFailedError(Exception):
    """A server did not start, did not end, or refused a request of the tests."""


_given: set[int] = set()


def free_port() -> int:
    """Return a port of this machine that nothing listens on.

    It lies below those that systems give to outgoing connections (from 32768 on Linux, 49152 elsewhere), so that it is
    still free when a server that was stopped comes back. No port is returned twice.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        if port in _given:
            continue
        with socket.socket() as trial:
            try:
                trial.bind((HOST, port))
            except OSError:
                continue
        _given.add(port)
        return port


@dataclass(frozen=True)
class Answer:
    """A server's response."""

    status: int
    headers: Mapping[str, str]
    """Header values, by names in lower case."""
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def json(self) -> Any:
        """Return the body, parsed as JSON."""
        return json.loads(self.body)


class Client:
    """A client of a server, with one connection per request.

    Args:
        name: the server's name in messages.
        port: the server's port.
    """

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.host = HOST
        self.port = port

    @property
    def url(self) -> str:
        """The server's address, without a trailing slash."""
        return f"http://{self.host}:{self.port}"

    def request(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        *,
        query: Mapping[str, Any] | Sequence[tuple[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
        json: object = None,
        ndjson: Iterable[object] | None = None,
        timeout: float = 20.0,
    ) -> Answer:
        """Send a request and return the response, whatever its status is.

        Args:
            method: of HTTP.
            path: with a leading slash.
            body: what to send.
            query: parameters that are added to the path.
            headers: in addition to those that are always needed.
            json: an object to send instead of `body`.
            ndjson: objects to send instead of `body`, one per line.
            timeout: seconds for each network operation.
        """
        headers = dict(headers or {})
        if json is not None:
            body, headers["Content-Type"] = _json(json), "application/json"
        if ndjson is not None:
            body, headers["Content-Type"] = "".join(_json(line) + "\n" for line in ndjson), "application/x-ndjson"
        if query:
            path += ("&" if "?" in path else "?") + urlencode(query)
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            connection.request(method, path, body.encode() if isinstance(body, str) else body, headers)
            response = connection.getresponse()
            return Answer(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )
        finally:
            connection.close()

    def ask(self, method: str, path: str, **arguments: Any) -> Answer:
        """Send a request that must get a 2xx response; the arguments are those of `request`.

        Raises:
            ServerFailedError: the status isn't a 2xx.
        """
        answer = self.request(method, path, **arguments)
        if not 200 <= answer.status < 300:
            raise ServerFailedError(f"{self.name}: {method} {path} was answered {answer.status}: {answer.text[:1000]}")
        return answer


_json = json.dumps
