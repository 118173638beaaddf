"""The steps that are timed: the same losses, gradients and updates as in bars.stages, on one fixed batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from bars.stages.runtime import GraphedStep, frozen
from torch import Tensor, nn
from torch.nn import functional as F

from bars.binarize.layers import AfterStep, auxiliary_loss
from bars.models.cell import Cell
from bars.models.supernet import Sample, Supernet
from bars.params import BinarizeParams, SpaceParams
from bars.space import Genotype, SearchSpace, StageGenotype
from bars.strategy.distribution import Distribution


@dataclass(frozen=True)
class How:
    """How a step runs: with bfloat16 autocast, as a replayed CUDA graph."""

    bfloat16: bool = False
    capture: bool = False

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        """The context of the forward pass."""
        return torch.autocast(device.type, torch.bfloat16) if self.bfloat16 else nullcontext()


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


def space_of(init_channels: int, cells_per_stage: int, **changes: Any) -> SpaceParams:
    """The CIFAR-10 space of params.yaml at a size."""
    return SpaceParams(stages=3, cells_per_stage=cells_per_stage, init_channels=init_channels, **changes)


def supernet_of(space: SpaceParams, image_size: int, device: torch.device | str) -> Supernet:
    """A supernet in training mode."""
    torch.manual_seed(0)
    supernet = Supernet(space, BinarizeParams(), image_size, 10)
    return supernet.to(device, memory_format=torch.channels_last).train()  # type: ignore[no-any-return, call-overload]


def middle_genotype(space: SpaceParams) -> Genotype:
    """An architecture of middling size: full depth, width 0.75, five of ten edges convolve, three are shortcuts."""
    searched = SearchSpace.from_params(space)
    pattern = ("binary_conv_3x3", "shortcut", "binary_conv_3x3", "none")
    edges = {edge: pattern[i % 4] for i, edge in enumerate(searched.edges)}
    stages = tuple(StageGenotype(space.cells_per_stage, 0.75) for _ in range(space.stages))
    return Genotype(searched, stages, {name: edges for name in searched.all_types})


Draw = Callable[[], Sample]


def draws(supernet: Supernet, sampling: str, device: torch.device | str) -> Draw:
    """Relaxed: one draw, the same for every call, as all cost the same. Hard: a new one for every call."""
    distribution = Distribution(supernet.space, 0.5, torch.Generator().manual_seed(0))
    noise = torch.Generator().manual_seed(1)

    @torch.no_grad()
    def draw() -> Sample:
        return distribution.sample(sampling, 1.0, noise).to(device)

    if sampling == "hard":
        return draw
    fixed = draw()
    return lambda: fixed


def weight_step(model: nn.Module, draw: Draw, batch: Batch, how: How, *, plain: bool = False) -> Callable[[], Tensor]:
    """A step on the supernet's weights; ``plain`` uses optimiser and clamps as they come, as the reference does."""
    weights = list(model.parameters())
    sample = draw()
    # As in bars.stages.search: a hard draw leaves weights without gradients, which the fused update cannot take.
    fused = None if plain or sample.genotype is not None else True
    optimizer = torch.optim.SGD(weights, lr=1e-3, momentum=0.9, weight_decay=3e-4, fused=fused)
    after = _clamp(model) if plain else AfterStep(model)

    def gradient(images: Tensor, labels: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        optimizer.zero_grad(set_to_none=True)
        with how.autocast(images.device):
            logits = model(images, _sample_like(sample, tensors))
        loss = F.cross_entropy(logits.float(), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return (loss.detach(),)

    graphed = GraphedStep(gradient, how.capture)

    def step() -> Tensor:
        nonlocal sample
        sample = draw()
        (loss,) = graphed(batch.images, batch.labels, *_tensors(sample))
        nn.utils.clip_grad_norm_(weights, 5.0, foreach=None if plain else True)
        optimizer.step()
        after()
        return loss

    return step


def alpha_step(model: nn.Module, draw: Draw, batch: Batch, how: How, *, plain: bool = False) -> Callable[[], Tensor]:
    """The gradient of the loss with respect to a sample: what an alpha step costs, but for its scalars on the CPU."""
    weights = [] if plain else list(model.parameters())
    sample = draw()

    def gradient(images: Tensor, labels: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        with frozen(weights):
            with how.autocast(images.device):
                logits = model(images, _sample_like(sample, tensors))
            loss = F.cross_entropy(logits.float(), labels)
            if plain:  # as DARTS does it: the weights get gradients too, which nobody uses
                model.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                return loss.detach(), *(t.grad for t in tensors if t.grad is not None)
            gradients = torch.autograd.grad(loss, tensors, allow_unused=True)
        return loss.detach(), *(g for g in gradients if g is not None)

    graphed = GraphedStep(gradient, how.capture)

    def step() -> Tensor:
        nonlocal sample
        sample = draw()
        leaves = [t.detach().clone().requires_grad_() for t in _tensors(sample)]
        return graphed(batch.images, batch.labels, *leaves)[0]

    return step


def train_step(model: nn.Module, batch: Batch, how: How, *, plain: bool = False) -> Callable[[], Tensor]:
    """A step of retraining with Adam."""
    weights = list(model.parameters())
    optimizer = torch.optim.Adam(weights, lr=1e-3, fused=None if plain else True)
    after = _clamp(model) if plain else AfterStep(model)

    def gradient(images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        optimizer.zero_grad(set_to_none=True)
        with how.autocast(images.device):
            logits = model(images)
        loss = F.cross_entropy(logits.float(), labels)
        extra = auxiliary_loss(model)
        (loss if extra is None else loss + extra).backward()  # type: ignore[no-untyped-call]
        return (loss.detach(),)

    graphed = GraphedStep(gradient, how.capture, model.buffers())

    def step() -> Tensor:
        (loss,) = graphed(batch.images, batch.labels)
        nn.utils.clip_grad_norm_(weights, 5.0, foreach=None if plain else True)
        optimizer.step()
        after()
        return loss

    return step


def compile_cells(model: nn.Module) -> None:
    """torch.compile of every cell, each shape for itself, as search.runtime.compile does."""
    torch._dynamo.config.recompile_limit = 64
    for module in model.modules():
        if isinstance(module, Cell):
            module.compile(dynamic=False)


def _tensors(sample: Sample) -> list[Tensor]:
    return [t for t in (sample.op, sample.depth, sample.width) if t is not None]


def _sample_like(sample: Sample, tensors: Sequence[Tensor]) -> Sample:
    left = iter(tensors)
    op, depth, width = (None if t is None else next(left) for t in (sample.op, sample.depth, sample.width))
    return Sample(op, depth, width, sample.genotype)


def _clamp(model: nn.Module) -> Callable[[], None]:
    weights = [p for p in model.parameters() if p.dim() == 4]

    @torch.no_grad()
    def clamp() -> None:
        for weight in weights:
            weight.clamp_(-1.0, 1.0)

    return clamp
