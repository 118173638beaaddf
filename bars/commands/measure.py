"""``bars latency``: the times of a scale's networks, into its results, or of one model file."""

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


def measure(
    params: Path,
    scale: str | None,
    results: Path,
    model: Path | None,
    batch: list[int] | None,
    threads: int | None,
    rounds: int | None,
    *,
    as_json: bool,
) -> int:
    """The times of a model file; without one, those of a scale. Raises GridError for options that only a file has."""
    if model is not None:
        from bars.commands.latency import latency as of_model

        batches, threads = batch or [1, 64], 1 if threads is None else threads
        return of_model(model, batches, threads, 20 if rounds is None else rounds, as_json=as_json)
    options = {"--batch": batch, "--threads": threads, "--rounds": rounds, "--json": as_json or None}
    if given := [name for name, value in options.items() if value is not None]:
        raise GridError(
            "without a model the params file says how its networks are timed",
            where=" ".join(given),
            do="set latency in the params file, or name a model",
        )
    return measure_scale(params, scale, results)


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
