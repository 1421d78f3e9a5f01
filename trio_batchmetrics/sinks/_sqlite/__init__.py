"""SQLiteSink: one table in a SQLite file."""

from __future__ import annotations

from .sink import SQLiteSink

__all__ = ["SQLiteSink"]
