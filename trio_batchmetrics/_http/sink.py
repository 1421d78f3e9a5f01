"""A sink whose back-end is one HTTP server."""

from __future__ import annotations

from typing import Any

from ..abc import Limits, Sink, SinkContext
from .endpoint import Endpoint
from .settings import HTTPSettings

__all__ = ["HTTPSink"]

_ENDPOINT_SETTINGS = {
    "headers",
    "auth",
    "token",
    "token_file",
    "token_scheme",
    "verify",
    "client",
    "trust_env",
    "codec",
}


class HTTPSink(Sink):
    """A sink whose back-end is one HTTP server. Inherit from it alongside ``EventSink`` or ``SeriesSink``."""

    def __init__(self, url: str, settings: HTTPSettings, **own: Any) -> None:
        """Configure the server and the delivery.

        Args:
            url: the server's base URL.
            settings: the user's settings.
            own: settings that the sink itself decides (``token=``, ``token_scheme=``).
        """
        given: dict[str, Any] = {**settings, **own}
        endpoint_settings = {key: given.pop(key) for key in _ENDPOINT_SETTINGS & given.keys()}
        self._limits: Limits | None = Limits.checked(given.pop("limits", None))
        super().__init__(**given)
        self.server: Endpoint = Endpoint(url, **endpoint_settings)

    def __repr__(self) -> str:
        """Show the server's host, without credentials or path; works even if ``__init__`` did not complete."""
        server = getattr(self, "server", None)
        return f"<{type(self).__name__} {'not set up' if server is None else server.host}>"

    def bind(self, context: SinkContext) -> None:
        """Bind the sink to a collector's context.

        Raises:
            RuntimeError: the application's client has connections of another process.
        """
        super().bind(context)
        self.server.begin(compress=context.enable_compression)

    async def aclose(self) -> None:
        """Close the connections."""
        await self.server.aclose()
