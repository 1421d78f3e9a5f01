"""Python in child processes: to be killed, limited, forked, or run as an unprivileged user."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path
from typing import Any

import trio

import trio_batchmetrics

PRELUDE = """
import json, os, sys
from pathlib import Path
import trio
from trio_batchmetrics import Batch, BatchMetricsConfig, Counter, collector
from trio_batchmetrics.abc import Payload
from trio_batchmetrics.sinks import JSONLinesSink, SQLiteSink
import trio._core._thread_cache, encodings.idna

path = Path(sys.argv[1])
BIG = BatchMetricsConfig(batch_size=20_000, buffer_size=20_000)


def record(metrics, start, stop, **labels):
    for number in range(start, stop):
        metrics.record_counter("jobs", {"id": number, **labels}, 1)


def tell(*what):
    print(json.dumps(what), flush=True)


async def until(condition):
    with trio.fail_after(30):
        while not condition():
            await trio.sleep(0.005)


async def main():
"""

AS_NOBODY = """
        os.setuid(65534) if os.getuid() == 0 else None
"""
"""Root may write anything, so switch to nobody. Any other user stays the same."""


def give_to_nobody(folder: Path) -> None:
    """Make :data:`AS_NOBODY` the owner of a folder and its content."""
    if os.getuid() == 0:
        for file in (folder, *folder.rglob("*")):
            os.chown(file, 65534, 65534)


def environment() -> dict[str, str]:
    """Return the environment of a process that uses the library under test."""
    library = str(Path(trio_batchmetrics.__file__).parent.parent)
    paths = [library, os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


async def child(
    body: str, path: Path, *, kill_after: int | None = None, dies_of: signal.Signals | None = None
) -> list[list[Any]]:
    """Run the body of an `async def` in another process.

    Args:
        body: Python; may use `path`, `BIG`, `record`, `tell`, `until` and what is imported above.
        path: the sink's file.
        kill_after: kill the process with SIGKILL after this many calls of `tell`.
        dies_of: the signal that must end it; without this and `kill_after` it must succeed.

    Returns:
        The arguments of its `tell` calls, in order.
    """
    script = PRELUDE + textwrap.indent(textwrap.dedent(body), "    ") + "\n\ntrio.run(main)\n"
    told = list[list[Any]]()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            command = [sys.executable, "-c", script, str(path)]
            run = partial(trio.run_process, command, stdout=subprocess.PIPE, env=environment(), check=False)
            process: trio.Process = await nursery.start(run)
            assert process.stdout is not None
            rest = b""
            async for data in process.stdout:
                *lines, rest = (rest + data).split(b"\n")
                told += [json.loads(line) for line in lines]
                if kill_after is not None and len(told) >= kill_after:
                    process.kill()
    if kill_after is not None:
        dies_of = signal.SIGKILL
    assert process.returncode == (0 if dies_of is None else -dies_of)
    return told
