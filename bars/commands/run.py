"""Running one stage: check, lock, call its procedure, write the folder whole, say where it comes from."""

from __future__ import annotations

import contextlib
import datetime
import importlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bars.commands.locks import StageLock
from bars.commands.parent import die_with_parent
from bars.commands.progress import EpochProgress
from bars.errors import DeviceError
from bars.pipeline import paths
from bars.pipeline.durations import duration
from bars.pipeline.experiments import Grid
from bars.pipeline.files import atomic_directory, check_writable
from bars.pipeline.load import load_params
from bars.pipeline.ownership import require_own, study_name
from bars.pipeline.provenance import StageRun, hash_inputs, verify_inputs

if TYPE_CHECKING:
    from bars.stages.job import Write

CHECKPOINTS = Path(".bars/checkpoints")


def run_stage(params: Path, scale: str | None, results: Path, stage: str, name: str, seed: int) -> int:
    """One stage of one experiment at one seed. Of several processes only the first one locks, logs and writes."""
    from bars.stages.job import Job, Processes  # imports torch

    grid = Grid(load_params(params), scale)
    experiment = grid[name]
    inputs = experiment.inputs(stage, seed)
    directory = experiment.dir(stage, seed)
    processes = Processes.of_environment()
    if processes.size > 1 and stage not in paths.TRAINING:
        raise DeviceError(
            f"{stage} runs in one process",
            where="torchrun",
            got=f"{processes.size} processes",
            do=f"run it without torchrun; these can share their work: {', '.join(paths.TRAINING)}",
        )
    writes = processes.rank == 0
    die_with_parent()
    with owned(grid, results, directory) if writes else contextlib.nullcontext():
        hashes = verified(results, inputs)
        run = StageRun(
            stage=stage,
            experiment=name,
            group=experiment.group,
            scale=grid.scale,
            seed=seed,
            study=study_name(grid.params),
            params=experiment.stage_params(stage),
            modules=experiment.modules(stage),
            results=results,
            inputs=hashes,
            processes=processes.size,
        )
        progress = EpochProgress(f"{stage} {name} seed {seed}", None if writes else io.StringIO())
        checkpoint = CHECKPOINTS / run.key / "state.pt"
        progress.note(_beginning(run, checkpoint))
        job = Job(experiment, stage, seed, experiment.view(stage), results, run, checkpoint, progress, processes)

        write: Write = importlib.import_module(f"bars.stages.{stage}").run(job)
        run.peak_device_memory_mb = _device_memory_mb()
        progress.close()
        if writes:
            finish(run, results / directory, directory, write)
            _forget(checkpoint)
    return 0


@contextlib.contextmanager
def owned(grid: Grid, results: Path, directory: str) -> Iterator[None]:
    """Hold a stage's folder, which can be written and is this study's."""
    with StageLock(results / directory):
        check_writable(results / directory)
        require_own(grid, results, [directory])
        yield


def verified(results: Path, inputs: tuple[str, ...]) -> dict[str, str]:
    """Hashes of input files, which chain back to the data; weights on that way which nobody reads may be gone."""
    hashes = hash_inputs(results, inputs)
    verify_inputs(results, hashes, tensors=False)
    return hashes


def _beginning(run: StageRun, checkpoint: Path) -> str:
    """The first line of a run, which also parts it from earlier ones in a log."""
    started = f"started {run.started:%Y-%m-%d %H:%M:%S} UTC"
    if not checkpoint.is_file():
        return started
    saved = datetime.datetime.fromtimestamp(checkpoint.stat().st_mtime, datetime.UTC)
    return f"{started}, continues an interrupted run from its checkpoint of {saved:%Y-%m-%d %H:%M:%S} UTC"


def _device_memory_mb() -> float | None:
    """Peak memory of this process on a CUDA device in MiB; None if it used none."""
    import torch

    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return round(peak / 2**20, 1) if peak else None


def _forget(checkpoint: Path) -> None:
    """Remove a checkpoint whose stage is done."""
    from bars.training.checkpoint import FileCheckpointer

    FileCheckpointer(checkpoint).clear()
    with contextlib.suppress(OSError):
        checkpoint.parent.rmdir()


def finish(run: StageRun, target: Path, directory: str, write: Write) -> None:
    """Write a stage's folder whole, with its provenance, and say so."""
    with atomic_directory(target) as folder:
        write(folder)
        record = run.finish(folder, directory)
    print(f"{target}: {', '.join(paths.OUTPUTS[run.stage])}  ({duration(record.seconds)})", file=sys.stderr)
