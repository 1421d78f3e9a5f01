"""Ends the servers of a test run that was killed: nobody else would.

A test run starts this file as a process of its own and tells it on a pipe which servers run: `+PID` and `-PID`, a line
each. The pipe closes when the test run ends, however it ends; the servers that then still run are killed.
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
    """Write to the guard, which is started the first time."""
    global _process  # noqa: PLW0603 -- one guard for all servers of this process
    with _lock:
        if _process is None:
            _process = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__],
                stdin=subprocess.PIPE,
                text=True,
                start_new_session=True,  # a Ctrl-C on the terminal is not for it
            )
        pipe: IO[str] | None = _process.stdin
        assert pipe is not None
        pipe.write(line + "\n")
        pipe.flush()


def guard(pid: int) -> None:
    """Have a process killed if this one ends first."""
    _tell(f"+{pid}")


def release(pid: int) -> None:
    """Forget a process: to be called as soon as it has ended, since its number may then come again."""
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
