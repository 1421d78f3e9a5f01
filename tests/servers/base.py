"""What all servers share: a process with a folder and a port of its own, and requests to it over HTTP.

How this works: plain blocking calls control a server, so that it can be started once for many tests, outside any event
loop. Each call has an async twin for tests that stop and start a server in the middle. A server keeps its folder and
its port. A restarted server is therefore the same server to any client, with the data that it has persisted. Leaving
the block kills the server, because its data is then no longer needed.
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
    """A server that tests start, query, stop and restart.

    Args:
        folder: the folder for its configuration, data and log; need not exist.
    """

    kind: ClassVar[str]
    """The server's name in the cache, and in the mark `server`."""

    ready_path: ClassVar[str]
    """The path that responds with a 2xx as soon as the server is ready."""

    start_timeout: ClassVar[float] = 20.0
    """Seconds: a hundred times what the quick servers take, for a machine that is busy with other things."""

    def __init__(self, folder: Path) -> None:
        super().__init__(self.kind, free_port())
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self, program: Path) -> Sequence[str | Path]:
        """Write the configuration and return the command that starts the server.

        Args:
            program: the folder in which it is installed.
        """

    # ------------------------------------------------------------------------------ life cycle

    @property
    def log(self) -> str:
        """Everything that the server has printed, in all its runs."""
        file = self.folder / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None, f"{self.name} is not running"
        return self._process.pid

    def start(self) -> Self:
        """Start the server with its existing data, and wait until it is ready.

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
                start_new_session=True,  # a Ctrl-C on the terminal is meant for the tests, which then end the server
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
        """End the server gracefully, as an administrator would (SIGTERM).

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
        """End the server at once, as a crash would (SIGKILL). Do nothing if it is not running."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            process.wait()
            release(process.pid)

    def pause(self) -> None:
        """Stop the process: the system still accepts connections for it, but it does not respond."""
        assert self._process is not None, f"{self.name} is not running"
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)  # the signal takes a moment to arrive

    def resume(self) -> None:
        """Continue the process after `pause`."""
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
    """The type of the fixture `new_server`: starts a server for one test, and kills it at the end."""

    def __call__(self, server: type[AnyServer], /, **arguments: Any) -> AnyServer:
        """Start a server of this class; the arguments are those of the class, without the folder."""
        ...


async def _in_thread(action: Callable[[], T]) -> T:
    import trio  # not at the top: installing runs without trio

    return await trio.to_thread.run_sync(action)


async def eventually(probe: Callable[[], T], *, within: float = 15.0, every: float = 0.05) -> T:
    """Call a probe repeatedly until its result is true, in a thread, by the real clock.

    Args:
        probe: called repeatedly; any true result ends the wait. An AssertionError counts as "not yet".
        within: seconds, after which the last result is returned, or the last AssertionError raised.
        every: seconds between two calls.
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
