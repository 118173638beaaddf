"""Figure 4: accuracy against floating-point operations, binary operations and parameters."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from bars.report.figures import scatter, style
from bars.report.tree import Results

PANELS = (("flops", "FLOPs"), ("biops", "BiOps"), ("params", "Parameters"))


def data(results: Results) -> list[dict[str, Any]]:
    """One row per point; counts as they are, and relative to ResNet-18 (XNOR)."""
    return scatter.data(results, "fig4")


def draw(rows: style.Rows, results: Results) -> Figure:
    """Three costs that share the accuracy axis."""
    notes, rows = scatter.footnotes(results, rows), scatter.comparable(rows)
    figure = scatter.above_legend(rows, PANELS, "Accuracy against each cost")
    absent = [str(row["method"]) for row in rows if row["source"] == "printed" and row["params"] is None]
    style.foot(figure, *notes, f"No parameters are printed of {', '.join(absent)}." if absent else "")
    return figure
