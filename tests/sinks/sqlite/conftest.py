"""The sink's database has a folder of its own."""

from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Say where the database shall be: the only thing in its folder."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "events.sqlite3"
