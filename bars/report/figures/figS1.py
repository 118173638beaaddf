"""Figure S1 (beyond the paper): did each search work? Accuracy, flips, budget, entropy, primitives."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bars.errors import RecordError
from bars.pipeline.experiments import Experiment
from bars.report.figures import style
from bars.report.tree import Results

LINES = ("valid_top1", "flips", "budget_ratio", "entropy")
TITLES = ("Supernet top-1", "Flips since start", "E[BiOps] / budget", "Entropy of decisions", "Normal cells")


def data(results: Results) -> list[dict[str, Any]]:
    """One row per search, seed and epoch."""
    rows = [row for experiment in results.grid if "search" in experiment.stages for row in _rows(experiment, results)]
    if not rows:
        raise RecordError(
            "nothing to draw in figS1: no search has left its log",
            where=str(results.folder / results.scale),
            do="run the searches first: snakemake --cores 2 figures/figS1.pdf",
        )
    return rows


def _rows(experiment: Experiment, results: Results) -> Iterator[dict[str, Any]]:
    verdicts = results.search_verdicts(experiment.name)
    for seed, epochs in sorted(results.epochs(experiment.name).items()):
        verdict = verdicts.get(seed)
        guess = None if verdict is None or verdict.guess_loss is None else math.exp(-verdict.guess_loss)
        for epoch in epochs:
            yield (
                {"experiment": experiment.name, "seed": seed, "epoch": epoch.epoch}
                | {key: getattr(epoch, key) for key in LINES}
                | {f"share_{name}": share for name, share in epoch.shares.items()}
                | {"guess_top1": guess}
                | {"failures": "; ".join(verdict.failures) if verdict and epoch is epochs[-1] else None}
                | {"scale": results.scale, "data_set": experiment.search_data.name}
            )


def draw(rows: style.Rows, results: Results) -> Figure:
    """A line of five small panels per search; a name in red failed by what its search recorded."""
    names = list(dict.fromkeys(row["experiment"] for row in rows))
    figure = style.new(0.95 + 0.78 * len(names), width=8.2)
    panels = figure.subplots(len(names), len(TITLES), squeeze=False, sharex="row")
    for line, name in zip(panels, names, strict=True):
        own = [row for row in rows if row["experiment"] == name]
        _draw_search(line, own, results)
        failed = [row["failures"] for row in own if row["failures"]]
        colour = style.colour(3) if failed else style.INK
        line[0].set_ylabel(
            textwrap.fill(results.title(name) + (": failed" if failed else ""), 26),
            rotation=0,
            ha="right",
            va="center",
            color=colour,
        )
    for axes, title in zip(panels[0], TITLES, strict=True):
        axes.set_title(title, loc="center", fontsize="medium")
    for axes in panels[-1]:
        axes.set_xlabel("Epoch")
    style.foot(figure, *_notes(rows, results))
    return figure


def _draw_search(line: Sequence[Axes], rows: style.Rows, results: Results) -> None:
    experiment = results.experiment(rows[0]["experiment"])
    assert experiment is not None
    search = experiment.search
    limits = (rows[0]["guess_top1"], search.health.flips, 1.0, search.health.entropy)
    for axes, key, limit in zip(line, LINES, limits, strict=False):
        if key == "flips" and search.operations == "float":
            axes.text(
                0.5, 0.5, "no binary\nweights", transform=axes.transAxes, ha="center", va="center", fontsize="small"
            )
            continue
        for seed in dict.fromkeys(row["seed"] for row in rows):
            own = [row for row in rows if row["seed"] == seed]
            axes.plot([r["epoch"] for r in own], [r[key] for r in own], color=style.colour(0), linewidth=1.1, alpha=0.8)
        if limit is not None:
            axes.axhline(limit, color=style.GRAY, linewidth=0.8, linestyle=(0, (3, 2)))
    line[0].set_ylim(0, 1)
    line[1].set_ylim(bottom=0)
    line[2].set_ylim(0, max(2.0, *(row["budget_ratio"] for row in rows)))
    band = search.health.budget
    line[2].axhspan(1 - band, 1 + band, color=style.FAINT, zorder=0, linewidth=0)
    line[3].set_ylim(0, 1.05)
    _draw_shares(line[4], rows)
    for axes in line:
        axes.axvspan(0.5, search.warmup_epochs + 0.5, color=style.FAINT, alpha=0.4, linewidth=0, zorder=0)
        axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(2))
        axes.tick_params(labelsize="x-small")


def _draw_shares(axes: Axes, rows: style.Rows) -> None:
    epochs = sorted({row["epoch"] for row in rows})
    primitives = [key.removeprefix("share_") for key in rows[0] if key.startswith("share_")]
    shares = []
    for primitive in primitives:
        by_epoch = [[row[f"share_{primitive}"] for row in rows if row["epoch"] == epoch] for epoch in epochs]
        shares.append([sum(values) / len(values) for values in by_epoch])
    axes.stackplot(epochs, shares, colors=[style.primitive_colour(name) for name in primitives], linewidth=0)
    axes.set_ylim(0, 1)
    axes.grid(visible=False)


def _notes(rows: style.Rows, results: Results) -> list[str]:
    failed = [f"{row['experiment']}, seed {row['seed']}: {row['failures']}" for row in rows if row["failures"]]
    datasets = " and ".join(sorted({row["data_set"] for row in rows}))
    names = {row["experiment"] for row in rows}
    # Older searches have not recorded what a guess has.
    guess = "a guess, and " if any(row["guess_top1"] for row in rows) else ""
    seeds = style.how_many([len({row["seed"] for row in rows if row["experiment"] == name}) for name in names])
    return [
        f"Scale {results.scale}, data set {datasets}. One line per seed ({seeds}); gray band at the left: warm-up. "
        f"Dashed and gray: {guess}the criteria of search.health. Normal cells: mean probability of conv (blue), "
        "shortcut (orange), none (gray), and conv 5x5 (purple).",
        ("Failed: " + ". ".join(failed) + ".") if failed else "No search failed by these criteria.",
    ]
