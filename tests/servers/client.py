"""A port, and questions over HTTP to whoever listens there: the tests' own, never the library's."""

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
    """A server did not start, did not end, or refused a question of the tests' own."""


_given: set[int] = set()


def free_port() -> int:
    """Return a port of this machine that nobody listens on.

    It lies below those that systems give to outgoing connections (from 32768 on Linux, 49152 elsewhere), so that it is
    still free when a server that was stopped comes back. The same is not returned twice.
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
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    """By names in lower case."""
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def json(self) -> Any:
        """Return the body as JSON says it."""
        return json.loads(self.body)


class Client:
    """Asks a server, one connection a question.

    Args:
        name: what messages call it.
        port: where it listens.
    """

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.host = HOST
        self.port = port

    @property
    def url(self) -> str:
        """Where it is reached, without a slash at the end."""
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
        """Ask the server something, whatever it answers.

        Args:
            method: of HTTP.
            path: with a slash at the beginning.
            body: what to send.
            query: parameters, added to the path.
            headers: added to those that are needed anyway.
            json: to send this instead of `body`.
            ndjson: to send these instead of `body`, one a line.
            timeout: seconds for each wait on the network.
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
        """Ask the server something that it has to answer with a 2xx; the arguments are those of `request`.

        Raises:
            ServerFailedError: it answered otherwise.
        """
        answer = self.request(method, path, **arguments)
        if not 200 <= answer.status < 300:
            raise ServerFailedError(f"{self.name}: {method} {path} was answered {answer.status}: {answer.text[:1000]}")
        return answer


_json = json.dumps
