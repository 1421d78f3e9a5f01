"""The command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter

from rich.console import Console

from . import (
    blocking,
    bulk,
    clients,
    draining,
    encoding,
    fairness,
    idling,
    influxdb,
    instruments,
    line_protocol,
    memory,
    otlp,
    recording,
    running,
    scraping,
    series,
)
from .document import PAGE, write_page
from .effort import FULL, QUICK, Effort
from .figures import Outcome
from .machine import description
from .report import Results, print_outcome, print_summary, write_json

BENCHMARKS: Mapping[str, Callable[[Effort], Outcome]] = {
    "recording": recording.run,
    "clients": clients.run,
    "instruments": instruments.run,
    "draining": draining.run,
    "series": series.run,
    "scraping": scraping.run,
    "blocking": blocking.run,
    "line_protocol": line_protocol.run,
    "bulk": bulk.run,
    "encoding": encoding.run,
    "otlp": otlp.run,
    "influxdb": influxdb.run,
    "running": running.run,
    "fairness": fairness.run,
    "memory": memory.run,
    "idling": idling.run,
}
"""The benchmarks, in the order in which they run and are shown."""


def main() -> None:
    """Run benchmarks and show the results."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="What recording costs, alongside other clients."
    )
    parser.add_argument("--quick", action="store_true", help="under a minute; the figures are rougher")
    parser.add_argument("--only", metavar="SUBSTRING", default="", help=f"of a name: {', '.join(BENCHMARKS)}")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write everything there too")
    parser.add_argument("--write-docs", action="store_true", help=f"put the tables and the chart into {PAGE.name}")
    options = parser.parse_args()
    chosen = {name: run for name, run in BENCHMARKS.items() if options.only in name}
    if not chosen:
        parser.error(f"--only must be part of a name of: {', '.join(BENCHMARKS)} (got {options.only!r})")
    if options.write_docs and (options.quick or options.only):
        parser.error("--write-docs takes a full run: neither --quick nor --only")
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    machine = description()
    start = perf_counter()
    outcomes: dict[str, Outcome] = {}
    for name, run in chosen.items():
        outcomes[name] = run(QUICK if options.quick else FULL)
        print_outcome(console, name, outcomes[name])
    results = Results(machine, options.quick, outcomes)
    print_summary(console, results, perf_counter() - start)
    if options.json is not None:
        write_json(results, options.json)
    if options.write_docs:
        write_page(results)


if __name__ == "__main__":
    main()
