"""Reads the file that the gateway left and says what happened. Knows nothing but the file.

    python -m examples.gateway.report demo.sqlite3

Run by `__main__` as another process once the collector has ended, so that no figure can come from
anywhere but the rows; run it again by hand at any time. It needs nothing but the standard library.
"""

import argparse
import io
import json
import sqlite3
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from . import queries

_WIDTH = 80
_TIMELINE = 50
_BLOCKS = "▁▂▃▄▅▆▇█"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report, or only the number of rows.

    Args:
        arguments: The command line, without the program's name.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(prog="examples.gateway.report", description="Says what happened, out of the file.")
    parser.add_argument("database", type=Path, help="the file that SQLiteSink wrote")
    parser.add_argument("--count", action="store_true", help="print the number of rows only")
    options = parser.parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that has no blocks gets "?".
        sys.stdout.reconfigure(errors="replace")  # pyright: ignore[reportUnknownMemberType]
    if not options.database.is_file():
        parser.error(f"{options.database} does not exist")
    # mode=rw: does not make a file, and leaves none of WAL's companions behind as mode=ro would.
    uri = f"{options.database.absolute().as_uri()}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True)) as database:
        database.execute("PRAGMA query_only = ON")
        if options.count:
            print(database.execute(queries.ROWS).fetchone()[0])
        else:
            _print_report(database)
    return 0


def _print_report(database: sqlite3.Connection) -> None:
    rows, seconds = database.execute(queries.SPAN).fetchone()
    print(f"{rows:,} events in {seconds or 0:.1f} s")
    _print_table(
        "Requests by route",
        ("method", "route", "requests", "4xx", "5xx", "errors", "p50", "p95", "p99"),
        (_text, _text, _int, _int, _int, _percent, _ms, _ms, _ms),
        database.execute(queries.REQUESTS),
    )
    _print_table(
        "Calls by provider and model (percentiles of those that succeeded)",
        ("provider", "model", "calls", "errors", "p50", "p95", "p99", "max"),
        (_text, _text, _int, _percent, _ms, _ms, _ms, _ms),
        database.execute(queries.LATENCY),
    )
    _print_failures(database.execute(queries.FAILURES))
    _print_table(
        "Cache",
        ("cache", "hits", "misses", "evictions", "hit ratio"),
        (_text, _int, _int, _int, _percent),
        database.execute(queries.CACHE),
    )
    _print_health(database.execute(queries.HEALTH, {"columns": _TIMELINE}))
    _print_table(
        "Tokens by model",
        ("model", "answers", "tokens in", "tokens out", "mean time"),
        (_text, _int, _int, _int, _ms),
        database.execute(queries.TOKENS),
    )
    _print_table(
        "Named metrics (durations in seconds)",
        ("metric", "kind", "count", "sum", "mean", "max"),
        (_text, _text, _int, _number, _number, _number),
        (
            (" ".join([name, *json.loads(labels).values()]), *figures)
            for name, labels, *figures in database.execute(queries.NAMED)
        ),
    )
    _print_table("Rows by kind", ("kind", "rows"), (_text, _int), database.execute(queries.KINDS))


def _print_title(title: str) -> None:
    line = f"── {title} ".ljust(_WIDTH, "─")
    print(f"\n\x1b[1m{line}\x1b[0m" if sys.stdout.isatty() else f"\n{line}")


def _print_table(
    title: str,
    headers: Sequence[str],
    formats: Sequence[Callable[[Any], str]],
    rows: Iterable[Sequence[Any]],
) -> None:
    """Print rows in columns: text to the left, numbers to the right."""
    cells = [[show(value) for show, value in zip(formats, row, strict=True)] for row in rows]
    _print_title(title)
    lines = [list(headers), *cells]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    for line in lines:
        aligned = [
            cell.ljust(width) if show is _text else cell.rjust(width)
            for cell, width, show in zip(line, widths, formats, strict=True)
        ]
        print("  ".join(aligned).rstrip())
    if not cells:
        print("(nothing)")


def _print_failures(rows: Iterable[tuple[str, str, int]]) -> None:
    """Print why calls failed, a line a provider."""
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for provider, error_type, count in rows:
        reasons[provider].append(f"{count:,} x {error_type}")
    for provider, parts in reasons.items():
        print(f"{provider} failed: {', '.join(parts)}")


def _print_health(rows: Iterable[tuple[str, int, float, int]]) -> None:
    """Print a sparkline a backend: the share of good checks in each slice of the run.

    A slice without a check looks like the one before it: that is what the gateway went by.
    """
    _print_title("Health checks over time (full: all good)")
    lines: defaultdict[str, str] = defaultdict(str)
    checks: defaultdict[str, int] = defaultdict(int)
    good: defaultdict[str, float] = defaultdict(float)
    for backend, bucket, share, count in rows:
        lines[backend] = _carried_on(lines[backend], bucket) + _BLOCKS[round(share * 7)]
        checks[backend] += count
        good[backend] += share * count
    for backend, line in lines.items():
        overall = _percent(good[backend] / checks[backend])
        print(f"{backend:<10} {_carried_on(line, _TIMELINE)} {overall:>7} of {checks[backend]:,}")


def _carried_on(line: str, length: int) -> str:
    return line.ljust(length, line[-1:] or " ")


def _text(value: Any) -> str:
    return str(value)


def _int(value: Any) -> str:
    return f"{value:,.0f}"


def _number(value: Any) -> str:
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _percent(value: Any) -> str:
    return "-" if value is None else f"{value:.1%}"


def _ms(value: Any) -> str:
    return "-" if value is None else f"{value * 1000:,.0f} ms"


if __name__ == "__main__":
    sys.exit(main())
