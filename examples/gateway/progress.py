"""Shows `stats()` while the traffic runs: a live panel on a terminal, a line a second elsewhere."""

from collections.abc import Sequence

import trio
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from trio_batchmetrics import BatchMetricsCollector, BatchMetricsStats

from .routing import Upstream

_WIDTH = 80


async def show_progress(
    metrics: BatchMetricsCollector, upstreams: Sequence[Upstream], *, seconds: float, plain: bool
) -> None:
    """Report until cancelled.

    Args:
        metrics: Whose `stats()` to show.
        upstreams: Whose health to show, on a terminal.
        seconds: How long the traffic is meant to run.
        plain: Print lines even on a terminal.
    """
    console = Console()
    if plain or not console.is_terminal:
        await _print_lines(metrics)
    else:
        await _update_panel(console, metrics, upstreams, seconds)


async def _print_lines(metrics: BatchMetricsCollector) -> None:
    started = trio.current_time()
    while True:
        await trio.sleep(1.0)
        print(f"{trio.current_time() - started:5.1f} s  {metrics.stats()}", flush=True)


async def _update_panel(
    console: Console, metrics: BatchMetricsCollector, upstreams: Sequence[Upstream], seconds: float
) -> None:
    started = trio.current_time()
    # Without auto_refresh, which is a thread: this task does the drawing.
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            elapsed = trio.current_time() - started
            live.update(_panel(metrics.stats(), upstreams, elapsed, seconds), refresh=True)
            await trio.sleep(0.2)


def _panel(stats: BatchMetricsStats, upstreams: Sequence[Upstream], elapsed: float, seconds: float) -> RenderableType:
    bar = Table.grid(padding=(0, 1), expand=True)
    bar.add_column()
    bar.add_column(ratio=1)
    bar.add_row(
        f"{min(elapsed, seconds):4.1f} of {seconds:g} s",
        ProgressBar(total=seconds, completed=min(elapsed, seconds)),
    )
    return Panel(
        Group(bar, "", _events(stats, elapsed), "", _sinks(stats), "", _health(upstreams)),
        title="[b]LLM gateway[/b]",
        width=_WIDTH,
        padding=(1, 2),
    )


def _events(stats: BatchMetricsStats, elapsed: float) -> RenderableType:
    """The ledger: what was recorded, and where all of it is."""
    flushed = stats.time_since_last_flush
    table = Table.grid(padding=(0, 2))
    for _ in range(6):
        table.add_column(justify="right", min_width=10)
    table.add_row(*("recorded", "processed", "pending", "dropped", "failed", "a second"), style="dim")
    table.add_row(
        f"{stats.total_events:,}",
        f"[green]{stats.processed_events:,}[/]",
        f"{stats.pending_events:,}",
        f"[{'red' if stats.dropped_events else 'default'}]{stats.dropped_events:,}[/]",
        f"[{'red' if stats.failed_events else 'default'}]{stats.failed_events:,}[/]",
        f"{stats.total_events / max(elapsed, 0.1):,.0f}",
    )
    ago = "none yet" if flushed is None else f"the last {flushed:.1f} s ago"
    return Group(table, Text(f"batches: {stats.batch_count:,}, {ago}", style="dim"))


def _sinks(stats: BatchMetricsStats) -> RenderableType:
    lines = [
        Text.assemble(
            (f"{name:<10}", "bold"),
            f"{sink.delivered:,} of {sink.total:,} delivered, {sink.retries} retries",
            ("" if sink.last_error is None else f"  {sink.last_error}", "red"),
        )
        for name, sink in stats.sinks.items()
    ]
    return Group(*lines)


def _health(upstreams: Sequence[Upstream]) -> RenderableType:
    text = Text()
    for upstream in upstreams:
        if not upstream.healthy:
            text.append("● ", "red").append(f"{upstream.name} down      ")
        elif not upstream.is_available():
            text.append("● ", "yellow").append(f"{upstream.name} limited   ")
        else:
            text.append("● ", "green").append(f"{upstream.name} up        ")
    return text
