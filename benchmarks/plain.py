"""The same steps on the plain formulation: autograd, torch's own optimisers and a clamp for each weight.

Losses and update rules are those of params.yaml. Each call gives [sum of losses, correct, images].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from bars.binarize.layers import AuxiliaryLoss
from bars.models.supernet import Sample
from bars.params import RetrainParams, SearchParams
from bars.training.graphs import GraphedStep
from bars.training.runtime import Runtime
from bars.training.steps import loss_and_sums
from benchmarks.inputs import Batch, Draw, experiment
from benchmarks.steps import Step


def weight_step(model: nn.Module, draw: Draw, batch: Batch, runtime: Runtime) -> Step:
    """A step on the weights of the plain supernet."""
    params, sample = experiment().search, draw()
    optimizer = _optimizer(model, params.weight_optimizer, params.weight_lr, params.weight_momentum)

    def gradient(images: Tensor, labels: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        optimizer.zero_grad(set_to_none=True)
        with runtime.autocast():
            logits = model(images, _like(sample, tensors))
        loss, sums = loss_and_sums(logits, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return (sums,)

    graphed, update = GraphedStep(gradient, runtime.capture), _update(model, optimizer, params)

    def step() -> Tensor:
        (sums,) = graphed(batch.images, batch.labels, *draw().tensors())
        update()
        return sums

    return step


def alpha_step(model: nn.Module, draw: Draw, batch: Batch, runtime: Runtime) -> Step:
    """The gradient of a sample as DARTS takes it: the weights get gradients too, which nobody uses."""
    sample = draw()

    def gradient(images: Tensor, labels: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        model.zero_grad(set_to_none=True)
        with runtime.autocast():
            logits = model(images, _like(sample, tensors))
        loss, sums = loss_and_sums(logits, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return sums, *(t.grad for t in tensors if t.grad is not None)

    graphed = GraphedStep(gradient, runtime.capture)
    return lambda: graphed(batch.images, batch.labels, *draw().leaves(runtime.device).tensors())[0]


def train_step(model: nn.Module, batch: Batch, runtime: Runtime) -> Step:
    """A step of retraining a plain network."""
    params = experiment().retrain
    optimizer = _optimizer(model, params.optimizer, params.lr, params.momentum)
    auxiliary_loss = AuxiliaryLoss(model)

    def gradient(images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        optimizer.zero_grad(set_to_none=True)
        with runtime.autocast():
            logits = model(images)
        loss, sums = loss_and_sums(logits, labels, params.label_smoothing)
        extra = auxiliary_loss()
        (loss if extra is None else loss + extra).backward()  # type: ignore[no-untyped-call]
        return (sums,)

    graphed, update = GraphedStep(gradient, runtime.capture, model.buffers()), _update(model, optimizer, params)

    def step() -> Tensor:
        (sums,) = graphed(batch.images, batch.labels)
        update()
        return sums

    return step


def _optimizer(model: nn.Module, name: str, lr: float, momentum: float) -> torch.optim.Optimizer:
    if name == "adam":
        return torch.optim.Adam(model.parameters(), lr)
    return torch.optim.SGD(model.parameters(), lr, momentum)


def _update(
    model: nn.Module, optimizer: torch.optim.Optimizer, params: SearchParams | RetrainParams
) -> Callable[[], None]:
    weights = list(model.parameters())
    latent = [p for p in weights if p.dim() == 4]

    def update() -> None:
        if params.grad_clip is not None:
            nn.utils.clip_grad_norm_(weights, params.grad_clip)
        optimizer.step()
        with torch.no_grad():
            for weight in latent:
                weight.clamp_(-1.0, 1.0)

    return update


def _like(sample: Sample, tensors: Sequence[Tensor]) -> Sample:
    """A sample of these tensors, which are there where those of ``sample`` are."""
    left: Iterator[Tensor] = iter(tensors)
    op, depth, width = (None if t is None else next(left) for t in (sample.op, sample.depth, sample.width))
    return Sample(op, depth, width)
