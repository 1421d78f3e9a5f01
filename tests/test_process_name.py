"""Process names: taken when a block is entered, and different for every process and collector that reports."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import trio

from tests.helpers import balanced
from tests.test_fork import forked, forked_on
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.abc import EventSink, Payload, SinkContext
from trio_batchmetrics.testing import RecordingSink, StuckSink


class NamedSink(RecordingSink):
    """A sink that keeps the names of its collectors."""

    def __init__(self) -> None:
        super().__init__()
        self.instances: list[str] = []

    def bind(self, context: SinkContext) -> None:
        """Keep the name."""
        super().bind(context)
        self.instances.append(context.instance)


def name(number: int = 1) -> str:
    """Return the name of a collector of this process on its own machine."""
    own = f"{socket.gethostname()}:{os.getpid()}"
    return own if number == 1 else f"{own}:{number}"


def in_initial_namespace() -> bool:
    """Return whether the tests run outside of any container."""
    namespace = Path("/proc/self/ns/pid")
    return not namespace.exists() or namespace.stat().st_ino == 0xEFFFFFFC


not_in_a_container = pytest.mark.skipif(
    not in_initial_namespace(), reason="the host part of the name differs in a container"
)


@not_in_a_container
async def test_each_open_collector_has_the_smallest_free_number() -> None:
    """The second one has ``:2``; once the first is left its number is free, whichever collectors are still open."""
    first, second, third = NamedSink(), NamedSink(), NamedSink()
    leave = trio.Event()

    async def hold(sink: NamedSink, entered: trio.Event) -> None:
        async with collector(sinks=[sink]):
            entered.set()
            await leave.wait()

    async with trio.open_nursery() as nursery:
        async with collector(sinks=[first]):
            entered = trio.Event()
            nursery.start_soon(hold, second, entered)
            await entered.wait()
        async with collector(BatchMetricsConfig(enabled=False), sinks=[NamedSink()]), collector(sinks=[third]):
            pass
        leave.set()
    async with collector(sinks=[second]):
        pass
    assert first.instances == [name()]
    assert second.instances == [name(2), name()]
    assert third.instances == [name()]


@not_in_a_container
async def test_a_collector_that_never_opened_takes_no_name() -> None:
    """A sink that refuses its context leaves no trace."""

    class Refusing(EventSink[None]):
        def bind(self, context: SinkContext) -> None:
            """Raise an error."""
            raise ValueError("not I")

        async def send(self, payload: Payload[None]) -> None:
            """Do nothing; this is never called."""

    with pytest.raises(ValueError, match="not I") as kept:
        async with collector(sinks=[Refusing()]):
            pass
    sink = NamedSink()
    async with collector(sinks=[sink]):
        pass
    assert sink.instances == [name()]
    assert kept.value is not None, "the traceback keeps the collector that failed"


@not_in_a_container
async def test_a_collector_has_its_name_until_its_last_attempt_has_ended() -> None:
    """While it flushes, another collector is the second one."""
    other = NamedSink()

    async def hold(entered: trio.Event) -> None:
        async with collector(BatchMetricsConfig(shutdown_timeout=0.2), sinks=[StuckSink()]) as metrics:
            metrics.record_cache_metric("redis", "hit")
            entered.set()

    async with trio.open_nursery() as nursery:
        entered = trio.Event()
        nursery.start_soon(hold, entered)
        await entered.wait()
        async with collector(sinks=[other]):
            pass
    assert other.instances == [name(2)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("opened", ["before", "never"])
def test_a_forked_child_is_named_after_itself(opened: str) -> None:
    """The sink was created and used before the fork; the parent's collectors aren't open in the child."""
    sink = NamedSink()

    async def use() -> None:
        async with collector(sinks=[sink]) as metrics:
            metrics.record_cache_metric("redis", "hit")
        assert balanced(metrics.stats()).processed_events == 1

    def child() -> Any:
        trio.run(use)
        return [os.getpid(), sink.instances[-1]]

    if opened == "before":
        trio.run(use)
    named = [forked(child) for _ in range(2)]
    for pid, instance in named:
        assert instance.endswith(f":{pid}")
    assert len({pid for pid, _ in named} | {os.getpid()}) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
async def test_the_parents_collectors_are_not_open_in_a_child() -> None:
    """The first collector that a child opens isn't the second."""

    async def child() -> Any:
        sink = NamedSink()
        async with collector(sinks=[sink]):
            return [os.getpid(), sink.instances[0]]

    async with collector(sinks=[]):
        pid, instance = await forked_on(child)
    assert instance.endswith(f":{pid}")


def _in_namespaces(program: str) -> list[str]:
    """Run a program twice at the same time, each as process 1 of its own namespace."""
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", program]
    both = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers: list[str] = []
    for process in both:
        assert process.stdout is not None
        answers.append(process.stdout.readline().strip())
    for process in both:
        process.communicate("\n")
    return answers


def _can_unshare() -> bool:
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return False
    command = ["unshare", "--pid", "--fork", "--mount-proc", "true"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not _can_unshare(), reason="this user may not create namespaces")
def test_two_containers_with_the_same_host_name_have_different_names() -> None:
    """Both are process 1 of the same host name, as the containers of a pod are."""
    program = """
import os, socket, trio
from trio_batchmetrics import collector
from trio_batchmetrics.testing import RecordingSink
sink = RecordingSink()
async def main():
    async with collector(sinks=[sink]):
        print(socket.gethostname(), os.getpid(), sink.context.instance, flush=True)
trio.run(main)
input()
"""
    answers = [answer.split() for answer in _in_namespaces(program)]
    assert [pid for _, pid, _ in answers] == ["1", "1"]
    instances = {instance for _, _, instance in answers}
    assert len(instances) == 2
    for host, pid, instance in answers:
        assert instance.startswith(f"{host}-")
        assert instance.endswith(f":{pid}")


async def test_many_collectors_that_open_in_many_threads_have_different_names() -> None:
    """Each thread has its own Trio run."""
    sinks = [NamedSink() for _ in range(20)]
    everybody_is_open = threading.Barrier(20)

    def run(sink: NamedSink, ready: Callable[[], None]) -> None:
        async def main() -> None:
            async with collector(sinks=[sink]):
                ready()
                everybody_is_open.wait(10)

        trio.run(main)

    opened: list[int] = []
    async with trio.open_nursery() as nursery:
        for sink in sinks:
            nursery.start_soon(trio.to_thread.run_sync, run, sink, lambda: opened.append(1))
    assert len(opened) == 20
    assert len({instance for sink in sinks for instance in sink.instances}) == 20


async def test_opening_one_of_many_collectors_looks_at_each_of_the_others_at_most_twice() -> None:
    """It used to look once per open collector: 25 ms for the two-hundredth."""
    looks: Counter[int] = Counter()

    def count(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == "is_open":
            looks[id(frame.f_locals["self"])] += 1

    async with AsyncExitStack() as stack:
        for _ in range(20):
            await stack.enter_async_context(collector(sinks=[]))
        sys.setprofile(count)
        try:
            await stack.enter_async_context(collector(sinks=[]))
        finally:
            sys.setprofile(None)
    assert len(looks) >= 20
    assert max(looks.values()) <= 2
