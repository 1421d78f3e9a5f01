"""Rows older than `max_age` are deleted in parts, as others are written."""

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.sinks.contract import record
from tests.sinks.sqlite.database import BIG, numbers, rows
from trio_batchmetrics import Counter, collector
from trio_batchmetrics.sinks import SQLiteSink


async def test_rows_older_than_max_age_are_deleted_as_others_are_written(path: Path) -> None:
    """Their age follows from their timestamps and the wall clock."""
    hour = 3600 * 10**9
    ages = [100, 26, 25, 23, 1, 0]
    async with collector(sinks=[SQLiteSink(path)]) as metrics:
        for age in ages:
            metrics.record(Counter("jobs", {"id": age}, 1, timestamp=time.time_ns() - age * hour))
    assert numbers(path) == ages
    async with collector(sinks=[SQLiteSink(path, max_age=timedelta(hours=24))]) as metrics:
        assert rows(path) == len(ages)
        record(metrics, [0])
    assert numbers(path) == [23, 1, 0, 0]
    async with collector(sinks=[SQLiteSink(path, max_age=1800)]) as metrics:
        record(metrics, [5])
    assert numbers(path) == [0, 0, 5]


async def test_many_old_rows_are_deleted_in_parts(path: Path) -> None:
    """So no payload waits long for it; in the end all are deleted."""
    async with collector(BIG, sinks=[SQLiteSink(path)]) as metrics:
        for number in range(20_000):
            metrics.record(Counter("jobs", {"id": number}, 1, timestamp=number))
    assert rows(path) == 20_000
    left = list[int]()
    async with collector(sinks=[SQLiteSink(path, max_age=60)]) as metrics:
        for number in range(4):
            record(metrics, [number])
            await metrics.flush()
            left.append(rows(path))
    assert left == [10_001, 2, 3, 4]


@pytest.mark.parametrize("age", [0, -1, float("nan"), float("inf"), True, "7d", timedelta(0), 10**400])
def test_an_invalid_age_is_refused(age: Any) -> None:
    """The constructor's error names the rule and the value."""
    with pytest.raises(ValueError, match=r"^max_age must be a number of seconds > 0, or a timedelta \(got "):
        SQLiteSink("events.sqlite3", max_age=age)


@pytest.mark.parametrize("age", [1e300, timedelta.max, 10**12])
async def test_an_age_beyond_any_clock_deletes_nothing(path: Path, age: Any) -> None:
    """No clock goes back that far."""
    async with collector(sinks=[SQLiteSink(path, max_age=age)]) as metrics:
        metrics.record(Counter("jobs", {"id": 1}, 1, timestamp=0))
        await metrics.flush()
        record(metrics, [2])
    assert numbers(path) == [1, 2]
