"""Writes the tables on the page, between two markers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from .chart import draw
from .figures import Figure, formatted
from .report import Results

__all__ = ["PAGE", "write_page"]

PAGE = Path(__file__).resolve().parent.parent / "docs" / "explanation" / "performance.md"
BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"


def _row(figure: Figure) -> str:
    spread = figure.spread
    quartiles = "" if spread is None else " · ".join(map(formatted, (spread.low, spread.median, spread.high)))
    unit = figure.unit if figure.unit in {"", "×"} else f" {figure.unit}"
    target = "" if figure.target is None else f"{formatted(figure.target)}{unit}"
    holds = {None: "", True: "yes", False: "**no**"}[figure.holds]
    return f"| {figure.name} | {formatted(figure.value)}{unit} | {target} | {holds} | {quartiles} |"


def _lines(results: Results) -> Iterator[str]:
    yield "Measured on " + ", ".join(f"{name} {value}" for name, value in results.machine.items()) + "."
    yield ""
    yield "| figure | value | at most | holds | quartiles of the rounds |"
    yield "| --- | ---: | ---: | --- | ---: |"
    yield from map(_row, results.figures)
    yield ""
    yield "| call | whose | ÷ A | ns |"
    yield "| --- | --- | ---: | ---: |"
    for cost in results.costs:
        yield f"| `{cost.call}` | {cost.client} | {formatted(cost.floors)} | {formatted(cost.nanoseconds)} |"


def write_page(results: Results) -> None:
    """Replace the text between the markers, and the chart next to the page."""
    text = PAGE.read_text(encoding="utf-8")
    inside = "\n".join([BEGIN, "", *_lines(results), "", END])
    replaced = re.sub(f"{BEGIN}.*{END}", lambda _: inside, text, flags=re.DOTALL)
    PAGE.write_text(replaced, encoding="utf-8")
    draw(results, PAGE.with_suffix(".svg"))
