"""What is measured: a search or training step at a size, ours or in the plain formulation, ready to be called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from bars.models.baselines import build
from bars.models.cell import Cell
from bars.models.network import Network
from bars.params import ModelParams
from bars.training.runtime import Runtime
from benchmarks import plain as plain_steps
from benchmarks import steps
from benchmarks.inputs import Batch, draws, experiment, middle_genotype, space_of, supernet_of
from benchmarks.reference import Kind, reference_of
from benchmarks.steps import Step


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
    runtime: Runtime,
    *,
    plain: bool = False,
    sampling: str = "gumbel",
    one_hot: Sequence[str] = (),
    norm: str = "edge",
    channels_last: bool = True,
    compiled: str = "",
) -> Step:
    """A ``weight`` or ``alpha`` step of our supernet, or of the plain formulation."""
    supernet = supernet_of(space_of(size.channels, size.cells, norm=norm), size.image, runtime.device)
    draw = draws(supernet, sampling, runtime.device, one_hot)
    batch = Batch.random(size.batch, size.image, runtime.device)
    if plain:
        model: nn.Module = reference_of(supernet)
        if not channels_last:
            model = model.to(memory_format=torch.contiguous_format)
            batch = Batch(batch.images.contiguous(), batch.labels)
        make = plain_steps.alpha_step if kind == "alpha" else plain_steps.weight_step
        return make(model, draw, batch, runtime)
    ours = steps.alpha_step if kind == "alpha" else steps.weight_step
    return ours(supernet, draw, batch, _compiled(supernet, runtime, compiled))


def retrain_step(size: Size, what: str, runtime: Runtime, *, kind: Kind | None = None, compiled: str = "") -> Step:
    """A training step of the middling genotype (``network``) or of a baseline, ours or (``kind``) plain.

    Baselines have 64 channels at full width, as ResNet-18; here as many as the space, but no more than 64.
    """
    torch.manual_seed(0)
    space, binarize = space_of(size.channels, size.cells), experiment().binarize
    model: nn.Module
    if what == "network":
        model = Network(space, binarize, middle_genotype(space), size.image, 10)
    else:
        width = min(1.0, size.channels / 64)
        model = build(ModelParams(family=what, width=width), 10, size.image, "cifar10", binarize)
    batch = Batch.random(size.batch, size.image, runtime.device)
    if kind is None:
        return steps.train_step(model, batch, _compiled(model, runtime, compiled))
    other: nn.Module = reference_of(model, kind).to(runtime.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return plain_steps.train_step(other.train(), batch, runtime)


def _compiled(model: nn.Module, runtime: Runtime, how: str) -> Runtime:
    """``elementwise``, as runtime.compile does it, or whole ``cells``."""
    if how == "cells":
        compile_cells(model)
    return replace(runtime, compile=how == "elementwise")


def compile_cells(model: nn.Module) -> None:
    """torch.compile of every cell, each shape for itself."""
    torch._dynamo.config.recompile_limit = 64
    for module in model.modules():
        if isinstance(module, Cell):
            module.compile(dynamic=False)
