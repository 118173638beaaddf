"""Whose results these are. A study is a params file; each of its scales has a folder, and no other study's in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from bars.errors import OutputError
from bars.pipeline import latency, paths
from bars.pipeline.experiments import DATA_MODULES, Grid
from bars.pipeline.files import sha256_json
from bars.pipeline.load import Params

REPORT = "report"  # results/<scale>/report/<study>: copies of the tables and figures that were made of it


def study_name(params: Params) -> str:
    """One word for a params file: ``params``, ``examples-own-data``; what --config adds to one is the same study."""
    named = next((file for file in (params.path, *params.files) if file.parent != paths.MERGED), params.path)
    path, here = named.resolve(), Path.cwd().resolve()
    inside = path.relative_to(here) if path.is_relative_to(here) else Path(path.name)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", inside.with_suffix("").as_posix()).strip("-.") or "study"


def report_dir(grid: Grid) -> str:
    """Folder of a study's tables and figures, relative to the results folder."""
    return f"{grid.scale}/{REPORT}/{study_name(grid.params)}"


class MadeBy(NamedTuple):
    """What a stage folder is made with: parameters, and the modules whose closures are the code."""

    params: dict[str, Any]
    modules: tuple[str, ...]


def folders(grid: Grid) -> dict[str, MadeBy]:
    """Every folder that the grid's stages write, relative to the results folder, and what it is made with."""
    found = {paths.data_dir(grid.scale, n): MadeBy(grid.dataset_params(n), DATA_MODULES) for n in grid.datasets}
    for experiment in grid.runnable():
        for stage in experiment.stages:
            made = MadeBy(experiment.stage_params(stage), experiment.modules(stage))
            found |= {experiment.dir(stage, seed): made for seed in experiment.seeds}
    if latency.timed(grid):
        found[paths.latency_dir(grid.scale)] = MadeBy(latency.parameters(grid), latency.modules(grid))
    return found


def require_own(grid: Grid, results: Path, only: Iterable[str] | None = None) -> None:
    """Refuse to write over another study's results that have other parameters. Raises OutputError.

    Runs that both studies have in common are shared, and an edit of a study's own file replaces its own results.
    """
    mine = study_name(grid.params)
    foreign: dict[str, str] = {}
    for folder, made in folders(grid).items():
        if only is None or folder in only:
            study, found = _made_by(results / folder)
            if study not in (None, mine) and found != sha256_json(made.params):
                foreign[folder] = str(study)
    if foreign:
        first = next(iter(foreign))
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise OutputError(
            "these are another study's results, with other parameters",
            where=f"{results / first}{more}",
            got=f"made by {foreign[first]}; this is {mine}",
            allowed=f"one study in {results / grid.scale}",
            do="give the scale of one of the studies another name, or move that folder away",
        )


def _made_by(folder: Path) -> tuple[str | None, str | None]:
    """The study that wrote a stage folder, and the hash of its parameters; None where that cannot be told."""
    try:
        record = json.loads((folder / paths.PROVENANCE).read_text(encoding="utf-8"))
        return record.get("study"), record["params_sha256"]
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None, None
