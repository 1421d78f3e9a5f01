"""The sink's database has a folder of its own."""

from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of the database, which is alone in its folder."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "events.sqlite3"
