"""``bars experiments``: the grid as text or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bars.pipeline.experiments import Experiment, Grid
from bars.pipeline.load import load_params

_HEADER = ("experiment", "group", "kind", "data set", "seeds", "BiOps budget", "not run because")


def list_experiments(params: Path, scale: str | None, *, as_json: bool) -> int:
    """Print every experiment: name, kind, data set, seeds, and why it is not run."""
    grid = Grid(load_params(params), scale)
    if as_json:
        described = [describe(experiment) for experiment in grid]
        print(json.dumps({"scale": grid.scale, "recipe": grid.params.recipe, "experiments": described}, indent=2))
        return 0
    print(f"scale {grid.scale}, {len(grid.runnable())} of {len(grid.experiments)} experiments are run")
    print(text_table([_HEADER, *(_row(experiment) for experiment in grid)]))
    return 0


def describe(experiment: Experiment) -> dict[str, Any]:
    """One experiment as JSON."""
    keys = ("name", "group", "kind", "slot", "label", "extra", "own_recipe", "search_from", "genotype_from")
    return {
        **{key: getattr(experiment, key) for key in keys},
        "width_multiplier": experiment.width_multiplier,
        "dataset": experiment.dataset or None,
        "search_dataset": experiment.search_dataset or None,
        "seeds": list(experiment.seeds),
        "stages": list(experiment.stages),
        "budget_biops": experiment.budget_biops,
        "reason": experiment.reason,
    }


def _row(experiment: Experiment) -> tuple[str, ...]:
    budget = experiment.budget_biops
    return (
        experiment.name,
        experiment.group,
        experiment.kind,
        experiment.dataset or experiment.slot,
        " ".join(str(seed) for seed in experiment.seeds),
        f"{budget:,}" if budget is not None else "",
        experiment.reason or "",
    )


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as left-aligned columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)
