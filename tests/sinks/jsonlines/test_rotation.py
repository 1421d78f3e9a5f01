"""A rotation keeps lines whole, files within their size, and the configured number of backups."""

from pathlib import Path
from typing import Any

import pytest

from tests.helpers import balanced
from tests.sinks.contract import record
from tests.sinks.jsonlines.files import BIG, HIT, LINE, numbers, put, text
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.sinks import JSONLinesSink


def oldest_first(path: Path) -> list[Path]:
    """Return the file and its backups, the oldest first."""
    return sorted(path.parent.iterdir(), key=lambda file: -int(file.name[len(path.name) + 1 :] or 0))


async def test_rotation_keeps_lines_whole_and_files_within_their_size(path: Path) -> None:
    """Every event is in one of the files, in order, with the oldest in the file with the highest number."""
    sink = JSONLinesSink(path, max_bytes=20_000, backups=100)
    async with collector(BatchMetricsConfig(batch_size=50), sinks=[sink]) as metrics:
        record(metrics, range(3000))
    files = oldest_first(path)
    assert len(files) > 15
    assert files[-1] == path
    assert files[0].name == f"{path.name}.{len(files) - 1}"
    assert all(0 < file.stat().st_size <= 20_000 for file in files)
    assert numbers(*files) == list(range(3000))
    assert balanced(metrics.stats()).processed_events == 3000


async def test_rotation_keeps_the_configured_number_of_backups(path: Path) -> None:
    """The oldest is overwritten: the newest events remain, without a gap."""
    sink = JSONLinesSink(path, max_bytes=5000, backups=3, max_events=10)
    async with collector(sinks=[sink]) as metrics:
        record(metrics, range(1000))
    files = oldest_first(path)
    assert [file.name for file in files] == [f"{path.name}.3", f"{path.name}.2", f"{path.name}.1", path.name]
    found = numbers(*files)
    assert found == list(range(found[0], 1000))
    assert 40 < len(found) < 200


async def test_a_line_longer_than_a_file_has_a_file_of_its_own(path: Path) -> None:
    """The line is written, not refused."""
    async with collector(sinks=[JSONLinesSink(path, max_bytes=1000)]) as metrics:
        for number, size in enumerate([5000, 10, 5000]):
            metrics.record_counter("jobs", {"id": number, "x": "x" * size}, 1)
    assert [numbers(file) for file in oldest_first(path)] == [[0], [1], [2]]


async def test_without_a_limit_nothing_is_rotated(path: Path) -> None:
    """The sink has `max_bytes=None`."""
    sink = JSONLinesSink(path, max_bytes=None)
    assert sink.max_payload_bytes is None
    async with collector(BIG, sinks=[sink]) as metrics:
        record(metrics, range(5000))
    assert oldest_first(path) == [path]


async def test_a_gap_left_by_an_interrupted_rotation_is_filled_first(path: Path) -> None:
    """So no backup is overwritten while there is room."""
    for number in (1, 3, 4):
        put(path.with_name(f"{path.name}.{number}"), str(number))
    put(path, LINE * 10)
    async with collector(sinks=[JSONLinesSink(path, max_bytes=500, backups=4)]) as metrics:
        metrics.record(HIT)
    names = [path.with_name(f"{path.name}.{number}") for number in range(1, 5)]
    assert [text(file) for file in (path, *names)] == [LINE, LINE * 10, "1", "3", "4"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_bytes": 0}, r"^max_bytes must be an int >= 1 \(got 0\)$"),
        ({"max_bytes": 1.5}, r"^max_bytes must be an int >= 1 \(got 1.5\)$"),
        ({"backups": 0}, r"^backups must be an int >= 1 \(got 0\)$"),
        ({"backups": True}, r"^backups must be an int >= 1 \(got True\)$"),
    ],
)
def test_an_invalid_size_is_refused(settings: dict[str, Any], message: str) -> None:
    """The constructor's error names the rule and the value."""
    with pytest.raises(ValueError, match=message):
        JSONLinesSink("events.jsonl", **settings)
