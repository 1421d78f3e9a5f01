"""The sinks that come with the library, one back-end a module. Importable without their extras."""

from __future__ import annotations

from ._logging import LoggingSink

__all__ = ["LoggingSink"]
