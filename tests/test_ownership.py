"""A sink belongs to one open collector at a time."""

import os
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
import trio
from trio.testing import MockClock

from tests.helpers import balanced
from tests.test_fork import forked, forked_on
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.abc import EventSink, Payload, SinkContext
from trio_batchmetrics.sinks import JSONLinesSink, LoggingSink, OTLPSink, PrometheusSink, PushgatewaySink, SQLiteSink
from trio_batchmetrics.testing import RecordingSink, StuckSink

SINKS: dict[str, Callable[[Any], Any]] = {
    "recording": lambda _: RecordingSink(),
    "logging": lambda _: LoggingSink(),
    "prometheus": lambda _: PrometheusSink(),
    "otlp": lambda _: OTLPSink("http://127.0.0.1:1"),
    "pushgateway": lambda _: PushgatewaySink("http://127.0.0.1:1", job="j"),
    "sqlite": lambda folder: SQLiteSink(folder / "events.sqlite3"),
    "jsonlines": lambda folder: JSONLinesSink(folder / "events.jsonl"),
}


@pytest.mark.parametrize("kind", SINKS)
async def test_a_sink_of_an_open_collector_is_refused_by_name(
    kind: str, tmp_path: Any, autojump_clock: MockClock
) -> None:
    """It is refused before anything starts: the second block isn't entered, and the first one goes on."""
    sink = SINKS[kind](tmp_path)
    other = RecordingSink(name="other")
    async with collector(BatchMetricsConfig(shutdown_timeout=0.1), sinks=[sink]):
        expected = rf"^sink '{kind}' \({type(sink).__name__}\) is in use by another open collector"
        for _ in range(2):
            with pytest.raises(RuntimeError, match=expected):
                async with collector(sinks=[other, sink]):
                    pytest.fail("the block was entered")
        async with collector(sinks=[other]) as metrics:
            metrics.record_cache_metric("redis", "hit")
    assert len(other.events) == 1, "the refused block has taken no event"


@pytest.mark.parametrize("kind", SINKS)
def test_a_sink_may_be_in_a_list_only_once(kind: str, tmp_path: Any) -> None:
    """The error names it and its places."""
    sink = SINKS[kind](tmp_path)
    with pytest.raises(
        RuntimeError, match=rf"^sinks\[2\] \({type(sink).__name__}\) is sinks\[0\] again: a sink can be"
    ):
        collector(sinks=[sink, RecordingSink(), sink])


@pytest.mark.parametrize("how", ["left", "body raised", "cancelled", "never opened", "a sink refused"])
async def test_a_sink_is_free_again_after_the_block(how: str, autojump_clock: MockClock) -> None:
    """The sink is free however the block was left, and where it was never entered."""

    class Refusing(EventSink[None]):
        def bind(self, context: SinkContext) -> None:
            """Raise an error."""
            raise ValueError("not I")

        async def send(self, payload: Payload[None]) -> None:
            """Do nothing; this is never called."""

    sink = RecordingSink()
    if how == "never opened":
        collector(sinks=[sink])
    elif how == "a sink refused":
        with pytest.raises(ValueError, match="not I"):
            async with collector(sinks=[sink, Refusing()]):
                pytest.fail("the block was entered")
    else:
        with trio.CancelScope() as scope:
            try:
                async with collector(sinks=[sink]):
                    if how == "body raised":
                        raise KeyError(how)
                    if how == "cancelled":
                        scope.cancel()
                        await trio.lowlevel.checkpoint()
            except KeyError:
                pass
    for _ in range(2):
        async with collector(sinks=[sink]) as metrics:
            metrics.record_cache_metric("redis", "hit")
    assert len(sink.events) == 2


async def test_a_sink_is_not_free_while_its_collector_flushes(autojump_clock: MockClock) -> None:
    """Its last attempt is in flight until the block is left."""
    sink = StuckSink()

    async def hold(entered: trio.Event) -> None:
        async with collector(BatchMetricsConfig(shutdown_timeout=5), sinks=[sink]) as metrics:
            metrics.record_cache_metric("redis", "hit")
            entered.set()

    async with trio.open_nursery() as nursery:
        entered = trio.Event()
        nursery.start_soon(hold, entered)
        await entered.wait()
        await trio.sleep(4)
        with pytest.raises(RuntimeError, match="is in use by another open collector"):
            async with collector(sinks=[sink]):
                pytest.fail("the block was entered")
        await trio.sleep(2)
        async with collector(BatchMetricsConfig(shutdown_timeout=0), sinks=[sink]):
            pass


async def test_a_function_may_be_in_several_collectors_and_twice_in_one(autojump_clock: MockClock) -> None:
    """A function has no state."""
    batches: list[int] = []

    async def sink(batch: Any) -> None:
        batches.append(len(batch))

    async with collector(sinks=[sink, sink]) as one, collector(sinks=[sink]) as two:
        one.record_cache_metric("redis", "hit")
        two.record_cache_metric("redis", "hit")
    assert batches == [1, 1, 1]
    assert list(one.stats().sinks) == ["sink", "sink2"]


async def test_a_sink_whose_collector_was_forgotten_is_free(autojump_clock: MockClock) -> None:
    """A Trio run that was torn down never left its block; the next run may use the sinks all the same."""
    sink = RecordingSink()
    manager: Any = collector(BatchMetricsConfig(enabled=False), sinks=[sink])
    await manager.__aenter__()
    await manager._nursery.__aexit__(None, None, None)
    del manager
    async with collector(sinks=[sink]) as metrics:
        metrics.record_cache_metric("redis", "hit")
    assert len(sink.events) == 1


# ------------------------------------------------------------------------------------------------------------ and forks

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@needs_fork
@pytest.mark.parametrize("kind", SINKS)
def test_a_child_may_not_use_a_sink_that_was_open_at_the_fork(kind: str, tmp_path: Any) -> None:
    """Its connections and files belong to the parent, too; a sink that wasn't open then is as good as new."""
    sink = SINKS[kind](tmp_path)
    config = BatchMetricsConfig(shutdown_timeout=0)

    async def child() -> str:
        try:
            async with collector(config, sinks=[sink]):
                pass
        except RuntimeError as exc:
            return str(exc)
        return "entered"

    async def main() -> None:
        async with collector(config, sinks=[sink]):
            expected = (
                f"sink '{kind}' ({type(sink).__name__}) was in use by a collector of the parent process at the fork"
            )
            assert await forked_on(child) == f"{expected}; create one in the child"
        assert await forked_on(child) == "entered", "the block was left before the fork"

    trio.run(main)


@needs_fork
def test_a_client_that_was_used_before_the_fork_is_refused_in_the_child() -> None:
    """Its connections stay open between blocks, and two processes can't share them. An unused client is accepted."""
    requests: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        requests.append(request.method)
        return httpx2.Response(200)

    sink = PushgatewaySink(
        "http://metrics.example", job="j", client=httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    )

    async def use() -> None:
        async with collector(sinks=[sink]) as metrics:
            metrics.record_cache_metric("redis", "hit")
        assert balanced(metrics.stats()).processed_events == 1

    def child() -> str:
        try:
            trio.run(use)
        except RuntimeError as exc:
            return str(exc)
        return "entered"

    assert forked(child) == "entered"
    assert requests == []
    trio.run(use)
    assert "was used before the fork" in forked(child)
    trio.run(use)
    assert requests == ["PUT", "PUT"]
