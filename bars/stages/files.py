"""What stages read: splits, parts, genotypes, outcomes of searches, weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from bars.data import Part, Split, open_part, read_split
from bars.data.part import PartName
from bars.errors import CheckpointError
from bars.models.native_build import compiler_version
from bars.params import RuntimeParams
from bars.pipeline import paths
from bars.pipeline import records as rec
from bars.pipeline.formats import AGAIN
from bars.space import Genotype, SearchSpace
from bars.stages.job import Job
from bars.training.checkpoint import DELETE, FileCheckpointer, load_tensors, restoring
from bars.training.runtime import Runtime

SUPERNET, CHECKPOINT = "bars-supernet/1", "bars-checkpoint/1"


def announce(job: Job) -> RuntimeParams:
    """Resolve ``runtime`` once, loudly, and keep what it came to for the provenance.

    ``runtime`` is given back as it is to be used: a run that is continued goes on as it began, on whatever machine.
    """
    begun, devices = _begun(job.checkpoint)
    runtime = job.view.runtime.model_copy(update=begun)
    resolved = Runtime.resolve(runtime, job.progress.note)
    if begun and begun != (here := {"precision": resolved.precision, "passes": resolved.passes}):
        raise CheckpointError(
            "the run cannot go on here as it began",
            where=str(job.checkpoint),
            got="computed with {precision} and {passes} passes".format(**begun),
            allowed="{precision} and {passes} passes, which are to be had here".format(**here),
            do=f"go on where it began, or {DELETE}",
        )
    job.run.device = ", then ".join(dict.fromkeys([*devices, resolved.device_name]))
    job.run.threads = runtime.threads
    job.run.precision = "float32" if job.stage == "evaluate" else resolved.precision
    if job.stage in paths.TRAINING:  # the others compute with torch's passes
        job.run.passes = resolved.passes
        job.run.compiler = compiler_version() if resolved.native else None
    return runtime


def _begun(checkpoint: Path) -> tuple[dict[str, str], list[str]]:
    """How what is in a checkpoint was computed: what of RuntimeParams that settles, and the devices."""
    if not checkpoint.is_file():
        return {}, []
    with restoring(FileCheckpointer(checkpoint)):
        computed = load_tensors(checkpoint)["trained"]["computed"]
        return {key: computed[key] for key in ("precision", "passes")}, list(computed["devices"])


def split_of(job: Job) -> Split:
    """The stage's split of its data."""
    return read_split(job.input(paths.SPLIT), job.view.data)


def open_for(job: Job, split: Split, part: PartName) -> Part:
    """One part of it, opened."""
    return open_part(job.view.data, split, part)


def genotype_of(job: Job) -> Genotype | None:
    """The architecture of a derived network; None for a hand-made one."""
    if job.experiment.kind == "baseline":
        return None
    return rec.read_genotype(job.input("genotype.json"), SearchSpace.from_params(job.view.space))


def distribution_of(job: Job) -> rec.Distribution | None:
    """The outcome of the search behind the network, if there is one."""
    return rec.read_distribution(job.input("distribution.json")) if job.experiment.searches() else None


def read_state(path: Path, expected: str) -> dict[str, torch.Tensor]:
    """The weights in a stage's file of tensors. Raises CheckpointError."""
    content = load_tensors(path)
    state = content.get("state")
    if content.get("format") != expected or not isinstance(state, dict):
        raise CheckpointError(
            "not the expected file of weights", where=str(path), got=content.get("format"), allowed=expected, do=AGAIN
        )
    foreign = [name for name, value in state.items() if not (isinstance(name, str) and isinstance(value, torch.Tensor))]
    if foreign:
        raise CheckpointError(
            "not only weights are in the file of weights", where=str(path), got=str(foreign[:3]), do=AGAIN
        )
    return state


def load_state(model: nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    """Give a network its weights. Raises CheckpointError, naming the file, if they are another one's."""
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError("the weights are of another network", where=str(path), got=reason, do=AGAIN) from None
