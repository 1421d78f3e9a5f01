"""The sinks that come with the library, one back-end a module. Importable without their extras."""

from __future__ import annotations

from ._jsonlines import JSONLinesSink
from ._logging import LoggingSink
from ._sqlite import SQLiteSink

__all__ = ["JSONLinesSink", "LoggingSink", "SQLiteSink"]
