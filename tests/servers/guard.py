"""Kills the servers of a test run that was itself killed: nothing else would.

A test run starts this file as a process of its own and tells it through a pipe which servers are running: `+PID` and
`-PID`, one per line. The pipe closes when the test run ends, in whatever way. The guard then kills the servers that are
still running.
"""

import os
import signal
import subprocess
import sys
import threading
from typing import IO

__all__ = ["guard", "release"]

_lock = threading.Lock()
_process: subprocess.Popen[str] | None = None


def _tell(line: str) -> None:
    """Write to the guard, and start it the first time."""
    global _process  # noqa: PLW0603 -- one guard for all servers of this process
    with _lock:
        if _process is None:
            _process = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__],
                stdin=subprocess.PIPE,
                text=True,
                start_new_session=True,  # a Ctrl-C on the terminal is not meant for the guard
            )
        pipe: IO[str] | None = _process.stdin
        assert pipe is not None
        pipe.write(line + "\n")
        pipe.flush()


def guard(pid: int) -> None:
    """Kill a process if this one ends first."""
    _tell(f"+{pid}")


def release(pid: int) -> None:
    """Forget a process: to be called as soon as it has ended, since its number may be used again."""
    _tell(f"-{pid}")


def _main() -> None:
    running: set[int] = set()
    for line in sys.stdin:
        pid = int(line[1:])
        if line.startswith("+"):
            running.add(pid)
        else:
            running.discard(pid)
    for pid in running:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


if __name__ == "__main__":
    _main()
