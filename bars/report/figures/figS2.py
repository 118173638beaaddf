"""Figure S2 (beyond the paper): measured time of an image, against accuracy and against counted operations."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bars.report.artifacts import BARS
from bars.report.figures import scatter, style
from bars.report.paper import SLOT_TITLES, table2
from bars.report.timed import (
    COMPARABLE,
    CONVENTIONS,
    LEAST,
    MOST,
    Fit,
    Timed,
    best,
    convention,
    measured_on,
    of_grid,
    timed,
)
from bars.report.tree import Results


def data(results: Results) -> list[dict[str, Any]]:
    """One row per network, then one per divisor of BiOps: the paper's two, and the one that fits best.

    No divisor where there are too few networks.
    """
    networks, fits = timed(results), []
    if len(networks) >= COMPARABLE:
        fits = [("convention", convention(networks, divisor)) for divisor in CONVENTIONS]
        fits.append(("best fit", best(networks, results.params.report.claims.confidence)))
    rows = [_network(results, one) for one in networks] + [_fit(kind, fit) for kind, fit in fits]
    return [{**row, "scale": results.scale} for row in rows]


def _network(results: Results, one: Timed) -> dict[str, Any]:
    printed = {row.experiment: row for row in table2()}.get(one.experiment)
    name, method = one.experiment, results.title(one.experiment)
    return {
        "kind": "network",
        "source": "measured",
        "series": "BARS" if name in BARS else "baseline" if printed else "beyond the paper",
        "method": method if one.slot == scatter.SLOT else f"{method}, {SLOT_TITLES[one.slot]}",
        "experiment": name,
        "seed": one.seed,
        "slot": one.slot,
        "data_set": results.runs(name).dataset,
        "packed": one.packed,
        "ms_per_image": one.ms.median,
        "ms_low": one.ms.low,
        "ms_high": one.ms.high,
        "top1_percent": 100 * one.top1,
        "flops": one.flops,
        "biops": one.biops,
        **{f"equivalent_ops_{divisor}": one.equivalent(divisor) for divisor in CONVENTIONS},
    }


def _fit(kind: str, fit: Fit) -> dict[str, Any]:
    row = {"kind": kind, "divisor": fit.divisor, "divisor_low": fit.low, "divisor_high": fit.high, "n": fit.n}
    return row | {"spearman": fit.spearman, "kendall": fit.kendall, "missed_by": fit.missed_by}


def draw(rows: style.Rows, results: Results) -> Figure:
    """Left: accuracy against time; then time against operations by either convention, with a proportional line."""
    networks = [row for row in rows if row["kind"] == "network"]
    one_slot = [row for row in networks if row["slot"] == scatter.SLOT] or networks
    looks = scatter.markers(networks)
    legend = scatter.handles(networks)
    room = min(1.0, 0.3 + 0.15 * math.ceil(len(legend) / 4))
    figure = style.new(3.3 + room)
    upper, lower = style.rows(figure, [2.9, room])
    left, *others = upper.subplots(1, 1 + len(CONVENTIONS))
    _points(left, one_slot, looks, "ms_per_image", "top1_percent")
    left.set_xlabel("Time of an image (ms)")
    left.set_ylabel("Top-1 accuracy on test (%)")
    left.set_title("Accuracy against time")
    for axes, divisor in zip(others, CONVENTIONS, strict=True):
        fit = next((row for row in rows if row["kind"] == "convention" and row["divisor"] == divisor), None)
        _points(axes, networks, looks, f"equivalent_ops_{divisor}", "ms_per_image")
        axes.set_xlabel(f"FLOPs + BiOps/{divisor} (millions)")
        if fit is not None:
            _draw_fit(axes, networks, fit)
    others[0].set_ylabel("Time of an image (ms)")
    others[0].set_title("Time against operations")
    lower.legend(handles=legend, loc="center", ncols=4, fontsize="small")
    style.foot(figure, *_notes(rows, networks, one_slot, results))
    return figure


def _points(axes: Axes, networks: list[dict[str, Any]], looks: dict[str, tuple[str, str]], x: str, y: str) -> None:
    """Filled: packed; open: floats. Bars: the quartiles of the time."""
    for row in networks:
        marker, colour = looks[row["experiment"]]
        unit = 1e6 if x.startswith("equivalent") else 1.0
        spread = [[row["ms_per_image"] - row["ms_low"]], [row["ms_high"] - row["ms_per_image"]]]
        axes.errorbar(
            row[x] / unit,
            row[y],
            xerr=spread if x == "ms_per_image" else None,
            yerr=spread if y == "ms_per_image" else None,
            fmt=marker,
            markersize=6.0,
            color=colour,
            markerfacecolor=colour if row["packed"] else "white",
            markeredgecolor="white" if row["packed"] else colour,
            markeredgewidth=0.5 if row["packed"] else 1.1,
            elinewidth=0.9,
            capsize=1.8,
            zorder=4,
            label=row["method"],
        )
    axes.margins(x=0.14, y=0.12)
    style.log_axis(axes)
    if y == "ms_per_image":
        style.log_axis(axes, "y")
    ours = [row for row in networks if row["series"] == "BARS"]
    labels = [(row[x] / unit, row[y], row["experiment"][-1].upper()) for row in ours]
    style.label_points(axes, labels, (6, -6), fontweight="bold", color=style.colour(0), zorder=5)


def _draw_fit(axes: Axes, networks: list[dict[str, Any]], fit: dict[str, Any]) -> None:
    key = f"equivalent_ops_{fit['divisor']}"
    pace = math.exp(sum(math.log(row["ms_per_image"] / row[key]) for row in networks) / len(networks))
    ends = [min(row[key] for row in networks), max(row[key] for row in networks)]
    line = [end / 1e6 for end in ends], [pace * end for end in ends]
    axes.plot(*line, "--", color=style.GRAY, linewidth=0.9, zorder=2)
    said = f"ρ = {fit['spearman']:.2f}, τ = {fit['kendall']:.2f}\nmissed by × {fit['missed_by']:.2f}"
    axes.annotate(said, (0.97, 0.03), xycoords="axes fraction", ha="right", va="bottom", fontsize="small")


def _notes(rows: style.Rows, networks: Any, one_slot: Any, results: Results) -> list[str]:
    many = [results.runs(row["experiment"]) for row in networks]
    wanted = of_grid(results)
    untimed = sum(own is None for _, own in wanted)
    missing = f" Not timed: {untimed} of {len(wanted)}." if untimed else ""
    floats = "" if all(row["packed"] for row in networks) else " Open: in floats, since it has no packed form."
    slot = "" if len(one_slot) == len(networks) else " Left: networks of CIFAR-10's rows only."
    assert results.latency is not None
    return [
        f"{style.provenance(many, results.scale)} n = {len(networks)} networks, the first seed of each. Time: packed, "
        f"one image at a time, median and quartiles over rounds.{floats}{slot} {_said_of_fits(rows)}",
        f"Measured on {measured_on(results.latency)}.{missing}",
    ]


def _said_of_fits(rows: style.Rows) -> str:
    fit = next((row for row in rows if row["kind"] == "best fit"), None)
    if fit is None:
        return f"Fewer than {COMPARABLE}: too few to say how well operations predict time."
    edge = {LEAST: " (the least that was tried)", MOST: " (the most that was tried)"}
    at_edge = next((said for end, said in edge.items() if abs(math.log(fit["divisor"] / end)) < 0.01), "")
    interval = "without an interval, of so few networks"
    if fit["divisor_low"] is not None:
        interval = f"[{fit['divisor_low']:.3g}, {fit['divisor_high']:.3g}] (bootstrap over networks)"
    return (
        "ρ: Spearman, τ: Kendall; missed by: of times proportional to the operations (dashed), root mean square on a "
        f"log scale. Best divisor of BiOps: {fit['divisor']:.3g}{at_edge} {interval}, missed by × "
        f"{fit['missed_by']:.2f}."
    )
