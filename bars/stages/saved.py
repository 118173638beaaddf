"""What a finished run left behind, read again: its split, its architecture, its trained network."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torch import nn

from bars.data import Split, read_split
from bars.pipeline import paths
from bars.pipeline import records as rec
from bars.pipeline.experiments import Experiment
from bars.space import Genotype, SearchSpace
from bars.stages.networks import trained


class Saved(NamedTuple):
    """A trained network in evaluation mode, on the CPU; ``genotype`` is None for a hand-made one."""

    model: nn.Module
    split: Split
    genotype: Genotype | None


def saved_split(experiment: Experiment, results: Path) -> Split:
    """The split of a run's images. Raises RecordError."""
    return read_split(results / paths.split_path(experiment.scale, experiment.dataset), experiment.data)


def saved_genotype(experiment: Experiment, results: Path, seed: int) -> Genotype | None:
    """The derived architecture; None for a hand-made network. Raises RecordError or GenotypeError."""
    if experiment.kind == "baseline":
        return None
    path = results / experiment.file("derive", "genotype.json", seed)
    return rec.read_genotype(path, SearchSpace.from_params(experiment.space))


def saved_network(experiment: Experiment, results: Path, seed: int) -> Saved:
    """The network with the weights of its retraining. Raises RecordError, GenotypeError or CheckpointError."""
    split, genotype = saved_split(experiment, results), saved_genotype(experiment, results, seed)
    checkpoint = results / experiment.file("retrain", "checkpoint.pt", seed)
    model = trained(experiment.network, experiment.view("evaluate"), genotype, split, checkpoint)
    return Saved(model, split, genotype)
