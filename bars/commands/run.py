"""Running one stage: check, lock, call its procedure, write the folder whole, say where it comes from."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bars.commands.progress import EpochProgress, duration
from bars.pipeline import paths
from bars.pipeline.experiments import DATA_MODULES, Experiment, Grid, StageView
from bars.pipeline.files import StageLock, atomic_directory, check_writable, die_with_parent
from bars.pipeline.load import load_params
from bars.pipeline.provenance import StageRun, hash_inputs, verify_inputs
from bars.pipeline.records import write_json

if TYPE_CHECKING:
    from bars.pipeline.params import DataParams

CHECKPOINTS = Path(".bars/checkpoints")
Write = Callable[[Path], None]


@dataclass(frozen=True)
class Job:
    """What the procedure of a stage is handed: its own parameters, its input files, a place for checkpoints."""

    experiment: Experiment
    stage: str
    seed: int
    view: StageView
    results: Path
    run: StageRun
    checkpoint: Path
    progress: EpochProgress

    def input(self, name: str) -> Path:
        """The input file of this name. Only what the grid declares as an input can be asked for."""
        for path in self.run.inputs:
            if path.endswith(f"/{name}"):
                return self.results / path
        raise KeyError(f"{name} is no input of {self.stage} of {self.experiment.name}")


def run_stage(params: Path, scale: str | None, results: Path, stage: str, name: str, seed: int) -> int:
    """One stage of one experiment at one seed."""
    grid = Grid(load_params(params), scale)
    experiment = grid[name]
    inputs = experiment.inputs(stage, seed)
    directory = experiment.dir(stage, seed)
    die_with_parent()
    with StageLock(results / directory):
        check_writable(results / directory)
        hashes = hash_inputs(results, inputs)
        verify_inputs(results, hashes)
        run = StageRun(
            stage=stage,
            experiment=name,
            group=experiment.group,
            scale=grid.scale,
            seed=seed,
            params=experiment.stage_params(stage),
            modules=experiment.modules(stage),
            results=results,
            inputs=hashes,
        )
        progress = EpochProgress(f"{stage} {name} seed {seed}")
        checkpoint = CHECKPOINTS / run.key / "state.pt"
        job = Job(experiment, stage, seed, experiment.view(stage), results, run, checkpoint, progress)

        from bars.commands.procedures import PROCEDURES, device_memory_mb, forget

        write = PROCEDURES[stage](job)
        run.peak_device_memory_mb = device_memory_mb()
        progress.close()
        _finish(run, results / directory, directory, write)
        forget(checkpoint)
    return 0


def run_data(params: Path, scale: str | None, results: Path, name: str) -> int:
    """The split of one data set."""
    grid = Grid(load_params(params), scale)
    data = grid.dataset(name)
    directory = paths.data_dir(grid.scale, name)
    die_with_parent()
    with StageLock(results / directory):
        check_writable(results / directory)
        run = StageRun(
            stage="data",
            experiment=name,
            group=None,
            scale=grid.scale,
            seed=None,
            params=grid.dataset_params(name),
            modules=DATA_MODULES,
            results=results,
            inputs={},
        )
        _finish(run, results / directory, directory, _split_writer(data))
    return 0


def _split_writer(data: DataParams) -> Write:
    from bars.data import make_split

    split = make_split(data)
    return lambda folder: write_json(folder / paths.SPLIT, split, wide=True)


def _finish(run: StageRun, target: Path, directory: str, write: Write) -> None:
    with atomic_directory(target) as folder:
        write(folder)
        record = run.finish(folder, directory)
    print(f"{target}: {', '.join(paths.OUTPUTS[run.stage])}  ({duration(record.seconds)})", file=sys.stderr)
