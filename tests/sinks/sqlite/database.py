"""Functions that read the database, through a connection of their own."""

import sqlite3
from contextlib import closing
from pathlib import Path

from trio_batchmetrics import BatchMetricsConfig

__all__ = ["BIG", "files", "has_table", "numbers", "rows"]

BIG = BatchMetricsConfig(batch_size=20_000, buffer_size=20_000)


def files(path: Path) -> list[Path]:
    """Return the files in its folder."""
    return sorted(path.parent.iterdir())


def rows(path: Path, query: str = "SELECT count(*) FROM events") -> int:
    """Query the database for a number."""
    with closing(sqlite3.connect(path)) as database:
        [[number]] = database.execute(query).fetchall()
    return int(number)


def numbers(path: Path) -> list[int]:
    """Return the label `id` of each row, in order."""
    with closing(sqlite3.connect(path)) as database:
        query = "SELECT json_extract(labels, '$.id') FROM events ORDER BY id"
        return [int(number) for (number,) in database.execute(query)]


def has_table(path: Path) -> bool:
    """Return whether the table of events exists."""
    return bool(path.exists() and rows(path, "SELECT count(*) FROM sqlite_master WHERE name = 'events'"))
