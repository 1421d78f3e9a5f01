"""A sink whose back-end is one HTTP server."""

from __future__ import annotations

from typing import Any

from .._events import checked_limits
from ..abc import Limits, Sink, SinkContext
from .endpoint import Endpoint
from .settings import HTTPSettings

__all__ = ["HTTPSink"]

_ENDPOINT = {"headers", "auth", "token", "token_file", "token_scheme", "verify", "client", "trust_env", "codec"}


class HTTPSink(Sink):
    """A sink whose back-end is one HTTP server: to be inherited alongside ``EventSink`` or ``SeriesSink``."""

    def __init__(self, url: str, settings: HTTPSettings, **own: Any) -> None:
        """Set up the server and the delivery.

        Args:
            url: the server's base URL.
            settings: as the user gave them.
            own: of these, what the sink itself decides (``token=``, ``token_scheme=``).
        """
        given: dict[str, Any] = {**settings, **own}
        theirs = {key: given.pop(key) for key in _ENDPOINT & given.keys()}
        self._limits: Limits | None = checked_limits(given.pop("limits", None))
        super().__init__(**given)
        self.server: Endpoint = Endpoint(url, **theirs)

    def __repr__(self) -> str:
        """Show what it speaks to, without credentials or path; also where ``__init__`` has not got that far."""
        server = getattr(self, "server", None)
        return f"<{type(self).__name__} {'not set up' if server is None else server.host}>"

    def bind(self, context: SinkContext) -> None:
        """Take what the collector tells.

        Raises:
            RuntimeError: the client that was given has the connections of another process.
        """
        super().bind(context)
        self.server.begin(compress=context.enable_compression)

    async def aclose(self) -> None:
        """Close the connections."""
        await self.server.aclose()
