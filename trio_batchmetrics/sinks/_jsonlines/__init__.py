"""JSONLinesSink: one JSON object per line, in files or on a stream."""

from __future__ import annotations

from .sink import JSONLinesSink

__all__ = ["JSONLinesSink"]
