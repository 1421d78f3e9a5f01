"""What all servers share: a process with a folder and a port of its own, and questions to it over HTTP.

How this works: a server is controlled by plain blocking calls, so that it can be started once for many tests, outside
any event loop. Each of them has an async twin for tests that stop and start a server in the middle. A server keeps
its folder and its port, so one that is started again is the same server to whoever knows its address, with its data
as far as it kept them. Leaving the block kills it: its data are then of no use to anyone.
"""

import http.client
import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar

from tests.servers.cache import is_installed, server_folder
from tests.servers.client import Client, ServerFailedError, free_port
from tests.servers.guard import guard, release

__all__ = ["AnyServer", "NewServer", "Server", "eventually"]

T = TypeVar("T")


class Server(Client, ABC):
    """A server that tests start, ask, stop and start again.

    Args:
        folder: where it keeps its configuration, its data and its log; need not exist.
    """

    kind: ClassVar[str]
    """Its name in the cache, which the mark `server` takes too."""

    ready_path: ClassVar[str]
    """What answers with a 2xx as soon as the server is ready."""

    start_timeout: ClassVar[float] = 20.0
    """Seconds: a hundred times what the quick ones take, for a machine that is busy with other things."""

    def __init__(self, folder: Path) -> None:
        super().__init__(self.kind, free_port())
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self, program: Path) -> Sequence[str | Path]:
        """Write the configuration and return the command that starts the server.

        Args:
            program: the folder where it is installed.
        """

    # ------------------------------------------------------------------------------------------- life

    @property
    def log(self) -> str:
        """All that it has printed, in all its runs."""
        file = self.folder / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    @property
    def pid(self) -> int:
        """The number of its process."""
        assert self._process is not None, f"{self.name} is not running"
        return self._process.pid

    def start(self) -> Self:
        """Start it, with the data that it has, and wait until it is ready.

        Raises:
            ServerFailedError: it ended, or was not ready in time; with the last lines of its log.
        """
        assert self._process is None, f"{self.name} is running already"
        if not is_installed(self.kind):
            raise ServerFailedError(f"{self.name} is not installed: run `make servers`")
        self.folder.mkdir(parents=True, exist_ok=True)
        command = self.command(server_folder(self.kind))
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C on the terminal is for the tests, which then end it
            )
        try:
            guard(self._process.pid)
            self._wait_until_ready(self._process)
        except BaseException:
            self.kill()
            raise
        return self

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self.start_timeout
        while not self._is_ready():
            if process.poll() is not None:
                raise self._failure(f"ended with status {process.returncode} instead of starting")
            if time.monotonic() > deadline:
                raise self._failure(f"was not ready within {self.start_timeout:g} s")
            time.sleep(0.02)

    def _is_ready(self) -> bool:
        try:
            return 200 <= self.request("GET", self.ready_path, timeout=2.0).status < 300
        except (OSError, http.client.HTTPException):
            return False

    def _failure(self, what: str) -> ServerFailedError:
        return ServerFailedError("\n  ".join([f"{self.name} {what}", *self.log.splitlines()[-15:]]))

    def stop(self, timeout: float = 20.0) -> None:
        """End it in good order, as an administrator would (SIGTERM).

        Raises:
            ServerFailedError: it took longer than `timeout`, and was killed.
        """
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise self._failure(f"did not end within {timeout:g} s") from None
        finally:
            self.kill()

    def kill(self) -> None:
        """End it at once, as a crash would (SIGKILL). One that does not run is left alone."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            process.wait()
            release(process.pid)

    def pause(self) -> None:
        """Have it stand still: the system still accepts connections for it, but nothing is answered."""
        assert self._process is not None, f"{self.name} is not running"
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)  # the signal takes a moment to arrive

    def resume(self) -> None:
        """Have it go on after `pause`."""
        assert self._process is not None, f"{self.name} is not running"
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    async def astart(self) -> Self:
        """`start`, without blocking other tasks."""
        return await _in_thread(self.start)

    async def astop(self) -> None:
        """`stop`, without blocking other tasks."""
        await _in_thread(self.stop)

    async def akill(self) -> None:
        """`kill`, without blocking other tasks."""
        await _in_thread(self.kill)

    async def __aenter__(self) -> Self:
        return await self.astart()

    async def __aexit__(self, *_: object) -> None:
        self.kill()


AnyServer = TypeVar("AnyServer", bound=Server)


class NewServer(Protocol):
    """What the fixture `new_server` is: starts a server for one test, and kills it at the end."""

    def __call__(self, server: type[AnyServer], /, **arguments: Any) -> AnyServer:
        """Start a server of this class; the arguments are those that the class takes beside the folder."""
        ...


async def _in_thread(action: Callable[[], T]) -> T:
    import trio  # not above: installing runs without it

    return await trio.to_thread.run_sync(action)


async def eventually(probe: Callable[[], T], *, within: float = 15.0, every: float = 0.05) -> T:
    """Ask until there is something to see, in a thread, by the real clock.

    Args:
        probe: a question; anything true ends the wait. An AssertionError counts as "not yet".
        within: seconds, after which the last answer is returned, or the last AssertionError raised.
        every: seconds between two questions.
    """
    deadline = time.monotonic() + within

    def ask_on() -> T:
        while True:
            late = time.monotonic() > deadline
            try:
                found = probe()
                if found or late:
                    return found
            except AssertionError:
                if late:
                    raise
            time.sleep(every)

    return await _in_thread(ask_on)
