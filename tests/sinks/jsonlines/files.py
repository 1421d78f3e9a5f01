"""Functions that write and read files, never through the sink."""

import json
from pathlib import Path

from trio_batchmetrics import BatchMetricsConfig, CacheMetric

__all__ = ["BIG", "HIT", "LINE", "get", "numbers", "put", "text"]

BIG = BatchMetricsConfig(batch_size=20_000, buffer_size=20_000)

LINE = (
    '{"@timestamp":"2026-11-24T03:05:00.123456789Z","kind":"CacheMetric",'
    '"labels":{"cache.type":"redis","cache.operation":"hit"},"fields":{}}\n'
)

HIT = CacheMetric("redis", "hit", timestamp=1_795_489_500_123_456_789)


def numbers(*data: Path | bytes) -> list[int]:
    """Return the label `id` of each line, in order; each file must end with a whole line."""
    found = list[int]()
    for one in data:
        content = one if isinstance(one, bytes) else one.read_bytes()
        *lines, rest = content.split(b"\n")
        assert rest == b""
        found += [int(json.loads(line)["labels"]["id"]) for line in lines]
    return found


def put(path: Path, content: str | bytes) -> None:
    """Write a file."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def get(path: Path) -> bytes:
    """Read a file."""
    return path.read_bytes()


def text(path: Path) -> str:
    """Read a whole file as text."""
    return get(path).decode()
