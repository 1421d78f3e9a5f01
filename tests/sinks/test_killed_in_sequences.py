"""SIGKILL at random moments, under load, around everything that may happen to a sink's file.

How this works
==============

A process writes to a database and to a file of lines as fast as it can, and reports which events a `flush` has
delivered. At a random moment, one of the sequences happens to both files; at another, the process is killed. Then a new
process starts on the same paths. Every reported event must be in some file, except those that the sequence itself
removed, and it never removes events that were recorded after it.

`KILLS=200` sets the number of kills. The default suits every run of the tests.
"""

import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio

from tests.sinks.contract import record
from tests.sinks.processes import environment
from tests.sinks.sequences import (
    DATABASE,
    LINES,
    SEQUENCES,
    Sequence,
    copy_and_truncate,
    copy_back_in_place,
    exchange_with_foreign,
    files_below,
    move_folder,
    move_folder_and_link,
    move_folder_and_make_new,
    read_database,
    read_lines,
    remove_folder,
    rename_and_replace_by_foreign,
    rename_and_replace_by_older_copy,
    replace_by_copy,
    replace_by_foreign,
    replace_folder_by_file,
    truncate,
)
from trio_batchmetrics import collector
from trio_batchmetrics.sinks import JSONLinesSink, SQLiteSink

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not rename open files")

KILLS = int(os.environ.get("KILLS", "10"))

VICTIM = """
import json, random, sys, time
from pathlib import Path
import trio
from trio_batchmetrics import collector
from trio_batchmetrics.sinks import JSONLinesSink, SQLiteSink

folder = Path(sys.argv[1])

async def write(kind, sink):
    first = 0
    async with collector(sinks=[sink]) as metrics:
        while True:
            size = random.choice([1, 10, 100, 1000])
            at = time.monotonic_ns()
            for number in range(first, first + size):
                metrics.record_counter("jobs", {"id": number}, 1)
            if (await metrics.flush()).ok:
                print(json.dumps([kind, first, first + size, at, time.monotonic_ns()]), flush=True)
            else:
                await trio.sleep(0.001)
            first += size

async def main():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, "sqlite", SQLiteSink(folder / "events.db", backoff=0.01))
        nursery.start_soon(write, "jsonlines", JSONLinesSink(folder / "events.jsonl", backups=1000, max_bytes=200_000))

trio.run(main)
"""

IN_PLACE = (truncate, copy_and_truncate, copy_back_in_place, replace_by_copy)
"""Copying or overwriting a database in use destroys it, whatever program writes to it: for lines only."""

FRAGILE = (
    replace_by_foreign,
    rename_and_replace_by_foreign,
    exchange_with_foreign,
    rename_and_replace_by_older_copy,
)
"""A copy of a database that is being written may be torn, whatever program makes it. And if a process is killed between
its commit and the copying of the log (some milliseconds), and its database was replaced in exactly that time, the log
remains next to the other database: SQLite goes by names, so nothing shows that it belongs elsewhere. Its content was
not delivered.
"""

OF_FOLDER = (move_folder, move_folder_and_make_new, move_folder_and_link, remove_folder, replace_folder_by_file)
"""The actions that affect both files at once."""

PLAYED = [
    each._replace(sinks=(LINES,)) if each.act in IN_PLACE else each for each in SEQUENCES if "between" in each.timings
]


class Told(NamedTuple):
    """Events that a `flush` has reported as delivered."""

    kind: str
    first: int
    stop: int
    recorded: int
    """When the first of them was recorded, by the monotonic clock in ns."""
    reported: int


async def kill_within(sequence: Sequence, folder: Path, randomness: random.Random) -> tuple[list[Told], int, int]:
    """Play a sequence, then kill the process; return the reported events, and when the sequence began and ended."""
    told = list[Told]()
    began = ended = 0
    async with trio.open_nursery() as nursery:
        command = [sys.executable, "-c", VICTIM, str(folder)]
        run = partial(trio.run_process, command, stdout=subprocess.PIPE, env=environment(), check=False)
        process: trio.Process = await nursery.start(run)
        output = process.stdout
        assert output is not None
        ready = trio.Event()

        async def play() -> None:
            nonlocal began, ended
            await ready.wait()
            await trio.sleep(randomness.uniform(0, 0.1))
            began = time.monotonic_ns()
            for kind in sequence.sinks[: 1 if sequence.act in OF_FOLDER else None]:
                await act(sequence, folder / NAMES[kind])
            ended = time.monotonic_ns()
            await trio.sleep(randomness.choice([0.0, randomness.uniform(0, 0.02), randomness.uniform(0, 0.1)]))
            process.kill()

        nursery.start_soon(play)
        rest = b""
        async for data in output:
            *lines, rest = (rest + data).split(b"\n")
            told += [Told(*json.loads(line)) for line in lines]
            if {DATABASE, LINES} <= {each.kind for each in told}:
                ready.set()
    return told, began, ended


NAMES = {DATABASE: "events.db", LINES: "events.jsonl"}


async def act(sequence: Sequence, path: Path) -> None:
    """Perform an action on a file; again if the sink had just rotated the full file, so that there was none."""
    try:
        sequence.act(path)
    except FileNotFoundError:
        await trio.sleep(0.005)
        sequence.act(path)


async def restart(path: Path, kind: str) -> None:
    """Start again, as a supervisor would; events that cannot be written may fail."""
    sink: Any = SQLiteSink(path) if kind == DATABASE else JSONLinesSink(path)
    async with collector(sinks=[sink]) as metrics:
        record(metrics, [10**9])


def read_kind(kind: str, root: Path, scratch: Path, *, fragile: bool) -> set[int]:
    """Return the numbers in all files of a kind; a fragile file that cannot be read counts as empty."""
    found = set[int]()
    for number, file in enumerate(files_below(root)):
        if kind == LINES and ".jsonl" in file.name and file.read_bytes()[:1] == b"{":
            found.update(read_lines(file, is_copy=True))
        elif kind == DATABASE and file.read_bytes()[:16] == b"SQLite format 3\0":
            found.update(read_with_its_log(file, root, scratch / str(number), fragile=fragile))
    return found


def read_with_its_log(file: Path, root: Path, scratch: Path, *, fragile: bool) -> list[int]:
    """Read a database that may have been moved, and its process killed, while the log was being copied into it.

    Then it is whole only together with that log, which keeps its old name.
    """
    logs = [None, *(each for each in files_below(root) if each.name.endswith("-wal") and each.stat().st_size)]
    errors: list[Exception] = []
    for number, log in enumerate(logs):
        (scratch / str(number)).mkdir(parents=True)
        try:
            return read_database(file, scratch / str(number), log)
        except (AssertionError, sqlite3.DatabaseError) as error:
            errors.append(error)
    if not fragile:
        raise errors[0]
    return []


@pytest.mark.parametrize("number", range(KILLS))
async def test_a_kill_at_any_moment_loses_no_delivered_event(number: int, tmp_path: Path) -> None:
    """This holds whatever happened to the files just before, and after a restart."""
    randomness = random.Random(number)
    sequence = PLAYED[number * 7 % len(PLAYED)]
    folder = tmp_path / "root" / "data"
    folder.mkdir(parents=True)
    with trio.fail_after(60):
        told, began, ended = await kill_within(sequence, folder, randomness)
        for kind in sequence.sinks:
            await restart(folder / NAMES[kind], kind)
    for kind in sequence.sinks:
        required = set[int]()
        for each in told:
            if each.kind == kind and (
                each.recorded > ended or (sequence.keeps and (each.reported < began or sequence.act not in IN_PLACE))
            ):
                required.update(range(each.first, each.stop))
        assert required or not sequence.keeps
        fragile = sequence.act in FRAGILE
        missing = required - read_kind(kind, tmp_path / "root", tmp_path / "scratch" / kind, fragile=fragile)
        assert not missing, (sequence.act.__name__, kind, len(missing), min(missing), max(missing))
