"""One server, and one client that keeps its connections to it.

How this works
==============

An :class:`Endpoint` makes one request and returns a :class:`.Response`, or raises :class:`.NoResponseError`. It creates
nothing that belongs to a process or a Trio run before the block opens: it creates the client at the first request, and
the limiter in :meth:`Endpoint.begin`. Calls never overlap.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import trio

from ..abc import ConfigError
from .bodies import Body, read_body
from .compression import MIN_COMPRESSED_BYTES, compressed, compressor
from .credentials import Credentials
from .quiet import Quiet
from .redirects import MAX_HOPS, redirect_of
from .responses import NoResponseError, Response
from .scrubbing import Scrubber, client_secrets, proxy_secrets, request_secrets, settings_secrets
from .tls import checked_verify, tls_context
from .uploads import upload_of
from .url import parsed_url

__all__ = ["Endpoint"]

_logger = logging.getLogger("trio_batchmetrics")

_IDLE_SECONDS = 60.0
"""How long an idle connection is kept for the next payload: longer than most flush intervals."""


class Endpoint:
    """One server, and one client that keeps its connections to it."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        auth: Any = None,
        token: str | None = None,
        token_file: str | os.PathLike[str] | None = None,
        token_scheme: str = "Bearer",  # noqa: S107 - the name of a scheme
        verify: bool | str | os.PathLike[str] | ssl.SSLContext = True,
        client: Any = None,
        trust_env: bool = False,
        codec: str = "gzip",
    ) -> None:
        """Configure the endpoint. The only I/O is on files that the settings name.

        Args:
            url: the server's base URL; ``user:password@`` in it is basic authentication.
            headers: headers of every request.
            auth: basic, bearer, or an ``httpx2.Auth``.
            token: a token to send with the scheme in ``token_scheme``.
            token_file: a file with a token.
            token_scheme: the scheme of the token, or of a token in a file that names none.
            verify: how to verify the server's certificate.
            client: a client to use instead of our own.
            trust_env: whether to use the environment's proxies.
            codec: the codec to compress with.

        Raises:
            ConfigError: a setting is invalid; the message names it and shows neither a credential nor a URL.
            ImportError: httpx2 is not installed.
        """
        try:
            import httpx2
        except ImportError as exc:
            raise ImportError("sinks over HTTP need httpx2: pip install 'trio-batchmetrics[http]'") from exc
        self._httpx = httpx2
        self._base, self._host, auth = parsed_url(url, auth)
        try:
            httpx2.URL(self._base)
        except (httpx2.InvalidURL, UnicodeEncodeError):
            raise ConfigError("url must be an http or https URL (got one with invalid characters)") from None
        # identity: responses are small, and most of them are never read.
        defaults = {"user-agent": "trio-batchmetrics", "accept-encoding": "identity"}
        own: Mapping[str, str] = {} if headers is None else headers
        self._credentials = Credentials(
            auth, own, token=token, token_file=token_file, auth_class=httpx2.Auth, scheme=token_scheme
        )
        self._credentials.headers = {**defaults, **self._credentials.headers}
        self._verify = checked_verify(verify)
        if not isinstance(trust_env, bool):
            raise ConfigError(f"trust_env must be True or False (got {trust_env!r})")
        if client is not None and not isinstance(client, httpx2.AsyncClient):
            raise ConfigError(f"client must be an httpx2.AsyncClient (got {type(client).__name__})")
        if client is not None and (verify is not True or trust_env):
            raise ConfigError("verify and trust_env have no effect on client=, which has its own")
        compressor(codec)
        self._codec = codec
        self._trust_env = trust_env
        self._user_client: Any = client
        self._user_client_pid: int | None = None
        """The process that has used the application's client."""
        self._client: Any = client
        self._quiet = Quiet()
        self._sent_requests: list[tuple[Any, Mapping[str, str]]] = []
        """URL and headers of the last attempt's requests as they were sent: the server's text may repeat them."""
        self._scrubber: Scrubber | None = None
        self._compression_accepted = False
        self._limiter = trio.CapacityLimiter(1)
        self.compress: bool = False
        """Whether to compress bodies; False once the server has refused a compressed one."""

    def __repr__(self) -> str:
        """Show the server's host, without credentials or path; works even if ``__init__`` did not complete."""
        return f"<Endpoint {getattr(self, '_host', 'not set up')}>"

    @property
    def host(self) -> str:
        """The server's host and port."""
        return self._host

    def begin(self, *, compress: bool) -> None:
        """Start over when a block opens: with a limiter for this Trio run, and a token that is yet to be read.

        Args:
            compress: whether to compress bodies.

        Raises:
            RuntimeError: the application's client has connections of the process that this one was forked from.
        """
        if self._user_client_pid not in (None, os.getpid()):
            raise RuntimeError(
                f"client= of the sink for {self._host} was used before the fork, so that its connections are the "
                "parent's: make a client in the child"
            )
        self._limiter = trio.CapacityLimiter(1)
        self._credentials.forget_token()
        self.compress = compress

    async def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        params: Mapping[str, str] | None = None,
        content_type: str | None = None,
    ) -> Response:
        """Make one request: compressed if asked for, and again uncompressed if the server does not accept that.

        Args:
            method: the HTTP method, such as ``POST``.
            path: the quoted path below the base URL; begins with a slash.
            body: the body to send.
            params: the query parameters.
            content_type: the body's media type.

        Raises:
            NoResponseError: there was no response.
        """
        send = partial(self._request_with_token, method, self._base + path, params, content_type)
        if body is None or not self.compress or len(body) < MIN_COMPRESSED_BYTES:
            return await send(body)
        compressed_body = await compressed(self._codec, body, self._limiter)
        response = await send(compressed_body, self._codec)
        if response.status == 415 or (response.status == 400 and not self._compression_accepted):
            response = await send(body)
            if response.status < 400:
                self.compress = False
                _logger.warning("metrics: %s refuses %s; sending uncompressed from now on", self._host, self._codec)
        elif response.status < 300:
            self._compression_accepted = True
        return response

    async def _request_with_token(
        self,
        method: str,
        url: str,
        params: Mapping[str, str] | None,
        content_type: str | None,
        body: bytes | None,
        encoding: str | None = None,
    ) -> Response:
        """Make the request; on a 401, repeat it if the token file has another token by now."""
        described = {"content-type": content_type, "content-encoding": encoding}
        own = {name: value for name, value in described.items() if value is not None}
        await self._credentials.load_token(self._limiter)
        response = await self._follow_redirects(method, url, params, {**self._credentials.headers, **own}, body)
        if response.status == 401 and await self._credentials.reload_token(self._limiter):
            response = await self._follow_redirects(method, url, params, {**self._credentials.headers, **own}, body)
        return response

    async def _follow_redirects(
        self, method: str, url: str, params: Mapping[str, str] | None, headers: Mapping[str, str], body: bytes | None
    ) -> Response:
        """Make the request, and follow redirects within the same origin."""
        if self._client is None:
            self._client = await self._create_client()
        self._sent_requests, self._scrubber = [], None
        hops = 0
        while True:
            status, reply_headers, read = await self._request_once(method, url, params, headers, body)
            redirect = redirect_of(self._httpx.URL, url, status, reply_headers.get("location"))
            if redirect is None or not redirect.followed or hops == MAX_HOPS:
                origin = None if redirect is None else redirect.origin
                return Response(status, reply_headers, read.content, read.incomplete_reason, read.too_long, origin)
            url, params = redirect.url, None
            hops += 1

    async def _request_once(
        self, method: str, url: str, params: Mapping[str, str] | None, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[int, Mapping[str, str], Body]:
        auth = {} if self._credentials.auth is None else {"auth": self._credentials.auth}
        ours = self._client is not self._user_client
        content, headers = upload_of(body, headers)
        if not ours:
            self._user_client_pid = os.getpid()
        try:
            with self._quiet.request() if ours else nullcontext():
                async with self._client.stream(
                    method, url, params=params, headers=headers, content=content, follow_redirects=False, **auth
                ) as response:
                    self._remember_requests(*(one.request for one in response.history), response.request)
                    return response.status_code, response.headers, await read_body(response)
        except self._httpx.HTTPStatusError as exc:  # from a hook of the application's client: it is a response
            self._remember_requests(exc.request)
            return exc.response.status_code, exc.response.headers, Body(b"")
        except Exception as exc:
            self._remember_requests(getattr(exc, "_request", None))  # the property raises if there is none
            raise NoResponseError(self.scrubbed(_error_text(exc))) from exc

    def _remember_requests(self, *requests: Any) -> None:
        """Keep the URL and headers that were sent, without the bodies."""
        self._sent_requests += [(request.url, request.headers) for request in requests if request is not None]

    async def _create_client(self) -> Any:
        """Create our own client. Reading the system's certificates takes a while, so a thread does that.

        Raises:
            NoResponseError: the certificates can no longer be read, or the environment's proxy is invalid; nothing was
                sent.
        """
        verify: Any = False  # a connection without TLS needs no certificates
        if self._base.startswith("https:") and self._verify is not False:
            make = partial(tls_context, self._httpx, self._verify)
            try:
                verify = await trio.to_thread.run_sync(make, abandon_on_cancel=True, limiter=self._limiter)
            except OSError as exc:
                error = f"verify: the certificates cannot be read: {exc.strerror or type(exc).__name__}"
                raise NoResponseError(error, in_doubt=False) from exc
        try:
            client = self._httpx.AsyncClient(
                verify=verify,
                trust_env=self._trust_env,
                timeout=None,
                limits=self._httpx.Limits(max_connections=2, keepalive_expiry=_IDLE_SECONDS),
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # keeps none: they would pile up
            )
        except Exception as exc:
            raise NoResponseError(self.scrubbed(_error_text(exc)), in_doubt=False) from exc
        self._quiet.install()
        return client

    def scrubbed(self, words: str) -> str:
        """Return text without credentials, paths and queries. Do this before cutting the text."""
        if self._scrubber is None:
            self._scrubber = Scrubber(self._secrets())
        return self._scrubber(words)

    def _secrets(self) -> Iterator[str]:
        yield from settings_secrets(self._credentials)
        yield urlsplit(self._base).path
        for sent in self._sent_requests:
            yield from request_secrets(*sent)
        if self._user_client is not None:
            yield from client_secrets(self._user_client)
        if self._trust_env or getattr(self._user_client, "trust_env", False):
            yield from proxy_secrets(self._httpx.URL)

    async def aclose(self) -> None:
        """Close our own client's connections; the application's client stays open."""
        client, self._client = self._client, self._user_client
        if client is not None and client is not self._user_client:
            self._quiet.remove()
            await client.aclose()


def _error_text(error: Exception) -> str:
    """Return the error's type, and the first message among the error and its causes."""
    cause: BaseException | None = error
    while cause is not None and not str(cause):
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__ if cause is None else f"{type(error).__name__}: {cause}"
