"""SQLiteSink: one table in an SQLite file."""

from __future__ import annotations

from .sink import SQLiteSink

__all__ = ["SQLiteSink"]
