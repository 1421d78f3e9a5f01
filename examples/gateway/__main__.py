"""Runs the demo: the collector around everything, the servers, the traffic, and at last the report.

How a Ctrl-C goes: the first one (or a SIGTERM) only ends the traffic; requests under way finish,
the servers shut down, the collector flushes. A second one is an ordinary `KeyboardInterrupt`: it
tears all that down at once, and the collector still flushes. Either way the report follows.
"""

import argparse
import math
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from random import Random

import attrs
import trio

from trio_batchmetrics import BatchMetricsCollector, BatchMetricsConfig, collector
from trio_batchmetrics.sinks import PrometheusSink, SQLiteSink

from .app import GatewayApp
from .asgi import serving
from .database import NotOursError, remove_database
from .load import generate_load
from .progress import show_progress
from .providers import ProviderApp, simulated_providers
from .routing import Upstream


@attrs.frozen
class Options:
    """The command line."""

    seconds: float
    database: Path
    seed: int
    workers: int
    pause: float
    port: int
    plain: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo.

    Args:
        arguments: The command line, without the program's name.

    Returns:
        The exit status: 0 if the file holds what the ledger says, 1 if not, 2 for a bad argument.
    """
    parser = argparse.ArgumentParser(
        prog="examples.gateway",
        description="A small LLM gateway that measures itself with trio_batchmetrics.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--seconds", type=positive, default=20.0, help="how long the traffic runs")
    add("--database", type=Path, default=Path("demo.sqlite3"), help="replaced if it exists")
    add("--seed", type=int, default=1, help="for the choice of requests, latencies and failures")
    add("--workers", type=int, default=12, help="clients that ask at the same time")
    add("--pause", type=positive, default=0.05, help="mean seconds between a client's requests")
    add("--port", type=int, default=0, help="where the gateway listens, and answers /metrics; 0 for any")
    add("--plain", action="store_true", help="print lines even on a terminal")
    options = Options(**vars(parser.parse_args(arguments)))
    if options.workers < 1:
        parser.error(f"--workers must be >= 1 (got {options.workers})")
    try:
        remove_database(options.database)
    except NotOursError as exc:
        parser.error(str(exc))
    try:
        return trio.run(run, options)
    except KeyboardInterrupt:  # before there was anything to report
        return 130


def positive(text: str) -> float:
    """Return a number from the command line.

    Args:
        text: The number.

    Raises:
        ValueError: It is none, or not above 0.
    """
    number = float(text)
    if not 0 < number < math.inf:
        raise ValueError(text)
    return number


async def run(options: Options) -> int:
    """Record the traffic, then compare the file with the ledger.

    Args:
        options: The command line.

    Returns:
        The exit status.
    """
    config = BatchMetricsConfig(batch_size=200, flush_interval=1.0, static_labels={"service.name": "gateway"})
    metrics: BatchMetricsCollector | None = None
    interrupted = False
    try:
        prometheus = PrometheusSink()
        async with collector(config, sinks=[SQLiteSink(options.database), prometheus]) as metrics:
            interrupted = await run_traffic(metrics, prometheus, options)
    except* KeyboardInterrupt:
        interrupted = True
    # What is left takes a moment. A Ctrl-C that comes late must not cost it: neither here nor, as
    # this is inherited, in the report's process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if metrics is None:
        return 130
    if not metrics.stats().processed_events:
        print(f"nothing reached {options.database}: {metrics.stats()}")
        return 130 if interrupted else 1
    if interrupted:
        print("interrupted: what was recorded until then is in the file", flush=True)
    return await print_report(metrics, options.database)


async def run_traffic(metrics: BatchMetricsCollector, prometheus: PrometheusSink, options: Options) -> bool:
    """Start the servers, send them traffic for a while and shut them down.

    Args:
        metrics: Where everything is recorded.
        prometheus: What the gateway shows at `/metrics`.
        options: The command line.

    Returns:
        Whether a signal ended it early.
    """
    traffic = trio.CancelScope()
    async with trio.open_nursery() as nursery, AsyncExitStack() as servers:
        nursery.start_soon(cancel_on_signal, traffic)
        upstreams: list[Upstream] = []
        for provider in simulated_providers(options.seconds):
            app = ProviderApp(provider, Random(f"{options.seed}-{provider.name}"))
            url = await servers.enter_async_context(serving(app))
            upstreams.append(Upstream(provider.name, url))
        gateway = GatewayApp(metrics, upstreams, prometheus.asgi_app())
        url = await servers.enter_async_context(serving(gateway, options.port))
        print(f"Prometheus can scrape {url}/metrics", flush=True)
        nursery.start_soon(partial(show_progress, metrics, upstreams, seconds=options.seconds, plain=options.plain))
        traffic.deadline = deadline = trio.current_time() + options.seconds
        with traffic:
            await generate_load(url, metrics, workers=options.workers, pause=options.pause, seed=options.seed)
        interrupted = trio.current_time() < deadline
        await servers.aclose()  # the gateway first, then the providers
        nursery.cancel_scope.cancel()
    return interrupted


async def cancel_on_signal(scope: trio.CancelScope) -> None:
    """Cancel a scope at the first SIGINT or SIGTERM, and leave the next one to Trio.

    Args:
        scope: What to cancel.
    """
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            print("stopping: once more to do it the hard way", flush=True)
            scope.cancel()
            return


async def print_report(metrics: BatchMetricsCollector, database: Path) -> int:
    """Let another process read the file, and compare its rows with the ledger.

    Args:
        metrics: The collector that has ended.
        database: The file that it left.

    Returns:
        The exit status: 0 if the file holds as many rows as the ledger says.
    """
    stats = metrics.stats()
    report = [sys.executable, "-m", f"{__package__}.report", str(database)]
    await trio.run_process(report)
    counted = await trio.run_process([*report, "--count"], capture_stdout=True)
    rows = int(counted.stdout)
    print(f"\nledger  {stats}")
    print(f"rows    {rows} in {database}, {stats.processed_events} processed by the ledger", end="")
    print(": equal" if rows == stats.processed_events else ": DIFFERENT")
    return 0 if rows == stats.processed_events else 1


if __name__ == "__main__":
    sys.exit(main())
