"""No lock stands between the application and its metrics: the package has none, and nothing waits for one."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trio_batchmetrics import __file__ as package_file

PACKAGE = Path(package_file).parent

LOCKS = {"Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore", "Barrier", "allocate_lock", "flock", "lockf"}
"""Names of functions and classes that make a lock."""

WITH_A_LOCK = {
    "Event": "threading",
    "Queue": "queue",
    "SimpleQueue": "queue",
    "LifoQueue": "queue",
    "Thread": "threading",
}


def names_of_locks(tree: ast.AST) -> list[str]:
    """Return every use of an object that is or has a lock, by its name, wherever it is imported from."""
    imported: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            imported |= {alias.asname or alias.name: node.module or "" for alias in node.names}
    found: list[str] = []
    for node in ast.walk(tree):
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        module = (
            node.value.id
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
            else imported.get(name)
        )
        if name in LOCKS or (name in WITH_A_LOCK and module == WITH_A_LOCK[name]):
            found.append(name)
        if name == "run_sync_soon":
            found.append(name)  # Trio's: it takes a lock
    return found


def test_the_package_has_no_lock_and_calls_nothing_that_takes_trios_lock() -> None:
    """No code of the package runs under a lock, and the objects that Trio's thread and others share need none."""
    locks = {
        file.relative_to(PACKAGE).as_posix(): found
        for file in sorted(PACKAGE.rglob("*.py"))
        if (found := names_of_locks(ast.parse(file.read_text())))
    }
    # This lock is between processes, for the duration of a write in a worker thread, which waits only a moment for it.
    assert {*locks.pop("sinks/_jsonlines/files.py")} == {"flock"}
    assert locks == {}


def test_a_lock_would_be_found() -> None:
    """It would be found however it is imported."""
    assert names_of_locks(ast.parse("import threading\nlock = threading.RLock()")) == ["RLock"]
    assert names_of_locks(ast.parse("from threading import Lock as L, Event\nl = Lock()\ne = Event()")) == [
        "Lock",
        "Event",
    ]
    assert names_of_locks(ast.parse("import trio\nevent = trio.Event()\ntoken.run_sync_soon(f)")) == ["run_sync_soon"]


PROGRAM = """
import faulthandler, gc, itertools, json, logging, signal, sys, threading, time
import trio
from trio_batchmetrics import BatchMetricsConfig, collector

seconds, sink = float(sys.argv[1]), sys.argv[2]
faulthandler.dump_traceback_later(seconds + 30, exit=True)
recorded = []  # one item for each record: appending is one step

class Records(logging.Handler):
    def emit(self, record):
        recorded.append(1)
        metrics.record_counter("lines", {"level": record.levelname}, 1)
        lines.add()

class Dies:
    def __init__(self):
        self.me = self  # for the garbage collector to find, in whatever thread it runs
    def __del__(self):
        log.info("gone")

async def elsewhere(batch):
    log.info("sent")

async def main():
    global metrics, lines
    config = BatchMetricsConfig(flush_interval=0.05)
    sinks = {"function": [elsewhere], "logging": None, "none": []}[sink]
    async with collector(config, sinks=sinks) as metrics:
        lines = metrics.counter("bound")
        log.addHandler(Records())
        logging.getLogger("trio_batchmetrics").addHandler(Records())
        stop = False
        def chat():
            while not stop:
                log.info("a line")
                Dies()
                metrics.stats()
                metrics.gauge("g", labels={"n": len(recorded) % 50}).set(1)
                time.sleep(0.001)
        signal.signal(signal.SIGALRM, lambda *_: log.info("a signal"))
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.0101)
        ticks = 0
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(trio.to_thread.run_sync, chat)
            with trio.move_on_after(seconds):
                while True:
                    Dies()
                    recorded.append(1)
                    metrics.record_http_request("GET", "/", 200, 0.1)
                    ticks += 1
                    await trio.sleep(0.001)
            stop = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        gc.collect()
        gc.disable()
        log.handlers.clear()
        logging.getLogger("trio_batchmetrics").handlers.clear()
        await metrics.flush()
        points = metrics.stats().batch_count  # any number: to see that it can be read
    return metrics, ticks

log = logging.getLogger("application")
log.setLevel(logging.INFO)
log.propagate = False
logging.getLogger("trio_batchmetrics").propagate = False
logging.getLogger("trio_batchmetrics").setLevel(logging.INFO)
metrics, ticks = trio.run(main)
stats = metrics.stats()
assert stats.pending_events == 0
parts = stats.processed_events + stats.dropped_events + stats.failed_events + stats.spooled_events
print(json.dumps({"ticks": ticks, "recorded": len(recorded), "total": stats.total_events, "parts": parts,
                  "dropped": dict(stats.dropped), "failed": stats.failed_events}))
"""


@pytest.mark.parametrize("sink", ["function", "logging", "none"])
def test_threads_handlers_signals_and_finalizers_that_log_and_record_never_freeze_the_application(
    sink: str, tmp_path: Path
) -> None:
    """Logging handlers record each line, in two threads, signal handlers, finalizers and the sink itself.

    LOCKS_SECONDS=60 runs it for a minute.
    """
    seconds = os.environ.get("LOCKS_SECONDS", "3")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, seconds, sink],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=float(seconds) + 60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["ticks"] > 20 * float(seconds), "the loop went on"
    assert (told["dropped"], told["failed"]) == ({}, 0)
    assert told["total"] == told["parts"] >= told["recorded"], "the total includes the instruments' points"
