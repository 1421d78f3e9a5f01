"""Plays traffic into collectors: one collector per stream, all at once."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import trio

from tests.helpers import balanced
from tests.servers.expected import Call
from tests.servers.traffic import FLUSHED, THREADED, Traffic
from trio_batchmetrics import BatchMetricsCollector, BatchMetricsConfig, BatchMetricsStats, collector
from trio_batchmetrics.abc import Sink

__all__ = ["Player", "assert_all_delivered", "configured", "record_all"]


class Player:
    """Makes the calls of a :class:`Traffic`.

    Args:
        traffic: what to record.
        pause: seconds between two slices.
    """

    def __init__(self, traffic: Traffic, *, pause: float = 0.02) -> None:
        self.traffic = traffic
        self._pause = pause
        self._recorded = [trio.Event() for _ in traffic.slices]
        self._held: dict[int, trio.Event] = {}

    async def reached(self, number: int) -> None:
        """Wait until this many slices are recorded."""
        await self._recorded[number - 1].wait()

    def hold(self, number: int) -> trio.Event:
        """Pause the player after this many slices, until the returned event is set."""
        return self._held.setdefault(number, trio.Event())

    async def play(self, metrics: BatchMetricsCollector) -> None:
        """Record everything and wait until it is settled; a flush in between does not delay further recording."""
        calls = _Calls(metrics)
        async with trio.open_nursery() as flushes:
            for number, slice_ in enumerate(self.traffic.slices):
                if number in THREADED:
                    recorder = metrics.from_thread()
                    await trio.to_thread.run_sync(_record, recorder, [call for call in slice_ if call.is_event])
                    slice_ = [call for call in slice_ if not call.is_event]  # noqa: PLW2901 - the rest of the slice
                for method, arguments in slice_:
                    calls[method](*arguments)
                if number in FLUSHED:
                    begun = trio.Event()
                    flushes.start_soon(_flush, metrics, begun)
                    await begun.wait()
                self._recorded[number].set()
                await trio.sleep(self._pause)
                if number + 1 in self._held:
                    await self._held[number + 1].wait()
        report = await metrics.flush()
        assert report.ok, report


def _record(recorder: Any, calls: Sequence[Call]) -> None:
    """Record events in a worker thread."""
    for method, arguments in calls:
        getattr(recorder, method)(*arguments)


async def _flush(metrics: BatchMetricsCollector, begun: trio.Event) -> None:
    begun.set()  # no checkpoint between here and the collection of bound instruments
    await metrics.flush()


class _Calls(dict[str, Callable[..., object]]):
    """The functions to call, by the method name in a :class:`Call`."""

    def __init__(self, metrics: BatchMetricsCollector) -> None:
        self._metrics = metrics
        labels = {key: {"worker": key} for key in "ab"}
        steps = {key: metrics.counter("worker.steps", labels=own, unit="{step}") for key, own in labels.items()}
        waits = {key: metrics.histogram("worker.wait", labels=own, unit="s") for key, own in labels.items()}
        memory = {key: metrics.gauge("worker.memory", labels=own, unit="By") for key, own in labels.items()}

        def add(worker: str, value: float) -> None:
            steps[worker].add(value)

        def observe(worker: str, value: float) -> None:
            waits[worker].observe(value)

        def set_(worker: str, value: float) -> None:
            memory[worker].set(value)

        super().__init__(add=add, observe=observe, set=set_)

    def __missing__(self, method: str) -> Callable[..., object]:
        recorder: Callable[..., object] = getattr(self._metrics, method)
        self[method] = recorder
        return recorder


def configured(traffic: Traffic, **settings: Any) -> BatchMetricsConfig:
    """Return a configuration that collects only at flushes, and drops nothing in an outage."""
    own: dict[str, Any] = {"batch_size": 500, "flush_interval": 3600.0, "buffer_size": 50_000, "shutdown_timeout": 30.0}
    return BatchMetricsConfig(static_labels={"collector": traffic.name}, **{**own, **settings})


async def record_all(
    traffics: Sequence[Traffic],
    make_sink: Callable[[Traffic], Sink],
    meanwhile: Callable[[Sequence[Player]], Awaitable[object]] | None = None,
    *,
    pause: float = 0.02,
    **settings: Any,
) -> dict[str, BatchMetricsStats]:
    """Record all traffic at once, with one collector per stream; return the accounts by collector at the end.

    Args:
        traffics: what to record.
        make_sink: creates the sink for one of them.
        meanwhile: acts on a server while the players are recording.
        pause: seconds between two slices.
        settings: settings of the collectors' configuration.
    """
    players = [Player(traffic, pause=pause) for traffic in traffics]
    accounts: dict[str, BatchMetricsStats] = {}

    async def record(player: Player) -> None:
        traffic = player.traffic
        async with collector(configured(traffic, **settings), sinks=[make_sink(traffic)]) as metrics:
            await player.play(metrics)
        accounts[traffic.name] = balanced(metrics.stats())

    async with trio.open_nursery() as nursery:
        for player in players:
            nursery.start_soon(record, player)
        if meanwhile is not None:
            nursery.start_soon(meanwhile, players)
    return accounts


def assert_all_delivered(
    traffics: Sequence[Traffic], accounts: Mapping[str, BatchMetricsStats], *, scraped: bool = False
) -> None:
    """Assert that each account reports every recorded event as delivered exactly once.

    Args:
        traffics: what was recorded.
        accounts: the accounts of the collectors.
        scraped: whether a page was fetched meanwhile. That collects the bound instruments, as a flush does, so their
            updates may have come in more points than the traffic knows of.
    """
    for traffic in traffics:
        account = accounts[traffic.name]
        (sink,) = account.sinks.values()
        assert account.total_events == account.processed_events == sink.total == sink.delivered, account
        more = account.total_events - traffic.events()
        assert more >= 0 if scraped else more == 0, account
        assert account.batch_count >= 20, account
