"""What the steps are timed on: the parameters of params.yaml at a size, fixed batches, fixed architectures."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bars.models.supernet import Sample, Supernet
from bars.params import RuntimeParams, SpaceParams
from bars.pipeline.experiments import Experiment, Grid
from bars.pipeline.load import load_params
from bars.space import Genotype, SearchSpace, StageGenotype
from bars.strategy.distribution import Distribution

PARAMS = Path(__file__).resolve().parents[1] / "params.yaml"


@functools.cache
def experiment() -> Experiment:
    """BARS-B at the scale ``paper``, whose parameters all steps have but for their size."""
    return Grid(load_params(PARAMS), "paper")["bars-b"]


def runtime_params(**changes: Any) -> RuntimeParams:
    """``runtime`` of params.yaml, with changes."""
    return RuntimeParams(**(experiment().runtime.model_dump() | changes))


def space_of(init_channels: int, cells_per_stage: int, **changes: Any) -> SpaceParams:
    """The CIFAR-10 space of params.yaml at a size."""
    size = {"init_channels": init_channels, "cells_per_stage": cells_per_stage}
    return SpaceParams(**(experiment().space.model_dump() | size | changes))


@dataclass(frozen=True)
class Batch:
    """Random images, channels-last, and labels of ten classes."""

    images: Tensor
    labels: Tensor

    @classmethod
    def random(cls, size: int, image_size: int, device: torch.device | str) -> Batch:
        """The same for every call."""
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(size, 3, image_size, image_size, generator=generator).to(device)
        labels = torch.randint(0, 10, (size,), generator=generator).to(device)
        return cls(images.contiguous(memory_format=torch.channels_last), labels)


def supernet_of(space: SpaceParams, image_size: int, device: torch.device | str) -> Supernet:
    """A supernet in training mode."""
    torch.manual_seed(0)
    supernet = Supernet(space, experiment().binarize, image_size, 10)
    return supernet.to(device, memory_format=torch.channels_last).train()  # type: ignore[no-any-return, call-overload]


def middle_genotype(space: SpaceParams) -> Genotype:
    """An architecture of middling size: full depth, width 0.75, five of ten edges convolve, three are shortcuts."""
    searched = SearchSpace.from_params(space)
    pattern = ("binary_conv_3x3", "shortcut", "binary_conv_3x3", "none")
    edges = {edge: pattern[i % 4] for i, edge in enumerate(searched.edges)}
    stages = tuple(StageGenotype(space.cells_per_stage, 0.75) for _ in range(space.stages))
    return Genotype(searched, stages, {name: edges for name in searched.all_types})


Draw = Callable[[], Sample]


def draws(supernet: Supernet, sampling: str, device: torch.device | str, one_hot: Sequence[str] = ()) -> Draw:
    """Relaxed: one draw, the same for every call, as all cost the same. One-hot in part or all: a new one each time."""
    distribution = Distribution(supernet.space, 0.5, torch.Generator().manual_seed(0))
    noise = torch.Generator().manual_seed(1)

    @torch.no_grad()
    def draw() -> Sample:
        return distribution.sample(sampling, 1.0, noise, one_hot).to(device)

    if sampling == "hard" or one_hot:
        return draw
    fixed = draw()
    return lambda: fixed
