"""Figure 1: accuracy against equivalent operations, BARS against hand-made binary networks."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from bars.report.figures import scatter, style
from bars.report.tree import Results


def data(results: Results) -> list[dict[str, Any]]:
    """One row per point."""
    return scatter.data(results, "fig1")


def draw(rows: style.Rows, results: Results) -> Figure:
    """One cost; the paper's values use the same sum, FLOPs + BiOps/64, of its printed columns."""
    notes, rows = scatter.footnotes(results, rows), scatter.comparable(rows)
    cost = ("equivalent_ops_64", "Equivalent operations, FLOPs + BiOps/64,")
    figure = scatter.above_legend(rows, [cost], "Accuracy against cost")
    style.foot(figure, *notes)
    return figure
