"""Installs the servers into the cache: `python -m tests.servers`, which is `make servers`.

How this works: each server is built in a folder of its own next to its final place, and renamed when complete. A file
lock makes a second installation wait; the system releases it even if the process is killed, and the second installation
then finds everything in place. Groups of recipes run concurrently, and the recipes of a group one after the other.

A server that cannot be installed produces one line of output, and the others continue; its tests are then deselected.
In CI that is an error.
"""

import fcntl
import shutil
import sys
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.servers.cache import cache_folder, is_installed, must_be_installed, server_folder, wanted_servers
from tests.servers.recipes import RECIPES, RecipeFailedError, clean_up, has_archive, make_archive

__all__ = ["main"]

_one_at_a_time = threading.Lock()
_interrupted = threading.Event()


def _say(line: str) -> None:
    """Write a whole line at once, from any thread."""
    with _one_at_a_time:
        sys.stdout.write(f"servers: {line}\n")
        sys.stdout.flush()


@contextmanager
def _only_installation(cache: Path) -> Generator[None, None, None]:
    """Hold the cache's lock, and report if another process holds it."""
    with (cache / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("waiting for another installation to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _work_folder(server: str) -> Generator[Path, None, None]:
    """Give an empty folder next to the server's final place, and remove whatever is left in it afterwards."""
    folder = cache_folder() / f"unfinished-{server}"
    shutil.rmtree(folder, ignore_errors=True)  # left by an installation that was killed
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _build(server: str, recipe: Callable[[Path], str]) -> str:
    """Build a server and move it to its final place."""
    with _work_folder(server) as work:
        complete = work / "complete"
        complete.mkdir()
        version = recipe(complete)
        complete.rename(server_folder(server))
        return version


def _archive(server: str) -> str:
    """Create the archive of a server's classes."""
    with _work_folder(server) as work:
        make_archive(server, work)
        return "archive of classes"


def _step(server: str, action: Callable[[], str]) -> bool:
    """Run one step, and report its result and duration."""
    begin = time.monotonic()
    try:
        what = action()
    except (RecipeFailedError, OSError) as error:
        _say(f"{server}: {error}")
        return False
    _say(f"{server:20}{what:26}{time.monotonic() - begin:6.1f} s")
    return True


def _install_group(group: str) -> bool:
    """Run a group's recipes, one after the other; return whether all succeeded."""
    well = True
    wanted = wanted_servers()
    for server, recipe in RECIPES[group]:
        if server not in wanted:
            continue
        if _interrupted.is_set():
            return False
        if not is_installed(server):
            well = _step(server, partial(_build, server, recipe)) and well
        if is_installed(server) and not has_archive(server):
            _step(server, partial(_archive, server))
    return well


def main() -> int:
    """Install the missing servers.

    Returns:
        The exit status: 1 if a server is missing in CI, 130 after a Ctrl-C, otherwise 0.
    """
    wanted = wanted_servers()
    if all(is_installed(server) and has_archive(server) for server in wanted):
        return 0
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    _say(f"installing into {cache}, once")
    with _only_installation(cache), ThreadPoolExecutor(len(RECIPES)) as threads:
        try:
            if all(list(threads.map(_install_group, RECIPES))):
                clean_up()
        except KeyboardInterrupt:
            _interrupted.set()  # running commands have received the Ctrl-C themselves; no others are started
            _say("interrupted; what is complete stays")
            return 130  # what shells return for SIGINT
    missing = [server for server in wanted if not is_installed(server)]
    _say(f"{len(wanted) - len(missing)} of {len(wanted)} are there after {time.monotonic() - begin:.0f} s")
    if missing and must_be_installed():
        _say(f"missing, which is an error in CI: {', '.join(missing)}")
        return 1
    return 0
