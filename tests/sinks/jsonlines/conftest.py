"""The sink's file has a folder of its own."""

from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of the file, which is alone in its folder."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "events.jsonl"
