"""``bars data``: the split of a data set, with what was found in its folder; what cannot fit in it is refused now."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bars.commands.parent import die_with_parent
from bars.commands.run import finish, owned
from bars.pipeline import paths
from bars.pipeline.experiments import DATA_MODULES, Grid
from bars.pipeline.load import load_params
from bars.pipeline.ownership import study_name
from bars.pipeline.problems import problems_error
from bars.pipeline.provenance import StageRun
from bars.pipeline.records import write_json


def run_data(params: Path, scale: str | None, results: Path, name: str) -> int:
    """The split of one data set."""
    from bars.data import make_split  # imports torch

    grid = Grid(load_params(params), scale)
    data = grid.dataset(name)
    directory = paths.data_dir(grid.scale, name)
    die_with_parent()
    with owned(grid, results, directory):
        run = StageRun(
            stage="data",
            experiment=name,
            group=None,
            scale=grid.scale,
            seed=None,
            study=study_name(grid.params),
            params=grid.dataset_params(name),
            modules=DATA_MODULES,
            results=results,
            inputs={},
        )
        split = make_split(data)
        for line in described(split):
            print(f"data {name}: {line}", file=sys.stderr)
        require_batches(grid, name, split)
        finish(run, results / directory, directory, lambda f: write_json(f / paths.SPLIT, split, wide=True))
    return 0


def described(split: Mapping[str, Any]) -> Iterator[str]:
    """What was found, read, passed over and why, and how the images are shared out."""
    images = split["images"]
    for part in ("train", "test"):
        counts = images[part]
        skipped = sum(reason["count"] for reason in counts["skipped"].values())
        yield f"{part}: {counts['read'] + skipped:,} files found, {counts['read']:,} images, {skipped:,} passed over"
        yield f"{part}: " + ", ".join(f"{name} {count:,}" for name, count in counts["classes"].items())
        for reason, found in counts["skipped"].items():
            yield f"{part}: passed over {found['count']:,}: {reason}, the first {found['first']}"
    copies = images["copies"]
    if copies.get("test_in_train"):
        yield f"note: {copies['test_in_train']:,} test images are copies of training images, byte for byte"
    if copies.get("within_train"):
        yield f"note: {copies['within_train']:,} training images are copies of others, byte for byte"
    yield "split: " + ", ".join(f"{len(split[part]):,} {part}" for part in ("train", "valid", "test"))


def require_batches(grid: Grid, name: str, split: Mapping[str, Any]) -> None:
    """Refuse, before any work, runs on this data set of which a part holds not one full batch. Raises ParamsError."""
    problems = []
    halves = min(len(split["train"]), len(split["valid"]))
    both = len(split["train"]) + len(split["valid"])
    for experiment in grid.runnable():
        if experiment.search_dataset == name and "search" in experiment.stages:
            problems += _too_big(f"{experiment.name}: search.batch_size", experiment.search.batch_size, halves)
        if experiment.dataset == name:
            problems += _too_big(f"{experiment.name}: retrain.batch_size", experiment.retrain.batch_size, both)
    if problems:
        raise problems_error(f"batches are larger than what data set {name} holds", problems)


def _too_big(what: str, batch_size: int, images: int) -> list[str]:
    return [f"{what}: got {batch_size:,}, allowed at most {images:,}"] if batch_size > images else []
