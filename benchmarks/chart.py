"""Draws the chart on the page: the cost of one call per client, readable on light and dark backgrounds."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from typing import Any

from .figures import Cost, formatted
from .report import Results
from .timing import FLOOR

__all__ = ["draw"]

INK = "#7c8490"
"""A grey with the same contrast on white and on a nearly black background."""
COLOURS = {"this library": "#2f9e6e", "other clients": "#8a94a6", "the floor, A": "#c08a2b"}
SETTINGS = {
    "svg.hashsalt": "benchmarks",  # otherwise, each run would name its parts differently
    "svg.fonttype": "none",  # text as text: small, and sharp at any size
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
}


def draw(results: Results, file: Path) -> None:
    """Draw horizontal bars on a logarithmic scale, as SVG, with the cheapest call on top."""
    matplotlib: Any = import_module("matplotlib")
    matplotlib.use("svg")
    matplotlib.rcParams.update(SETTINGS)
    plots: Any = import_module("matplotlib.pyplot")
    costs = results.costs
    places = range(len(costs))
    figure, axes = plots.subplots(figsize=(10, 0.34 * len(costs) + 1), layout="constrained")
    axes.barh(places, [cost.floors for cost in costs], color=[COLOURS[_category(cost)] for cost in costs], height=0.64)
    for place, cost in enumerate(costs):
        axes.text(cost.floors * 1.06, place, formatted(cost.floors), va="center")
    axes.set_yticks(places, [f"{_call_text(ast.parse(cost.call, mode='eval').body)} · {cost.client}" for cost in costs])
    axes.invert_yaxis()
    axes.margins(y=0.02)
    axes.set_xscale("log")
    axes.set_xlim(0.5, max(cost.floors for cost in costs) * 1.6)
    axes.set_xticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
    axes.minorticks_off()
    axes.set_xlabel("cost of one call ÷ A, on a logarithmic scale", color=INK)
    axes.tick_params(colors=INK)
    axes.tick_params(axis="y", length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(INK)
    patch: Any = import_module("matplotlib.patches").Patch
    axes.legend(handles=[patch(color=colour, label=name) for name, colour in COLOURS.items()], frameon=False)
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    plots.close(figure)


def _category(cost: Cost) -> str:
    """Return the category that determines the colour."""
    if cost.client == FLOOR:
        return "the floor, A"
    return "this library" if cost.client.startswith("ours") else "other clients"


def _call_text(node: ast.expr) -> str:
    """Return a call as text without its arguments, which are in the table."""
    if isinstance(node, ast.Call):
        return f"{_call_text(node.func)}({'…' if node.args or node.keywords else ''})"
    if isinstance(node, ast.Attribute):
        return f"{_call_text(node.value)}.{node.attr}"
    return ast.unparse(node)
