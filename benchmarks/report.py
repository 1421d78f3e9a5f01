"""Reports the results on the terminal and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import attrs
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .figures import Cost, Figure, Outcome, formatted

__all__ = ["Results", "print_outcome", "print_summary", "write_json"]


@attrs.frozen
class Results:
    """All results of a run."""

    machine: Mapping[str, str]
    quick: bool
    outcomes: Mapping[str, Outcome]
    """The outcomes by benchmark."""

    @property
    def figures(self) -> list[Figure]:
        """The figures of all benchmarks, in order."""
        return [figure for outcome in self.outcomes.values() for figure in outcome.figures]

    @property
    def costs(self) -> list[Cost]:
        """The costs of all benchmarks, the cheapest first."""
        costs = [cost for outcome in self.outcomes.values() for cost in outcome.costs]
        return sorted(costs, key=lambda cost: cost.floors)


def print_outcome(console: Console, name: str, outcome: Outcome) -> None:
    """Show the results of one benchmark."""
    figures = Table(title=name, title_justify="left", title_style="bold")
    figures.add_column("figure", ratio=1)
    for column in ("value", "at most", "holds", "quartiles of the rounds"):
        figures.add_column(column, justify="right", no_wrap=True)
    for figure in outcome.figures:
        spread = figure.spread
        figures.add_row(
            Text(figure.name.replace("`", "")),
            f"{formatted(figure.value)} {figure.unit}",
            "" if figure.target is None else formatted(figure.target),
            {None: "", True: "[green]yes", False: "[bold red]NO"}[figure.holds],
            "" if spread is None else " · ".join(map(formatted, (spread.low, spread.median, spread.high))),
        )
    if outcome.figures:
        console.print(figures)
    costs = Table()
    costs.add_column("call", ratio=1)
    for column in ("whose", "÷ A", "ns"):
        costs.add_column(column, justify="left" if column == "whose" else "right", no_wrap=True)
    for cost in outcome.costs:
        costs.add_row(Text(cost.call), cost.client, formatted(cost.floors), formatted(cost.nanoseconds))
    if outcome.costs:
        console.print(costs)


def print_summary(console: Console, results: Results, seconds: float) -> None:
    """Show the machine and the missed targets."""
    console.print(", ".join(f"{name} {value}" for name, value in results.machine.items()), highlight=False)
    aims = [figure for figure in results.figures if figure.holds is not None]
    missed = [figure for figure in aims if not figure.holds]
    console.print(f"{len(aims) - len(missed)} of {len(aims)} targets hold; {seconds:.0f} s", highlight=False)
    for figure in missed:
        assert figure.target is not None  # noqa: S101 - it is missed
        text = f"missed: {figure.name.replace('`', '')}: {formatted(figure.value)}, at most {formatted(figure.target)}"
        console.print(Text(text, style="red"))


def write_json(results: Results, file: Path) -> None:
    """Write all results as JSON."""

    def plain(figure: Figure) -> dict[str, object]:
        return {**attrs.asdict(figure), "holds": figure.holds}

    benchmarks = {
        name: {"figures": list(map(plain, outcome.figures)), "costs": list(map(attrs.asdict, outcome.costs))}
        for name, outcome in results.outcomes.items()
    }
    everything = {"machine": dict(results.machine), "quick": results.quick, "benchmarks": benchmarks}
    file.write_text(json.dumps(everything, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
