"""What is measured: a search or training step at a size, ours or in the plain formulation, ready to be called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bars.models.baselines import build
from bars.models.network import Network
from bars.models.unit import fuse
from bars.params import BinarizeParams, ModelParams
from benchmarks.reference import Kind, reference_of
from benchmarks.steps import (
    Batch,
    How,
    alpha_step,
    compile_cells,
    draws,
    middle_genotype,
    space_of,
    supernet_of,
    train_step,
    weight_step,
)

Step = Callable[[], Tensor]


@dataclass(frozen=True)
class Size:
    """A space at a size, and how many images a step has."""

    channels: int
    cells: int
    image: int
    batch: int

    def __str__(self) -> str:
        return f"C={self.channels}, {self.cells} cells"


def search_step(
    size: Size,
    kind: str,
    device: torch.device,
    how: How,
    *,
    plain: bool = False,
    sampling: str = "gumbel",
    norm: str = "edge",
    channels_last: bool = True,
    compiled: str = "",
) -> Step:
    """A ``weight`` or ``alpha`` step of our supernet, or of the plain formulation."""
    supernet = supernet_of(space_of(size.channels, size.cells, norm=norm), size.image, device)
    draw = draws(supernet, sampling, device)
    model: nn.Module = supernet
    batch = Batch.random(size.batch, size.image, device)
    if plain:
        model = reference_of(supernet)
    if not channels_last:
        model = model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        batch = Batch(batch.images.contiguous(), batch.labels)
    _compile(model, compiled)
    make = alpha_step if kind == "alpha" else weight_step
    return make(model, draw, batch, how, plain=plain)


def retrain_step(
    size: Size, what: str, device: torch.device, how: How, *, kind: Kind | None = None, compiled: str = ""
) -> Step:
    """A training step of the middling genotype (``network``) or of a baseline, ours or (``kind``) plain.

    Baselines have 64 channels at full width, as ResNet-18; here as many as the space, but no more than 64.
    """
    torch.manual_seed(0)
    space = space_of(size.channels, size.cells)
    model: nn.Module
    if what == "network":
        model = Network(space, BinarizeParams(), middle_genotype(space), size.image, 10)
    else:
        width = min(1.0, size.channels / 64)
        model = build(ModelParams(family=what, width=width), 10, size.image, "cifar10", BinarizeParams())
    model = (model if kind is None else reference_of(model, kind)).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    _compile(model, compiled)
    return train_step(model.train(), Batch.random(size.batch, size.image, device), how, plain=kind is not None)


def _compile(model: nn.Module, compiled: str) -> None:
    if compiled == "cells":
        compile_cells(model)
    elif compiled == "elementwise":
        fuse(model)
