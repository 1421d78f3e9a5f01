"""Platform requirements: the package can be imported, and its core runs, without APIs that Windows lacks."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import asyncio, email, importlib, logging.config, os, pkgutil, signal, socket, sqlite3, subprocess, sys, tempfile, time
from pathlib import Path
import attrs, trio, trio.testing
try:
    import httpx2
except ImportError:
    pass

tempfile.gettempdir()
for module, names in {
    os: "fork forkpty register_at_fork getuid geteuid getgid getegid getgroups getpgid getpgrp getsid setsid setuid "
        "setgid uname sync fdatasync fchmod fchown chown lchown chroot mkfifo mknod statvfs fstatvfs sched_getaffinity "
        "sched_yield pread pwrite preadv pwritev readv writev posix_fallocate posix_fadvise sysconf confstr "
        "posix_spawn pathconf fpathconf wait wait3 wait4 waitid WNOHANG killpg nice getpriority getloadavg "
        "ctermid ttyname openpty lockf sendfile pipe2 memfd_create eventfd O_NONBLOCK O_CLOEXEC O_NOFOLLOW O_DIRECTORY "
        "O_SYNC O_DSYNC O_NOCTTY O_PATH F_LOCK F_TLOCK F_ULOCK getxattr setxattr listxattr",
    signal: "SIGKILL SIGHUP SIGQUIT SIGALRM SIGUSR1 SIGUSR2 SIGCHLD SIGPIPE SIGCONT SIGSTOP alarm setitimer pause "
            "pthread_kill pthread_sigmask sigwait sigpending siginterrupt",
    socket: "SO_REUSEPORT SCM_RIGHTS",
    time: "clock_gettime clock_gettime_ns tzset pthread_getcpuclockid CLOCK_MONOTONIC",
}.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
for name in "fcntl resource pwd grp termios tty pty syslog posix _posixsubprocess".split():
    sys.modules[name] = None

unix = socket.AF_UNIX
del socket.AF_UNIX  # until the run, since Trio's own pair of sockets needs it here
import trio_batchmetrics, trio_batchmetrics.abc, trio_batchmetrics.sinks, trio_batchmetrics.testing
for module in pkgutil.walk_packages(trio_batchmetrics.__path__, "trio_batchmetrics."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)

from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.sinks import JSONLinesSink, PrometheusSink, SQLiteSink

async def main(folder):
    sinks = [PrometheusSink(), JSONLinesSink(folder / "events.jsonl"), SQLiteSink(folder / "events.sqlite3")]
    async with collector(BatchMetricsConfig.from_env(), sinks=sinks) as metrics:
        metrics.record_http_request("GET", "/", 200, 0.1)
        metrics.counter("jobs").add(2)
        metrics.from_thread().record_cache_metric("redis", "hit")
        print((await metrics.flush()).ok, end=" ")
    print(metrics.stats().processed_events, end=" ")

socket.AF_UNIX = unix
trio.run(main, Path.cwd())
print(len(Path("events.jsonl").read_text().splitlines()))
"""


def test_the_package_needs_nothing_that_windows_does_not_have(tmp_path: Path) -> None:
    """With those APIs deleted from the library, every module is imported, and events reach a page and two files."""
    command = [sys.executable, "-W", "error", "-c", PROGRAM]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True 3 3\n", "")
