"""The door for Python: a study opened, its experiments and runs, their networks, costs, searches and predictions.

    study = open_study("params.yaml", scale="smoke")
    run = study.run("bars-a", seed=0)
    run.metrics.top1, run.genotype, run.network()

docs/TUTORIAL.md is a walk through it. Nothing is computed or written here but what a method says; `snakemake` runs the
stages. Torch is imported where a network or a distribution is asked for, and not before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bars import cost as costs
from bars.commands.cost import classes_of
from bars.cost import Cost
from bars.errors import GridError
from bars.pipeline import records as rec
from bars.pipeline.experiments import Experiment, Grid
from bars.pipeline.load import load_params
from bars.space import Genotype, SearchSpace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import nn

    from bars.data import Batch, PartName
    from bars.stages.saved import Saved
    from bars.strategy.distribution import Distribution

__all__ = ["Run", "Study", "open_study"]


def open_study(params: str | Path = "params.yaml", *, scale: str | None = None, results: str | Path = "") -> Study:
    """A study by its params file, or by the folder that holds one; ``scale`` None: the active one.

    ``results`` is the folder of its stages' files; by default ``results`` here, or of a folder its own ``records`` or
    ``results``. Raises ParamsError, GridError or BudgetError.
    """
    path, inside = Path(params), Path("results")
    if path.is_dir():
        inside = path / ("records" if (path / "records").is_dir() else "results")
        path = path / "params.yaml"
    return Study(Grid(load_params(path), scale), Path(results) if results else inside)


@dataclass(frozen=True)
class Study:
    """A grid of experiments at one scale, and the folder of what was run of it."""

    grid: Grid
    results: Path

    @property
    def scale(self) -> str:
        """Its name."""
        return self.grid.scale

    @property
    def experiments(self) -> Mapping[str, Experiment]:
        """Every experiment by name; one with a ``reason`` is not run at this scale."""
        return self.grid.experiments

    def space(self, name: str) -> SearchSpace:
        """The search space of an experiment's network. Raises GridError for a hand-made one."""
        return SearchSpace.from_params(self.grid[name].space)

    def read_genotype(self, name: str, path: str | Path) -> Genotype:
        """An architecture of an experiment's space from a file. Raises RecordError or GenotypeError."""
        return rec.read_genotype(path, self.space(name))

    def cost(self, name: str, genotype: Genotype | None = None) -> Cost:
        """FLOPs, BiOps (2 x MACs) and parameters of an experiment's network; ``genotype`` as in ``network``."""
        experiment, chosen = self.grid[name], self._architecture(name, genotype)
        classes, size = classes_of(experiment, self.results)[0], experiment.data.image_size
        if chosen is not None:
            return costs.genotype_cost(experiment.space, chosen, size, classes)
        from bars.stages.networks import count

        return count(experiment.network, experiment.view("evaluate"), None, classes, size)

    def network(self, name: str, genotype: Genotype | None = None) -> nn.Module:
        """An untrained network: images [N, 3, S, S] -> logits [N, classes].

        Of a hand-made network or one whose architecture stands in the parameters no ``genotype`` is needed. Raises
        GridError where it is, GenotypeError where it belongs to another space.
        """
        from bars.stages.networks import build

        experiment, chosen = self.grid[name], self._architecture(name, genotype)
        classes = classes_of(experiment, self.results)[0]
        return build(experiment.network, experiment.view("evaluate"), chosen, classes, experiment.data.image_size)

    def run(self, name: str, seed: int | None = None) -> Run:
        """One run of an experiment, finished or not; ``seed`` None: its first. Raises GridError."""
        experiment = self.grid[name]
        experiment.require(experiment.stages[-1], seed)
        return Run(self, experiment, experiment.seeds[0] if seed is None else seed)

    def runs(self) -> list[Run]:
        """The runs that were evaluated, in the order of the grid."""
        all_runs = (Run(self, e, seed) for e in self.grid.runnable() if e.evaluated for seed in e.seeds)
        return [run for run in all_runs if run.path("evaluate", "metrics.json").is_file()]

    def _architecture(self, name: str, genotype: Genotype | None) -> Genotype | None:
        """The genotype given, or that of the parameters; None of a hand-made network."""
        experiment = self.grid[name]
        if experiment.kind == "baseline":
            if genotype is not None:
                raise GridError(f"{name} is a hand-made network and has no genotype", do="leave it out")
            return None
        space = self.space(name)
        if genotype is not None:
            return Genotype.from_json(genotype.to_json(), space)  # refused where it is of another space
        if experiment.genotype is None:
            raise GridError(
                f"{name} has no architecture before it is derived",
                do=f"give one: study.run({name!r}).genotype after the stage derive, a drawn one, or one from a file",
            )
        return Genotype.from_json(experiment.genotype, space)


@dataclass(frozen=True)
class Run:
    """One experiment at one seed: what its stages wrote, read when it is asked for.

    What is not there yet is a RecordError that names the file.
    """

    study: Study
    experiment: Experiment
    seed: int

    def __repr__(self) -> str:
        return f"Run({self.experiment.name}, seed {self.seed}, scale {self.study.scale})"

    def path(self, stage: str, name: str) -> Path:
        """A file of one of its stages, or of the experiment whose search or genotype it takes over."""
        return self.study.results / self.experiment.file(stage, name, self.seed)

    @cached_property
    def metrics(self) -> rec.Metrics:
        """Accuracy on the test images (``top1``, a fraction), operations, and hashes."""
        return rec.read_metrics(self.path("evaluate", "metrics.json"))

    @cached_property
    def genotype(self) -> Genotype | None:
        """The architecture that was derived; None of a hand-made network."""
        if self.experiment.kind == "baseline":
            return None
        return self.study.read_genotype(self.experiment.name, self.path("derive", "genotype.json"))

    @cached_property
    def search_epochs(self) -> list[rec.SearchEpoch]:
        """The log of the search, epoch by epoch."""
        return rec.read_search_epochs(self.path("search", "epochs.csv"))

    @cached_property
    def distribution(self) -> Distribution:
        """The outcome of the search, over the architectures of its space: ``probs``, ``argmax``, ``entropy``."""
        from bars.strategy.distribution import Distribution

        found = rec.read_distribution(self.path("search", "distribution.json"))
        return Distribution.from_json(found.model_dump(), self.study.space(self.experiment.name))

    def draw(self, count: int, seed: int = 0) -> list[Genotype]:
        """Architectures drawn from the distribution, each choice with its probability; equal seeds draw the same."""
        import torch

        generator = torch.Generator().manual_seed(seed)
        return [self.distribution.draw(generator) for _ in range(count)]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        from bars.stages.saved import saved_split

        return saved_split(self.experiment, self.study.results).classes

    def network(self) -> nn.Module:
        """The trained network in evaluation mode: normalised images [N, 3, S, S] -> logits [N, classes]."""
        return self._saved.model

    def batches(self, part: PartName, size: int = 256) -> Iterator[Batch]:
        """Images of ``train``, ``valid`` or ``test``, as the network takes them, and their labels, in a fixed order."""
        from bars.data import open_part
        from bars.stages.saved import saved_split

        split = saved_split(self.experiment, self.study.results)
        opened = open_part(self.experiment.data, split, part)
        return opened.batches(size, device="cpu", augment=False, seed=0, epoch=0, drop_last=False)

    def predict(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Pixels uint8 [N, S, S, 3], RGB -> probabilities [N, classes]. Raises DataError for other images."""
        from bars.packed.network import as_images, normalised, softmax

        split = self._saved.split
        images = normalised(as_images(pixels, split.image_size, repr(self)), split.channel_mean, split.channel_std)
        return softmax(_logits(self._saved.model, images))

    @cached_property
    def _saved(self) -> Saved:
        from bars.stages.saved import saved_network

        return saved_network(self.experiment, self.study.results, self.seed)


def _logits(model: nn.Module, images: npt.NDArray[np.float32], batch: int = 256) -> npt.NDArray[np.float32]:
    """Normalised images [N, 3, S, S] -> logits [N, classes], some at a time."""
    import numpy as np
    import torch

    with torch.inference_mode():
        parts = [model(part).numpy() for part in torch.split(torch.from_numpy(images), batch)]
    return np.concatenate(parts)
