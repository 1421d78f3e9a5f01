"""Makes room for the demo's file, without ever deleting one that is not the demo's."""

import sqlite3
from contextlib import closing
from pathlib import Path


class NotOursError(Exception):
    """The path holds something that an earlier run did not leave there."""


def remove_database(path: Path) -> None:
    """Remove what an earlier run left: the database and its two companions.

    Args:
        path: The database.

    Raises:
        NotOursError: There is something else at the path, or no folder to put it in.
    """
    if not path.absolute().parent.is_dir():
        raise NotOursError(f"{path.parent} is not a folder")
    if path.exists() and not _is_ours(path):
        raise NotOursError(f"{path} is not a file that this demo made: remove it or name another")
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _is_ours(path: Path) -> bool:
    """Return whether the file is a database with a table `events`, or with nothing in it yet."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as database:
            tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    except sqlite3.Error:
        return False
    return not tables or ("events",) in tables
