"""Figure 5: how the op probabilities evolve in a search without stabilisers and in BARS."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bars.errors import RecordError
from bars.report import text
from bars.report.artifacts import COLLAPSED, FLOAT, FULL
from bars.report.distribution import EdgeProbs, mean_shortcut, normal_probs
from bars.report.figures import style
from bars.report.stats import mean, sample_std
from bars.report.tree import Results

SEARCHES = {COLLAPSED: "Unstabilised search", FULL: "BARS-B"}  # the paper calls it collapsed; ours need not
MEANS = {**SEARCHES, FLOAT: "Unstabilised, in floats"}


def data(results: Results) -> list[dict[str, Any]]:
    """One row per edge, primitive, epoch and seed; then the mean shortcut probability per epoch, mean over seeds."""
    rows: list[dict[str, Any]] = []
    means: list[dict[str, Any]] = []
    for name in MEANS:
        seeds = {seed: normal_probs(alphas) for seed, alphas in results.alphas(name).items()}
        for seed, epochs in seeds.items():
            rows += [row for epoch in sorted(epochs) for row in _edge_rows(name, seed, epoch, epochs[epoch])]
        for epoch in sorted({epoch for epochs in seeds.values() for epoch in epochs}):
            values = [mean_shortcut(epochs[epoch]) for epochs in seeds.values() if epoch in epochs]
            means.append(
                {
                    "kind": "mean shortcut",
                    "experiment": name,
                    "epoch": epoch,
                    "prob": mean(values),
                    "prob_std": sample_std(values),
                    "n": len(values),
                    "scale": results.scale,
                }
            )
    if not rows:
        raise RecordError(
            f"nothing to draw in fig5: neither {COLLAPSED} nor {FULL} has logged alphas at scale {results.scale}",
            where=str(results.folder / results.scale),
            do="run the searches first: snakemake --cores 2 figures/fig5.pdf",
        )
    return [{**row, "scale": results.scale} for row in rows] + means


def _edge_rows(name: str, seed: int, epoch: int, edges: EdgeProbs) -> list[dict[str, Any]]:
    return [
        {
            "kind": "edge",
            "experiment": name,
            "seed": seed,
            "epoch": epoch,
            "cell_type": cell,
            "source": source,
            "target": target,
            "primitive": primitive,
            "prob": prob,
        }
        for (cell, source, target), probs in edges.items()
        for primitive, prob in probs.items()
    ]


def draw(rows: style.Rows, results: Results) -> Figure:
    """Left: every normal edge's probabilities, a column per primitive; right: the shortcut's mean in all searches."""
    figure = style.new(3.9)
    edges = [row for row in rows if row["kind"] == "edge" and row["experiment"] in SEARCHES]
    primitives = list(dict.fromkeys(row["primitive"] for row in edges))
    left, right = style.columns(figure, [0.6 + 1.0 * len(primitives), 2.1], wspace=0.03)
    panels = left.subplots(len(SEARCHES), len(primitives), sharex=True, sharey=True, squeeze=False)
    for i, (name, title) in enumerate(SEARCHES.items()):
        for j, primitive in enumerate(primitives):
            axes: Axes = panels[i][j]
            own = [row for row in edges if row["experiment"] == name and row["primitive"] == primitive]
            _draw_edges(axes, own, style.primitive_colour(primitive))
            if i == 0:
                axes.set_title(style.primitive_name(primitive), color=style.primitive_colour(primitive), loc="center")
            if i == len(SEARCHES) - 1:
                axes.set_xlabel("Epoch")
            if j == 0:
                axes.set_ylabel(f"{title}\nprobability")
        if not any(row["experiment"] == name for row in edges):
            words = textwrap.fill(_absence(results, name), 18, break_on_hyphens=True)
            panels[i][0].text(0.05, 0.5, words, transform=panels[i][0].transAxes, va="center", fontsize="small")
    _draw_means(right.subplots(), rows, results)
    style.foot(figure, *_notes(rows, results))
    return figure


def _draw_edges(axes: Axes, rows: Sequence[dict[str, Any]], colour: str) -> None:
    lines: dict[tuple[Any, ...], dict[int, float]] = {}
    for row in rows:
        key = (row["seed"], row["cell_type"], row["source"], row["target"])
        lines.setdefault(key, {})[row["epoch"]] = row["prob"]
    faint = max(0.12, min(0.5, 9 / max(len(lines), 1)))
    for line in lines.values():
        axes.plot(list(line), list(line.values()), color=colour, linewidth=0.6, alpha=faint, zorder=2)
    epochs = sorted({epoch for line in lines.values() for epoch in line})
    centre = [mean([line[epoch] for line in lines.values() if epoch in line]) for epoch in epochs]
    axes.plot(epochs, centre, color="white", linewidth=3.2, zorder=3)
    axes.plot(epochs, centre, color=colour, linewidth=1.8, zorder=4, label="mean")
    axes.set_ylim(-0.02, 1.02)
    axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))


def _draw_means(axes: Axes, rows: style.Rows, results: Results) -> None:
    styles = (
        (COLLAPSED, style.colour(3), (0, (5, 2))),
        (FLOAT, style.GRAY, (0, (1, 1.2))),
        (FULL, style.colour(0), "-"),
    )
    for name, colour, linestyle in styles:
        line = [row for row in rows if row["kind"] == "mean shortcut" and row["experiment"] == name]
        if not line:
            continue
        epochs, centre = [row["epoch"] for row in line], [row["prob"] for row in line]
        spread = [row["prob_std"] or 0.0 for row in line]
        low, high = zip(*((c - s, c + s) for c, s in zip(centre, spread, strict=True)), strict=True)
        axes.fill_between(epochs, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(epochs, centre, color=colour, linestyle=linestyle, linewidth=1.8, label=MEANS[name])
    experiment = results.experiment(FULL)
    if experiment is not None and experiment.has("search") and experiment.search.warmup_epochs:
        warmup = experiment.search.warmup_epochs
        label = f"warm-up, {warmup} epoch{'s' if warmup > 1 else ''}"
        axes.axvspan(0, warmup, color=style.FAINT, alpha=0.5, linewidth=0, zorder=0, label=label)
    axes.set_ylim(-0.02, 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel("Epoch")
    axes.set_ylabel("Mean probability of the shortcut")
    axes.set_title("Shortcuts in normal cells", pad=4)
    axes.legend(loc="best")


def _absence(results: Results, name: str) -> str:
    return f"{name}: {results.absence(name, 'logged alphas')}"


def _notes(rows: style.Rows, results: Results) -> list[str]:
    notes = []
    for name, title in MEANS.items():
        last: dict[int, int] = {}
        for row in rows:
            if row["kind"] == "edge" and row["experiment"] == name:
                last[row["seed"]] = max(last.get(row["seed"], 0), row["epoch"])
        experiment = results.experiment(name)
        if name == FLOAT and not last:
            continue
        if not last or experiment is None:
            notes.append(_absence(results, name) + ".")
            continue
        declared, epochs = experiment.seeds, experiment.search.epochs
        note = f"{title}{results.aside(name)}: n = {len(last)} of {len(declared)} seeds"
        if missing := tuple(seed for seed in declared if seed not in last):
            note += f", {text.seeds(missing)} missing"
        if stopped := {seed: epoch for seed, epoch in last.items() if epoch < epochs}:
            note += ", stopped early: " + ", ".join(f"seed {s} after epoch {e} of {epochs}" for s, e in stopped.items())
        notes.append(note + ".")
    experiment = results.experiment(FULL)
    label = experiment.search_data.name if experiment and not experiment.reason else ""
    lead = f"Scale {results.scale}, data set {label}. " if label else f"Scale {results.scale}. "
    return [
        lead + " ".join(notes),
        "Left: thin lines are single edges of the normal cells, of all seeds; bold: their mean. Epoch 0: before the "
        "first. Right: mean over seeds; band: sample standard deviation. The paper prints no values of this figure.",
    ]
