"""``bars latency`` without a model: the times of a scale's networks, into its results."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bars.commands.parent import die_with_parent
from bars.commands.progress import EpochProgress
from bars.commands.run import finish, owned, verified
from bars.errors import GridError
from bars.pipeline import latency, paths
from bars.pipeline.experiments import Grid
from bars.pipeline.load import load_params
from bars.pipeline.ownership import study_name
from bars.pipeline.provenance import StageRun

if TYPE_CHECKING:
    from bars.stages.job import Job


def measure_scale(params: Path, scale: str | None, results: Path) -> int:
    """Time all networks of a scale in one process, after they were evaluated."""
    grid = Grid(load_params(params), scale)
    if grid.latency is None or not latency.timed(grid):
        raise GridError(
            "no network is timed at this scale",
            where=f"scale {grid.scale}",
            got="no block latency" if grid.latency is None else "none of latency.networks is run",
            do="add defaults.latency to the params file (that of the package has it), or name networks that are run",
        )
    directory = paths.latency_dir(grid.scale)
    die_with_parent()
    with owned(grid, results, directory):
        run = StageRun(
            stage=latency.STAGE,
            experiment=latency.STAGE,
            group=None,
            scale=grid.scale,
            seed=None,
            study=study_name(grid.params),
            params=latency.parameters(grid),
            modules=latency.modules(grid),
            results=results,
            inputs=verified(results, latency.all_inputs(grid)),
            threads=grid.latency.threads,
        )
        progress = EpochProgress(latency.STAGE)
        stage = importlib.import_module(f"bars.stages.{latency.STAGE}")  # imports torch
        write = stage.run(_jobs(grid, run, progress), grid.latency, progress.note)
        progress.close()
        finish(run, results / directory, directory, write)
    return 0


def _jobs(grid: Grid, run: StageRun, progress: EpochProgress) -> list[Job]:
    """What the stage is handed of each network: its own input files and the view of its evaluation."""
    from bars.stages.job import Job

    jobs = []
    for experiment, seed in latency.timed(grid):
        own = {path: run.inputs[path] for path in latency.inputs(experiment, seed)}
        of_one = replace(run, inputs=own)
        view = experiment.view("evaluate")
        jobs.append(Job(experiment, latency.STAGE, seed, view, run.results, of_one, Path(), progress))
    return jobs
