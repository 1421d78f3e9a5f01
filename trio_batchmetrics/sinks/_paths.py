"""Paths of the file sinks: which ones they accept, and why a file cannot be opened."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from ..abc import ConfigError

__all__ = ["file_path", "open_problem"]

_URL = re.compile(r"file:|[A-Za-z][A-Za-z0-9+.-]+://", re.IGNORECASE)
"""The start of a URL. Other paths may contain colons, too, and ``C:`` is a drive."""

_SPECIAL_NAMES = {
    "": "it is empty",
    "-": "pass sys.stdout for the standard output",
    ":memory:": "no other process could read it; use a file, or trio_batchmetrics.testing.RecordingSink()",
}
"""Texts that other programs don't treat as the name of a file."""


def file_path(parameter: str, value: str | os.PathLike[str]) -> Path:
    """Return an absolute path; a relative one is resolved against the current directory at the call. No I/O.

    Args:
        parameter: the name of the sink's parameter, for messages.
        value: the argument.

    Raises:
        TypeError: it is neither a str nor a path of str.
        ValueError: it is empty, a URL, a special name such as ``:memory:`` or ``-``, or can't name a file.
    """
    path = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(path, str):
        raise TypeError(f"{parameter} must be a str or a pathlib.Path (got {value!r})")
    if (why := _problem(path)) is not None:
        raise ConfigError(f"{parameter} must be the path of a file (got {path!r}): {why}")
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute() leaves ".." in


def _problem(path: str) -> str | None:
    if path in _SPECIAL_NAMES:
        return _SPECIAL_NAMES[path]
    if _URL.match(path):
        return "URLs are not supported; pass only the path"
    if "\0" in path:
        return "a file name cannot contain a NUL"
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return "the file system cannot encode its characters"
    if path.endswith(("/", os.sep)):
        return "it ends like a folder; add the name of the file"
    return None


def open_problem(path: Path) -> str | None:
    """Return why a database cannot be opened, as far as that is known without opening it; None: it may work soon."""
    folder = path.parent
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            return "it is a folder"
        readable = os.access(path, os.R_OK)
    except (FileNotFoundError, NotADirectoryError):
        if not folder.is_dir():
            return "its folder does not exist"
        readable = True  # it will be created
    except PermissionError:
        readable = False
    # The log is next to the file, so a writable file is not enough: the folder must be writable, too.
    return None if readable and os.access(folder, os.W_OK | os.X_OK) else "permission denied"
