"""What Figures 1 and 4 share: accuracy against cost, for BARS and every CIFAR-10 baseline, measured and printed."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from bars.report import summary
from bars.report.artifacts import BARS, REFERENCE, scattered
from bars.report.figures import style
from bars.report.paper import Row2, table2
from bars.report.tree import Results, Runs, check_one_split, refuse_empty

SLOT = "cifar10"
MARKERS = ("o", "s", "^", "v", "P", "X", "D", "<", ">", "p", "h", "d", "*", "8", "H")
COLOURS = (1, 2, 3, 4, 5, 9, 6)  # neither BARS's blue, nor the gray of printed values, nor a yellow that vanishes
SOURCES = ("printed", "measured")
COSTS = ("flops", "biops", "params", "equivalent_ops_64")


def many_runs(results: Results) -> list[Runs]:
    """BARS-A to -C and the baselines of the slot, printed ones first."""
    printed = [row.experiment for row in table2() if row.slot == SLOT]
    return [*map(results.runs, printed), *results.beyond(printed, "searched", "baselines", only=scattered)]


def data(results: Results, name: str) -> list[dict[str, Any]]:
    """One row per drawn point; counts in operations (2 x MACs) and parameters, accuracy in percent."""
    many = many_runs(results)
    refuse_empty(results, many, name)
    check_one_split(many)
    rows = [_measured(results, runs) for runs in many if runs.metrics]
    return relate(rows + [_printed(row) for row in table2() if row.slot == SLOT])


def relate(
    rows: list[dict[str, Any]], costs: Sequence[str] = COSTS, source_of: str = "measured"
) -> list[dict[str, Any]]:
    """The rows with every cost also relative to ResNet-18 (XNOR): ours to ours, printed to printed."""
    for printed in (True, False):
        own = [row for row in rows if (row["source"] == "printed") == printed]
        wanted = "printed" if printed else source_of
        base = next((row for row in own if row["experiment"] == REFERENCE and row["source"] == wanted), None)
        for row in own:
            for key in costs:
                for column in (key, f"{key}_std"):
                    value, unit = row.get(column), None if base is None else base.get(key)
                    row[f"relative_{column}"] = value / unit if value is not None and unit else None
    return rows


@dataclass(frozen=True)
class Axis:
    """The horizontal axis: a column, what it is divided by, and its label."""

    column: str
    divisor: float
    label: str


def axis(rows: Sequence[dict[str, Any]], key: str, name: str) -> Axis:
    """Relative to ResNet-18 (XNOR) where that was run, so that ours and the paper's lie together; else in millions."""
    if any(row["source"] != "printed" and row.get(f"relative_{key}") is not None for row in rows):
        return Axis(f"relative_{key}", 1.0, f"{name}\nrelative to ResNet-18 (XNOR)")
    return Axis(key, 1e6, f"{name} (millions)")


def why_not_printed(rows: Sequence[dict[str, Any]]) -> str:
    """Why the printed points do not belong beside ours; empty where they do."""
    ours = [row for row in rows if row["source"] != "printed"]
    data = sorted({row["data_set"] for row in ours if not row["data_set"].lower().replace("-", "").startswith(SLOT)})
    if data:
        return f"The printed values are not drawn: they are of CIFAR-10, ours of {' and '.join(data)}."
    if all(row.get("relative_equivalent_ops_64") is None for row in ours):
        return "The printed values are not drawn: without ResNet-18 (XNOR) there is no unit in common."
    return ""


def comparable(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows to draw: without the printed ones where those do not belong beside ours."""
    return [row for row in rows if row["source"] != "printed" or not why_not_printed(rows)]


def _measured(results: Results, runs: Runs) -> dict[str, Any]:
    printed = {row.experiment: row for row in table2()}.get(runs.name)
    values = summary.measured(runs)
    row: dict[str, Any] = {
        "source": "measured",
        "series": "BARS" if runs.name in BARS else "baseline" if printed else "beyond the paper",
        "method": results.title(runs.name),
        "experiment": runs.name,
        "scale": runs.scale,
        "data_set": runs.dataset,
    }
    for key in COSTS:
        row[key], row[f"{key}_std"] = values[key], values[f"{key}_std"]
    row["top1_percent"], row["top1_percent_std"] = values["top1_mean_percent"], values["top1_std_percent"]
    row["n"], row["n_declared"] = values["seeds_done"], values["seeds_declared"]
    return row


def _printed(row: Row2) -> dict[str, Any]:
    equivalent = row.equivalent(64)
    numbers = {key: row.number(key).value for key in ("flops", "biops", "params")}
    return {
        "source": "printed",
        "series": "BARS" if row.ours else "baseline",
        "method": row.label,
        "experiment": row.experiment,
        "scale": "the paper's",
        "data_set": "CIFAR-10",
        **{key: None if value is None else value * 1e6 for key, value in numbers.items()},
        "equivalent_ops_64": None if equivalent is None else equivalent * 1e6,
        "top1_percent": row.number("top1").value,
    }


def markers(rows: Sequence[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """Marker and colour of each experiment: BARS always a blue circle."""
    others = dict.fromkeys(row["experiment"] for row in rows if row["series"] != "BARS")
    looks = {name: ("o", style.colour(0)) for name in BARS}
    for i, name in enumerate(others):
        again, marker = divmod(i, len(MARKERS) - 1)  # a marker that comes again has another colour
        looks[name] = (MARKERS[1 + marker], style.colour(COLOURS[(i + again) % len(COLOURS)]))
    return looks


def is_bound(row: dict[str, Any]) -> bool:
    """Ours without binary operations: what binarisation costs, drawn as a level, its cost being far from the others."""
    return bool(row["source"] == "measured" and row["biops"] == 0)


def far_apart(rows: Sequence[dict[str, Any]]) -> bool:
    """Whether ours and the printed accuracies leave more room between them than either takes."""
    found = [[row["top1_percent"] for row in rows if (row["source"] == "printed") is side] for side in (True, False)]
    if not all(found):
        return False
    (low, lower), (high, higher) = sorted((min(values), max(values)) for values in found)
    return bool(high - lower > max(lower - low, higher - high))


def above_legend(rows: Sequence[dict[str, Any]], costs: Sequence[tuple[str, str]], title: str) -> Figure:
    """The panels of some costs, and below them a legend that has room for every network of Table 2."""
    split = far_apart(rows)
    figure = style.new(5.4 if split else 4.3)
    upper, lower = style.rows(figure, [4.0 if split else 2.9, 1.0])
    panels(upper, rows, costs)[0].set_title(title)
    lower.legend(handles=handles(rows), loc="center", ncols=4, fontsize="small")
    return figure


def panels(parent: Figure | SubFigure, rows: Sequence[dict[str, Any]], costs: Sequence[tuple[str, str]]) -> list[Axes]:
    """Accuracy against each cost, side by side; printed above measured where the two lie far apart. The first line."""
    bands = [(source,) for source in SOURCES] if far_apart(rows) else [SOURCES]
    heights = [2.0, 3.0][: len(bands)]
    grid = parent.subplots(len(bands), len(costs), sharex="col", sharey="row", squeeze=False, height_ratios=heights)
    for line, sources in zip(grid, bands, strict=True):
        for axes, (key, name) in zip(line, costs, strict=True):
            draw(axes, rows, key, name, sources)
            axes.label_outer()
        line[0].set_ylabel("Top-1 accuracy on test (%)" if len(bands) == 1 else f"{sources[0].capitalize()} top-1 (%)")
    return list(grid[0])


def draw(axes: Axes, rows: Sequence[dict[str, Any]], cost: str, name: str, sources: Sequence[str] = SOURCES) -> None:
    """Accuracy against one cost: ours filled with bars over seeds, the paper's open and gray."""
    looks, across = markers(rows), axis(rows, cost, name)
    key, divisor = across.column, across.divisor
    lines: dict[str, list[dict[str, Any]]] = {}
    for source in sources:
        there = [row for row in rows if row["source"] == source and row.get(key) is not None]
        line = sorted((row for row in there if row["series"] == "BARS"), key=lambda row: str(row["experiment"]))
        lines[source] = line
        ours = source == "measured"
        axes.plot(
            [row[key] / divisor for row in line],
            [row["top1_percent"] for row in line],
            color=style.colour(0) if ours else style.GRAY,
            linestyle="-" if ours else (0, (4, 2)),
            linewidth=1.3 if ours else 0.9,
            zorder=2,
            label=f"BARS line, {source}",
        )
        for row in there:
            marker, colour = looks[row["experiment"]]
            if is_bound(row):
                axes.axhline(row["top1_percent"], **_LEVEL, color=colour, label=f"{row['method']}, measured")
                continue
            axes.errorbar(
                row[key] / divisor,
                row["top1_percent"],
                xerr=_spread(row.get(f"{key}_std"), divisor),
                yerr=_spread(row.get("top1_percent_std"), 1.0),
                fmt=marker,
                markersize=6.0 if row["series"] == "BARS" or marker == "*" else 5.0,
                color=colour if ours else style.GRAY,
                markerfacecolor=colour if ours else "white",
                markeredgecolor="white" if ours else style.GRAY,
                markeredgewidth=0.5 if ours else 0.9,
                elinewidth=0.9,
                capsize=1.8,
                zorder=4 if ours else 3,
                label=f"{row['method']}, {source}",
            )
    axes.margins(x=0.14, y=0.12)
    style.log_axis(axes)
    axes.set_xlabel(across.label)
    for source, line in lines.items():
        ours = source == "measured"
        style.label_points(
            axes,
            [(row[key] / divisor, row["top1_percent"], row["experiment"][-1].upper()) for row in line],
            (6, -6) if ours else (-6, 6),
            fontweight="bold" if ours else "normal",
            color=style.colour(0) if ours else style.GRAY,
            zorder=5,
        )


_LEVEL: dict[str, Any] = {"linestyle": ":", "linewidth": 1.3, "zorder": 1.5}


def _spread(value: float | None, divisor: float) -> float | None:
    return value / divisor if value else None


def handles(rows: Sequence[dict[str, Any]]) -> list[Line2D]:
    """Legend: one entry per method that is drawn, then how ours and the paper's are told apart."""
    looks = markers(rows)
    entries = [_handle("BARS-A, -B, -C", "o", style.colour(0), line="-")]
    for experiment in dict.fromkeys(row["experiment"] for row in rows if row["series"] != "BARS"):
        group = [row for row in rows if row["experiment"] == experiment]
        measured_here = any(row["source"] == "measured" for row in group)
        label = ("+ " if group[0]["series"] == "beyond the paper" else "") + str(group[0]["method"])
        marker, colour = looks[experiment]
        label = textwrap.fill(label, 24, subsequent_indent="   ")
        if any(map(is_bound, group)):
            entries.append(Line2D([], [], **_LEVEL, color=colour, label=label))
        else:
            entries.append(_handle(label, marker, colour if measured_here else None))
    if any(row["source"] == "printed" for row in rows):
        entries.append(_handle("as printed in the paper", "o", None, line=(0, (4, 2))))
    return entries


def _handle(label: str, marker: str, colour: str | None, line: Any = "none") -> Line2D:
    return Line2D(
        [],
        [],
        marker=marker,
        linestyle=line,
        linewidth=1.0,
        color=colour or style.GRAY,
        markerfacecolor=colour or "white",
        markeredgecolor="white" if colour else style.GRAY,
        markeredgewidth=0.5 if colour else 0.9,
        markersize=5.5,
        label=label,
    )


def footnotes(results: Results, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Scale, data set, seeds, conventions and what is missing."""
    many = many_runs(results)
    counts = [row["n"] for row in rows if row["source"] == "measured"]
    gray = "Gray and open: as printed, on CIFAR-10, relative to the printed ResNet-18 (XNOR)."
    return [
        f"{style.provenance(many, results.scale)} {style.seeds_drawn(counts)} {why_not_printed(rows) or gray}",
        *(f"Dotted: {row['method']}, {_bound_cost(row)} operations." for row in rows if is_bound(row)),
        style.absences(many),
    ]


def _bound_cost(row: dict[str, Any]) -> str:
    """What a level hides, the cost of its network."""
    times = row["relative_equivalent_ops_64"]
    flops = f"{row['flops'] / 1e6:.3g} million floating-point"
    return flops if times is None else f"{times:.3g} times ResNet-18 (XNOR)'s equivalent"
