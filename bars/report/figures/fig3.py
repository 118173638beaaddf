"""Figure 3: searching under three budgets against widening one compact network uniformly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bars.pipeline.experiments import Experiment
from bars.report.artifacts import BARS, REFERENCE
from bars.report.figures import scatter, style
from bars.report.paper import row2
from bars.report.stats import mean, sample_std
from bars.report.tree import Results, Runs, check_one_split, refuse_empty

SEARCHED, WIDENED = "searched under a budget", "compact network, widened uniformly"
UNIT = "unit of cost"  # not drawn
COST = "equivalent_ops_64"
MEASURED = ("run", "mean")
_BAND_LABEL = {True: "Printed top-1 (%)", False: "Measured top-1 (%)"}


def _many(results: Results) -> list[Runs]:
    widened = [experiment for experiment in results.grid if experiment.group == "widened"]
    names = [REFERENCE, *BARS, *(e.name for e in sorted(widened, key=lambda e: e.width_multiplier))]
    return [results.runs(name) for name in names]


def _times(results: Results, experiment: Experiment) -> str:
    """Width of a widened network relative to the compact one that it was made from."""
    source = results.experiment(experiment.genotype_from or "")
    return f"×{experiment.width_multiplier / source.width_multiplier if source else 1.0:g}"


def data(results: Results) -> list[dict[str, Any]]:
    """One row per run, one per mean over seeds, one per printed value."""
    many = _many(results)
    refuse_empty(results, many, "fig3")
    check_one_split(many)
    rows = [row for runs in many if runs.metrics for row in _rows(results, runs)]
    for name in (*BARS, REFERENCE):
        printed = row2(name)
        equivalent = printed.equivalent(64)
        assert equivalent is not None
        rows.append(
            {
                "source": "printed",
                "series": SEARCHED if name in BARS else UNIT,
                "experiment": name,
                "point": name[-1].upper() if name in BARS else "",
                "equivalent_ops_64": equivalent * 1e6,
                "top1_percent": printed.number("top1").value,
                "scale": "the paper's",
                "data_set": "CIFAR-10",
            }
        )
    scatter.relate(rows, (COST,), source_of="mean")
    means = [row for row in rows if row["source"] == "mean" and row["series"] != UNIT]
    for row in means:
        row["on_joint_front"] = not any(_dominates(other, row) for other in means)
    return rows


def _rows(results: Results, runs: Runs) -> list[dict[str, Any]]:
    assert runs.experiment is not None
    series, point = WIDENED, _times(results, runs.experiment)
    if runs.name in BARS:
        series, point = SEARCHED, runs.name[-1].upper()
    elif runs.name == REFERENCE:
        series, point = UNIT, ""
    about = {"series": series, "experiment": runs.name, "point": point, "scale": runs.scale, "data_set": runs.dataset}
    costs, top1 = runs.values("equivalent_ops_64"), {s: 100 * v for s, v in runs.values("top1").items()}
    rows: list[dict[str, Any]] = [
        {"source": "run", **about, "seed": seed, "equivalent_ops_64": costs[seed], "top1_percent": top1[seed]}
        for seed in runs.metrics
    ]
    rows.append(
        {
            "source": "mean",
            **about,
            "equivalent_ops_64": mean(list(costs.values())),
            "equivalent_ops_64_std": sample_std(list(costs.values())),
            "top1_percent": mean(list(top1.values())),
            "top1_percent_std": sample_std(list(top1.values())),
            "n": len(top1),
            "n_declared": len(runs.declared),
        }
    )
    return rows


def _dominates(one: dict[str, Any], other: dict[str, Any]) -> bool:
    cheaper = one["equivalent_ops_64"] <= other["equivalent_ops_64"]
    better = one["top1_percent"] >= other["top1_percent"]
    return cheaper and better and one is not other


def draw(rows: style.Rows, results: Results) -> Figure:
    """Both fronts in one panel, so that they can be compared at equal cost; what is printed above it where far away."""
    across = scatter.axis(rows, COST, "Equivalent operations, FLOPs + BiOps/64,")
    printed = scatter.why_not_printed(rows) or (
        "Gray and open: as printed, on CIFAR-10 (the paper prints no widened network)."
    )
    drawn = [row for row in scatter.comparable(rows) if row["series"] != UNIT]
    rows = [_placed(row, across) for row in drawn]
    bands = [("printed",), MEASURED] if scatter.far_apart(drawn) else [("printed", *MEASURED)]
    figure = style.new(3.2 + 0.9 * len(bands))
    grid = figure.subplots(len(bands), 1, sharex=True, squeeze=False, height_ratios=[2.0, 3.0][: len(bands)])[:, 0]
    parts = [(axes, [row for row in rows if row["source"] in band]) for axes, band in zip(grid, bands, strict=True)]
    for axes, own in parts:
        _draw_printed(axes, own)
        for series, marker, colour in ((SEARCHED, "o", style.colour(0)), (WIDENED, "s", style.colour(3))):
            _draw_series(axes, [row for row in own if row["series"] == series], series, marker, colour)
        axes.margins(x=0.07, y=0.14)
        axes.set_ylabel("Top-1 accuracy on test (%)" if len(bands) == 1 else _BAND_LABEL[own[0]["source"] == "printed"])
    grid[-1].set_xlabel(across.label)
    for axes, own in parts:  # when all is drawn: they share their horizontal axis
        style.log_axis(axes)
        _label(axes, own)
    style.legend_on_top(grid[0], "Searching for capacity against widening uniformly", 3, list(grid[1:]))
    many = _many(results)
    counts = [row["n"] for row in rows if row["source"] == "mean"]
    style.foot(
        figure,
        f"{style.provenance(many, results.scale)} {style.seeds_drawn(counts)} Small dots: single runs. "
        f"Shaded: what a front dominates. {printed}",
        style.absences(many),
    )
    return figure


def _placed(row: dict[str, Any], across: scatter.Axis) -> dict[str, Any]:
    """The row with its place on the horizontal axis."""
    spread = row.get(f"{across.column}_std") or 0.0
    return {**row, "x": row[across.column] / across.divisor, "x_std": spread / across.divisor}


def _draw_printed(axes: Axes, rows: style.Rows) -> None:
    printed = [row for row in rows if row["source"] == "printed"]
    if not printed:
        return
    axes.plot(
        [row["x"] for row in printed],
        [row["top1_percent"] for row in printed],
        marker="o",
        linestyle=(0, (4, 2)),
        linewidth=0.9,
        color=style.GRAY,
        markerfacecolor="white",
        markeredgewidth=0.9,
        markersize=6,
        label="searched, as printed",
    )


def _draw_series(axes: Axes, rows: style.Rows, series: str, marker: str, colour: str) -> None:
    runs = [row for row in rows if row["source"] == "run"]
    means = sorted((row for row in rows if row["source"] == "mean"), key=lambda row: float(row["x"]))
    if not means:
        return
    axes.scatter(
        [row["x"] for row in runs],
        [row["top1_percent"] for row in runs],
        s=9,
        color=colour,
        alpha=0.4,
        linewidths=0,
        zorder=3,
    )
    x, y = [row["x"] for row in means], [row["top1_percent"] for row in means]
    axes.errorbar(
        x,
        y,
        xerr=[row["x_std"] for row in means],
        yerr=[row["top1_percent_std"] or 0.0 for row in means],
        fmt=f"{marker}-",
        linewidth=1.3,
        markersize=6,
        color=colour,
        markeredgecolor="white",
        markeredgewidth=0.5,
        elinewidth=0.9,
        capsize=1.8,
        zorder=5,
        label=series,
    )


def _label(axes: Axes, rows: style.Rows) -> None:
    """Letters of searched networks, width factors of widened ones; then the dominated areas within the final limits."""
    for source, series, offset, colour in (
        ("printed", SEARCHED, (-6, 6), style.GRAY),
        ("mean", SEARCHED, (-6, 6), style.colour(0)),
        ("mean", WIDENED, (6, -6), style.colour(3)),
    ):
        own = [row for row in rows if row["source"] == source and row["series"] == series]
        labels = [(row["x"], row["top1_percent"], row["point"]) for row in own]
        weight = "normal" if source == "printed" else "bold"
        style.label_points(axes, labels, offset, color=colour, fontweight=weight, zorder=6)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    for series, colour in ((SEARCHED, style.colour(0)), (WIDENED, style.colour(3))):
        steps = _staircase([row for row in rows if row["source"] == "mean" and row["series"] == series])
        if steps:
            x, y = [cost for cost, _ in steps] + [right], [value for _, value in steps] + [steps[-1][1]]
            axes.fill_between(x, y, bottom, step="post", color=colour, alpha=0.07, linewidth=0, zorder=0)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)


def _staircase(means: Sequence[dict[str, Any]]) -> list[tuple[float, float]]:
    """The best accuracy reached up to each cost."""
    steps, best = [], float("-inf")
    for row in sorted(means, key=lambda row: float(row["x"])):
        if row["top1_percent"] > best:
            best = float(row["top1_percent"])
            steps.append((float(row["x"]), best))
    return steps
