"""Figure 2: the method as it is configured: the two-level search space and the search strategy, beside DARTS."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch

from bars.errors import RecordError
from bars.pipeline.experiments import Experiment
from bars.report import text
from bars.report.artifacts import FULL
from bars.report.figures import sketch, style
from bars.report.tree import Results
from bars.space import SearchSpace
from bars.strategy.capacity import Capacity
from bars.strategy.schedules import ramp

SAMPLING = {
    "gumbel": "Gumbel-Softmax sampling",
    "softmax": "softmax, no sampling",
    "hard": "one-hot Gumbel sampling",
}
CELL_TYPES = {"stage": "one per stage", "shared": "one for all stages", "cell": "one per cell"}
COLUMNS = (9.6, 32.4, 55.2, 78.0)  # left ends of the steps of the workflow
LINE = 12.2  # height of the data flow in the macro level's band
RATIOS = tuple(0.5 + 0.05 * i for i in range(31))


# ------------------------------------------------------------------------------------------------------ data
def data(results: Results) -> list[dict[str, Any]]:
    """Configuration of BARS-B at the active scale, then its schedules; one value a row."""
    experiment = results.experiment(FULL)
    if experiment is None or experiment.reason:
        raise RecordError(
            f"nothing to draw in fig2: {FULL} is not run at scale {results.scale}",
            got="not in the grid" if experiment is None else experiment.reason,
        )
    about = {"experiment": FULL, "scale": results.scale}
    return [{**about, **row} for row in (*_settings(experiment), *_schedules(experiment))]


def _settings(experiment: Experiment) -> Iterator[dict[str, Any]]:
    space, search, derive, retrain = experiment.space, experiment.search, experiment.derive, experiment.retrain
    whole = SearchSpace.from_params(space)
    values: dict[str, Any] = {
        "space.stages": space.stages,
        "space.cells_per_stage": space.cells_per_stage,
        "space.nodes": space.nodes,
        "space.edges": len(whole.edges),
        "space.init_channels": space.init_channels,
        "space.widths": " ".join(f"{w:g}" for w in whole.width_choices),
        "space.depths": " ".join(str(d) for d in whole.depths),
        "space.primitives": " ".join(space.primitives),
        "space.cell_types": space.cell_types,
        "space.size": whole.size(),
        "space.stem": space.stem,
        "space.op_shortcut": space.op_shortcut,
        "space.cell_shortcut": space.cell_shortcut,
        "data.image_size": experiment.search_data.image_size,
        "data.valid_fraction": experiment.search_data.valid_fraction,
        "search.sampling": search.sampling,
        "search.epochs": search.epochs,
        "search.warmup_epochs": search.warmup_epochs,
        "search.budget_biops": experiment.budget_biops,
        "search.capacity_exponent": search.capacity_exponent,
        "search.capacity": search.capacity,
        "search.capacity_rate": search.capacity_rate,
        "derive.method": derive.method,
        "derive.samples": derive.samples,
        "retrain.epochs": retrain.epochs,
    }
    for key, value in values.items():
        yield {"kind": "setting", "key": key, "value": value}


def _schedules(experiment: Experiment) -> Iterator[dict[str, Any]]:
    search = experiment.search
    after = search.epochs - search.warmup_epochs
    for epoch in range(search.epochs):
        value = ramp(search.temperature, epoch, search.epochs)
        yield {"kind": "schedule", "key": "temperature", "x": epoch + 1, "value": value}
    for epoch in range(after):
        value = ramp(search.entropy_weight, epoch, after)
        yield {"kind": "schedule", "key": "entropy_weight", "x": search.warmup_epochs + epoch + 1, "value": value}
    for ratio in RATIOS:
        exponent = Capacity(search).theta(math.log(ratio))
        yield {"kind": "schedule", "key": "capacity_factor", "x": ratio, "value": ratio**exponent}


def _value(rows: style.Rows, key: str) -> Any:
    return next(row["value"] for row in rows if row["kind"] == "setting" and row["key"] == key)


# ------------------------------------------------------------------------------------------------------ drawing
def draw(rows: style.Rows, results: Results) -> Figure:
    """Three bands: the workflow beside DARTS, the macro level, then a cell and the schedules of the search."""
    figure = style.new(6.4)
    flow, macro, below = style.rows(figure, [1.75, 2.05, 2.3])
    _draw_flow(sketch.canvas(flow, 100, 25), rows)
    _draw_macro(sketch.canvas(macro, 100, 30), rows)
    left, right = style.columns(below, [1.0, 1.25])
    _draw_cell(sketch.canvas(left, 50, 40), rows)
    _draw_schedules(right, rows)
    experiment = results.experiment(FULL)
    dataset = experiment.search_data.name if experiment else ""
    style.foot(
        figure,
        f"BARS-B as configured at scale {results.scale}, data set {dataset}; every number is read from params.yaml. "
        "Gray: DARTS, as the paper describes it.",
    )
    return figure


# ------------------------------------------------------------------------------------------------------ the workflow
def _lanes(rows: style.Rows) -> tuple[Sequence[tuple[str, str]], Sequence[tuple[str, str]]]:
    value = {row["key"]: row["value"] for row in rows if row["kind"] == "setting"}
    depths, widths = value["space.depths"].split(), value["space.widths"].split()
    layout = []
    layout.append(f"depth {depths[0]} to {depths[-1]}" if len(depths) > 1 else "full depth")
    layout.append(f"width {widths[0]} to {widths[-1]}" if len(widths) > 1 else "full width")
    how = {
        "sample": f"{value['derive.samples']} samples,\nleast validation loss",
        "argmax": "likeliest choice,\nnone allowed",
        "random": "random draws",
    }
    regular = "entropy and capacity terms" if value["search.capacity_exponent"] else "entropy term"
    bars = (
        ("Search space", f"cells: {CELL_TYPES[value['space.cell_types']]}\n" + ", ".join(layout)),
        ("Search", f"{SAMPLING[value['search.sampling']]},\n{regular}"),
        ("Derive", how[value["derive.method"]]),
        ("Network", f"searched layout,\nretrained {value['retrain.epochs']} epochs"),
    )
    darts = (
        ("Search space", "cells: one for all stages\nfixed depth and width"),
        ("Search", "softmax over operations,\nno regularisation"),
        ("Derive", "likeliest choice, no none,\ntwo inputs per node"),
        ("Network", "stacked and widened\nuniformly"),
    )
    return darts, bars


def _draw_flow(axes: Axes, rows: style.Rows) -> None:
    darts, bars = _lanes(rows)
    blue = style.colour(0)
    for x, (head, _) in zip(COLUMNS, bars, strict=True):
        axes.text(x + 9.6, 24.2, head, ha="center", va="top", fontweight="bold")
    lanes = (
        ("DARTS", darts, 11.6, "#f2f2f2", style.GRAY, "#595959"),
        ("BARS", bars, 0.9, sketch.tint(blue), blue, style.INK),
    )
    for name, lane, y, face, edge, ink in lanes:
        axes.text(1.0, y + 4.6, name, ha="left", va="center", fontweight="bold", color=edge if name == "BARS" else ink)
        for i, (x, (_, words)) in enumerate(zip(COLUMNS, lane, strict=True)):
            sketch.box(axes, x, y, 19.2, 9.2, face=face, edge=edge)
            axes.text(x + 9.6, y + 4.6, words, ha="center", va="center", fontsize="small", color=ink, linespacing=1.35)
            if i:
                sketch.arrow(axes, (x - 3.0, y + 4.6), (x - 0.2, y + 4.6), edge)


# ------------------------------------------------------------------------------------------------------ the macro level
def _draw_macro(axes: Axes, rows: style.Rows) -> None:
    stages, cells = _value(rows, "space.stages"), _value(rows, "space.cells_per_stage")
    blue, orange = style.colour(0), style.colour(1)
    axes.text(1.0, 29.4, "Macro level: depth and width of each stage", ha="left", va="top", fontweight="bold")
    size = f"${float(_value(rows, 'space.size')):.1e}".replace("e+", r" \times 10^{") + "}$ architectures in all"
    axes.text(99.0, 29.4, size, ha="right", va="top", fontsize="small", color="#595959")
    ends, gap = 8.0, 1.6
    reduction = 5.2
    inner = 98.0 - 2 * ends - (stages - 1) * reduction - 2 * stages * gap
    wide = inner / stages
    _end_box(axes, 1.0, ends, "stem\n(float)")
    x = 1.0 + ends
    for stage in range(stages):
        sketch.arrow(axes, (x, LINE), (x + gap, LINE))
        x += gap
        _draw_stage(axes, rows, stage, cells, x, wide, blue)
        x += wide
        sketch.arrow(axes, (x, LINE), (x + gap, LINE))
        x += gap
        if stage < stages - 1:
            sketch.box(axes, x, LINE - 4.0, reduction, 8.0, face=sketch.tint(orange, 0.25), edge=orange)
            axes.text(x + reduction / 2, LINE, "reduc-\ntion", ha="center", va="center", fontsize="x-small")
            x += reduction
    _end_box(axes, x, ends, "pooling,\nclassifier\n(float)")


def _end_box(axes: Axes, x: float, w: float, words: str) -> None:
    sketch.box(axes, x, LINE - 4.0, w, 8.0, face="#f2f2f2", edge=style.GRAY)
    axes.text(x + w / 2, LINE, words, ha="center", va="center", fontsize="x-small", linespacing=1.3)


def _draw_stage(axes: Axes, rows: style.Rows, stage: int, cells: int, x: float, w: float, blue: str) -> None:
    """Cells in a row, each with a skip path to the aggregation node; width choices above."""
    depths = str(_value(rows, "space.depths")).split()
    sketch.box(
        axes,
        x,
        LINE - 4.4,
        w,
        14.0,
        face=sketch.tint(blue, 0.07),
        edge=sketch.tint(blue, 0.55),
        linewidth=0.7,
        zorder=0.5,
    )
    node = min(1.5, w / 12)
    room = (w - 2.0 - 2.6 * node) / cells
    side = min(room - 0.9, 5.4)
    total = (x + w - 1.0 - node, LINE)
    outputs = [(x, LINE)]
    for cell in range(cells):
        left = x + 1.0 + cell * room + (room - side) / 2
        sketch.box(axes, left, LINE - 2.6, side, 5.2, face=sketch.tint(blue, 0.3), edge=blue, round_=0.6)
        axes.text(
            left + side / 2, LINE, f"cell\n{cell + 1}", ha="center", va="center", fontsize="x-small", linespacing=1.1
        )
        sketch.arrow(axes, outputs[-1], (left, LINE), linewidth=0.8, mutation_scale=5)
        outputs.append((left + side, LINE))
    sketch.arrow(axes, outputs[-1], (total[0] - node, LINE), linewidth=0.8, mutation_scale=5)
    for i, start in enumerate(outputs[:-1] if len(depths) > 1 else []):
        sketch.arrow(
            axes,
            (start[0] + 0.35, LINE),
            (total[0], LINE + node),
            style.colour(2),
            connectionstyle=f"arc3,rad={-0.46 - 0.02 * (len(outputs) - 2 - i)}",
            linewidth=0.9,
            mutation_scale=5,
            linestyle=(0, (3, 1.5)),
            zorder=0.8,
        )
    axes.add_patch(Circle(total, node, facecolor="white", edgecolor=style.INK, linewidth=0.9, zorder=3))
    axes.text(*total, "+", ha="center", va="center", fontsize="small", zorder=4)
    _draw_widths(axes, rows, x, LINE + 10.4, w)
    channels, size = _value(rows, "space.init_channels") << stage, _first_size(rows) >> stage
    words = f"stage {stage + 1}: {_value(rows, 'space.nodes')} × {channels} channels, {size} × {size}"
    axes.text(x + w / 2, LINE - 5.2, words, ha="center", va="top", fontsize="x-small")
    if len(depths) > 1:
        words = f"depth {', '.join(depths)} by skip paths"
        axes.text(x + w / 2, LINE - 7.9, words, ha="center", va="top", fontsize="x-small", color=style.colour(2))


def _first_size(rows: style.Rows) -> int:
    return int(_value(rows, "data.image_size")) // (4 if _value(rows, "space.stem") == "imagenet" else 1)


def _draw_widths(axes: Axes, rows: style.Rows, x: float, y: float, w: float) -> None:
    """One bar per relative width choice, as long as the width."""
    widths = [float(v) for v in str(_value(rows, "space.widths")).split()]
    purple = style.colour(4)
    step, unit = 3.2 / len(widths), w * 0.4
    for i, width in enumerate(widths):
        place = (x + w - 0.6 - unit, y + i * step)
        look: dict[str, Any] = {"facecolor": purple, "alpha": 0.35 + 0.65 * width, "linewidth": 0}
        axes.add_patch(FancyBboxPatch(place, unit * width, step * 0.6, boxstyle="square,pad=0", **look))
    words = f"width {widths[0]:g} to {widths[-1]:g}" if len(widths) > 1 else f"width {widths[0]:g}"
    axes.text(x + w - 1.6 - unit, y + 1.4, words, ha="right", va="center", fontsize="x-small", color=purple)


# ------------------------------------------------------------------------------------------------------ the micro level
def _draw_cell(axes: Axes, rows: style.Rows) -> None:
    """A cell: one preprocessing layer, densely joined nodes, concatenation, and the shortcut across it."""
    nodes = int(_value(rows, "space.nodes"))
    primitives = str(_value(rows, "space.primitives")).split()
    axes.text(1.0, 39.5, "Micro level: the topology of a cell", ha="left", va="top", fontweight="bold")
    y, left, right = 19.5, 11.8, 41.0
    step = (right - left - 3.0) / nodes
    places = [(left + i * step, y) for i in range(nodes + 1)]
    axes.add_patch(Circle((1.1, y), 0.45, facecolor=style.INK, linewidth=0))
    sketch.arrow(axes, (1.1, y), (2.9, y), mutation_scale=5)
    sketch.box(axes, 2.9, y - 3.0, 5.2, 6.0, face=sketch.tint(style.colour(0), 0.3), edge=style.colour(0), round_=0.6)
    axes.text(5.5, y, "conv\n1×1", ha="center", va="center", fontsize="x-small")
    sketch.arrow(axes, (8.1, y), (places[0][0] - 1.5, y))
    for target in range(1, nodes + 1):
        for source in range(target):
            bend = 0.0 if target - source == 1 else (-0.5 if (target - source) % 2 == 0 else 0.42)
            sketch.arrow(
                axes,
                places[source],
                places[target],
                "#6b6b6b",
                connectionstyle=f"arc3,rad={bend}",
                linewidth=0.8,
                mutation_scale=5.5,
                shrink=6.6,
                zorder=1,
            )
    for i, place in enumerate(places):
        axes.add_patch(Circle(place, 1.5, facecolor="white", edgecolor=style.INK, linewidth=0.9, zorder=3))
        axes.text(*place, str(i), ha="center", va="center", fontsize="x-small", zorder=4)
    sketch.box(axes, 43.2, y - 5.5, 5.6, 11.0, face="#f2f2f2", edge=style.GRAY, round_=0.6)
    axes.text(46.0, y, "concat", ha="center", va="center", fontsize="x-small", rotation=90)
    sketch.arrow(axes, (places[-1][0] + 1.5, y), (43.2, y))
    if _value(rows, "space.cell_shortcut"):
        sketch.arrow(
            axes,
            (1.1, y + 0.5),
            (46.0, y + 5.7),
            style.colour(1),
            connectionstyle="arc3,rad=-0.36",
            linewidth=1.2,
            zorder=0.5,
        )
        axes.text(23.5, y + 13.4, "cell shortcut", ha="center", va="bottom", fontsize="x-small", color=style.colour(1))
    words = f"each of {_value(rows, 'space.edges')} edges is one of"
    axes.text(1.0, 6.6, words, ha="left", va="center", fontsize="small")
    x = 1.0
    for primitive in primitives:
        colour = style.primitive_colour(primitive)
        label = style.primitive_name(primitive)
        if primitive.startswith("binary_conv"):
            label = f"binary {label}" + (" + shortcut" if _value(rows, "space.op_shortcut") else "")
        width = 2.6 + 0.86 * len(label)
        sketch.box(axes, x, 0.8, width, 4.0, face=sketch.tint(colour, 0.25), edge=colour, round_=0.6)
        axes.text(x + width / 2, 2.8, label, ha="center", va="center", fontsize="x-small")
        x += width + 0.9


# ------------------------------------------------------------------------------------------------------ the strategy
def _draw_schedules(parent: Any, rows: style.Rows) -> None:
    epochs, warmup = _value(rows, "search.epochs"), _value(rows, "search.warmup_epochs")
    budget = _value(rows, "search.budget_biops")
    parent.suptitle("Search strategy", x=0.02, ha="left", fontsize="medium", fontweight="bold")
    panels = parent.subplots(1, 3)
    looks = (
        ("temperature", "Temperature τ (Eq. 5)", "Epoch", style.colour(0)),
        ("entropy_weight", "Entropy weight λ (Eq. 6)", "Epoch", style.colour(2)),
        ("capacity_factor", "Loss factor (Eq. 7)", "Expected BiOps / budget", style.colour(3)),
    )
    for axes, (key, title, label, colour) in zip(panels, looks, strict=True):
        points = [row for row in rows if row["kind"] == "schedule" and row["key"] == key]
        axes.plot([row["x"] for row in points], [row["value"] for row in points], color=colour, linewidth=1.6)
        axes.set_title(title, fontsize="x-small", fontweight="normal")
        axes.set_xlabel(label, fontsize="x-small")
        axes.tick_params(labelsize="x-small")
        axes.margins(y=0.08)
        if label == "Epoch":
            axes.set_xlim(0, epochs + 0.5)
            if warmup:
                axes.axvspan(0.0, warmup + 0.5, color=style.FAINT, alpha=0.6, linewidth=0, zorder=0)
    values = [row["value"] for row in rows if row["kind"] == "schedule" and row["key"] == "entropy_weight"]
    if values:
        panels[1].set_yticks(sorted({values[0], 0.0, values[-1]}))
    panels[1].axhline(0, color=style.GRAY, linewidth=0.7, zorder=1)
    panels[2].axvline(1, color=style.GRAY, linewidth=0.7, zorder=1)
    _say(panels[0], 0.97, 0.8, f"{epochs} epochs,\n{warmup} of warm-up\n(gray)")
    if values and values[0] < 0 < values[-1]:
        _say(panels[1], 0.04, 0.96, "above 0: decides\nbelow 0: explores", ha="left")
    _say(panels[2], 0.97, 0.2, f"budget:\n{text.operations(budget)} BiOps")


def _say(axes: Axes, x: float, y: float, words: str, ha: str = "right") -> None:
    axes.text(x, y, words, transform=axes.transAxes, fontsize="x-small", ha=ha, va="top", linespacing=1.3)
