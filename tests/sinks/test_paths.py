"""Paths that a sink's constructor refuses, because they don't mean a file of that name."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trio_batchmetrics.sinks import JSONLinesSink, SQLiteSink

SINKS = [(SQLiteSink, "path"), (JSONLinesSink, "path_or_stream")]


@pytest.mark.parametrize(("make", "parameter"), SINKS)
@pytest.mark.parametrize(
    ("path", "why"),
    [
        (
            ":memory:",
            "no other process could read it; use a file, or trio_batchmetrics.testing.RecordingSink()",
        ),
        ("", "it is empty"),
        ("-", "pass sys.stdout for the standard output"),
        ("file:events.db", "URLs are not supported; pass only the path"),
        ("file:/var/lib/events.db?mode=rwc", "URLs are not supported; pass only the path"),
        ("FILE:events.db", "URLs are not supported; pass only the path"),
        ("sqlite:///events.db", "URLs are not supported; pass only the path"),
        ("https://host/events", "URLs are not supported; pass only the path"),
        ("data/", "it ends like a folder; add the name of the file"),
        ("a\0b", "a file name cannot contain a NUL"),
        ("events\ud800.db", "the file system cannot encode its characters"),
    ],
)
def test_a_text_that_does_not_name_a_file_is_refused_at_construction(
    make: Callable[[str], Any], parameter: str, path: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error has the name, the value and a solution, and nothing is created."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="must be the path of a file") as raised:
        make(path)
    assert str(raised.value) == f"{parameter} must be the path of a file (got {path!r}): {why}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [SQLiteSink, JSONLinesSink])
@pytest.mark.parametrize("name", [":memory:", "file:events.db"])
def test_a_path_object_of_such_a_name_is_refused_too(make: Callable[[Path], Any], name: str) -> None:
    """SQLite would read it in the same way."""
    with pytest.raises(ValueError, match="must be the path of a file"):
        make(Path(name))


@pytest.mark.parametrize("path", [b"events.db", None, 7, object()])
def test_a_value_that_is_not_a_path_is_refused(path: Any) -> None:
    """The error is the library's own, not one from its internals."""
    with pytest.raises(TypeError, match=r"^path must be a str or a pathlib.Path \(got "):
        SQLiteSink(path)


class BytesPath(os.PathLike[bytes]):
    """A path whose text is bytes."""

    def __fspath__(self) -> bytes:
        """Return the bytes."""
        return b"events"


@pytest.mark.parametrize(("make", "parameter"), SINKS)
def test_a_path_of_bytes_is_refused(make: Callable[[Any], Any], parameter: str) -> None:
    """Label values are text, and so are paths."""
    with pytest.raises(TypeError, match=rf"^{parameter} must be a str or a pathlib.Path \(got "):
        make(BytesPath())


@pytest.mark.parametrize("make", [SQLiteSink, JSONLinesSink])
@pytest.mark.parametrize(
    "path", ["events:2026.db", "memory", "./-", "file", "a b.db", "größe.db", "C:events", ".hidden"]
)
def test_an_ordinary_name_is_accepted(make: Callable[[str], Any], path: str) -> None:
    """Colons, spaces and the like have no special meaning."""
    make(path)


def test_any_number_of_backups_is_accepted_at_once() -> None:
    """Their names are built when needed, not in advance."""
    JSONLinesSink("events.jsonl", backups=10**12)
