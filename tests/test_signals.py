"""Real Ctrl-C and SIGTERM: a separate process, and signals from outside."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parent.parent / "docs" / "howto" / "run-in-a-container.md"

PROGRAM = """
import sys
import trio
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.testing import RecordingSink, StuckSink

class Slow(RecordingSink):
    async def send(self, payload):
        await trio.sleep(0.3)
        return await super().send(payload)

async def say_that_it_flushes(left):
    await left.wait()
    await trio.sleep(0.1)
    print("flushing", flush=True)

async def main():
    left = trio.Event()
    trio.lowlevel.spawn_system_task(say_that_it_flushes, left)
    sink = {sink}
    try:
        async with collector(BatchMetricsConfig(batch_size=2, shutdown_timeout=3600), sinks=[sink]) as metrics:
            for _ in range(3):
                metrics.record_cache_metric("redis", "hit")
            try:
                print("recorded", flush=True)
                {body}
            finally:
                left.set()
    finally:
        stats = metrics.stats()
        print(stats.total_events, stats.processed_events, stats.failed_events, stats.pending_events, flush=True)

try:
    trio.run(main)
except KeyboardInterrupt as interrupt:
    print("interrupted in the middle of", type(interrupt.__context__).__name__, flush=True)
"""


def run(tmp_path: Path, *, sink: str, body: str, at: tuple[str, ...]) -> list[str]:
    """Run the program and press Ctrl-C whenever it prints one of these words; return its output."""
    program = PROGRAM.format(sink=sink, body=body)
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    assert process.stdout is not None
    lines: list[str] = []
    try:
        for line in process.stdout:
            lines.append(line.strip())
            if line.startswith(at):
                process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
    return lines


@pytest.mark.parametrize("body", ["await trio.sleep_forever()", "while True: metrics.stats()"], ids=["asleep", "busy"])
def test_a_ctrl_c_flushes_everything_and_leaves_as_keyboard_interrupt(tmp_path: Path, body: str) -> None:
    """The body waits or works."""
    lines = run(tmp_path, sink="Slow()", body=body, at=("recorded",))
    assert lines == ["recorded", "flushing", "3 3 0 0", "interrupted in the middle of NoneType"]


def test_a_second_ctrl_c_ends_the_flush_at_once(tmp_path: Path) -> None:
    """An hour of time is left, but nothing waits for it, and the loss is counted."""
    lines = run(tmp_path, sink="StuckSink()", body="await trio.sleep_forever()", at=("recorded", "flushing"))
    assert lines == ["recorded", "flushing", "3 0 3 0", "interrupted in the middle of KeyboardInterrupt"]


def test_a_ctrl_c_in_the_flush_keeps_the_bodys_error_as_its_context(tmp_path: Path) -> None:
    """The body failed and the flush was interrupted: the exception shows both."""
    lines = run(tmp_path, sink="StuckSink()", body="raise RuntimeError", at=("flushing",))
    assert lines[-1:] == ["interrupted in the middle of RuntimeError"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without a signal")
def test_the_documented_program_for_a_container_delivers_everything_on_sigterm(tmp_path: Path) -> None:
    """This first program on the page ends with status 0, and each event it recorded is in its file."""
    found = re.search(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    (tmp_path / "app.py").write_text(found[1], encoding="utf-8")
    events = tmp_path / "events.jsonl"
    with subprocess.Popen([sys.executable, "app.py"], cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        try:
            give_up = time.monotonic() + 60
            while not (events.exists() and events.stat().st_size):  # the first batch: 100 events, one per 10 ms
                assert process.poll() is None
                assert time.monotonic() < give_up
                time.sleep(0.05)
            time.sleep(0.2)  # some more events, which wait in an open batch
            process.send_signal(signal.SIGTERM)
            logged = process.communicate(timeout=30)[1]
        finally:
            process.kill()
    assert process.returncode == 0
    first, account = logged.splitlines()
    assert first == "stopping: SIGTERM"
    lines = len(events.read_text(encoding="utf-8").splitlines())
    assert lines > 100
    assert account.startswith(f"metrics: total={lines} processed={lines} dropped=0 failed=0 ")
