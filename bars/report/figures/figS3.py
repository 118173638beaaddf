"""Figure S3 (beyond the paper): predicted against retrained accuracy of architectures of one budget."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bars.report.artifacts import RANKED
from bars.report.figures import style
from bars.report.predictors import SUPERNETS, ranked, skills
from bars.report.tree import Results


def data(results: Results) -> list[dict[str, Any]]:
    """One row per architecture and predictor, then one per predictor with its correlations."""
    architectures = ranked(results)
    points = [
        {"kind": "architecture", "seed": a.seed, "predictor": name, "prediction": value, "top1_percent": 100 * a.top1}
        for a in architectures
        for name, value in a.predictions.items()
    ]
    found = [
        {"kind": "skill", "predictor": s.predictor, "n": s.n, "tau": s.tau.value, "tau_low": s.tau.low}
        | {"tau_high": s.tau.high, "rho": s.rho.value, "label": str(s.tau)}
        for s in skills(results, architectures)
    ]
    return [{**row, "scale": results.scale} for row in points + found]


def draw(rows: style.Rows, results: Results) -> Figure:
    """Left: accuracy against the supernet's score; right: Kendall's tau of every predictor with its interval."""
    figure = style.new(3.2)
    found = [row for row in rows if row["kind"] == "skill"]
    main = next((r["predictor"] for r in found if r["predictor"] == SUPERNETS), found[0]["predictor"])
    left, right = style.columns(figure, [1.0, 1.25], wspace=0.03)
    axes: Axes = left.subplots()
    points = [row for row in rows if row["kind"] == "architecture" and row["predictor"] == main]
    axes.plot(
        [-row["prediction"] for row in points],
        [row["top1_percent"] for row in points],
        "o",
        color=style.colour(0),
        markeredgecolor="white",
        markersize=5.5,
    )
    axes.invert_xaxis()
    axes.set_xlabel("Validation loss with the supernet's weights\n(better to the right)")
    axes.set_ylabel("Top-1 accuracy on test after retraining (%)")
    axes.set_title("Architectures of one budget")
    _draw_skills(right.subplots(), found)
    runs = results.runs(RANKED)
    style.foot(
        figure,
        f"{style.provenance([runs], results.scale)} n = {found[0]['n']} architectures of BARS-B's budget, "
        "each retrained once. Right: Kendall's tau, points with a bootstrap interval over architectures.",
        style.absences([runs]),
    )
    return figure


def _draw_skills(axes: Axes, found: list[dict[str, Any]]) -> None:
    for i, row in enumerate(reversed(found)):
        ours = row["predictor"].startswith("supernet")
        colour = style.colour(0) if ours else style.GRAY
        axes.plot([row["tau_low"], row["tau_high"]], [i, i], color=colour, linewidth=1.6)
        axes.plot([row["tau"]], [i], "o" if ours else "s", color=colour, markersize=5.5)
        axes.annotate(row["label"], (1.03, i), xycoords=("axes fraction", "data"), va="center", fontsize="small")
    axes.axvline(0, color=style.INK, linewidth=0.8, zorder=1)
    axes.set_yticks(range(len(found)), [row["predictor"] for row in reversed(found)])
    axes.set_ylim(-0.6, len(found) - 0.4)
    axes.set_xlim(-1, 1)
    axes.set_xlabel("Kendall's tau with retrained accuracy")
    axes.set_title("Predictors")
