"""The two steps of a search on the supernet at a sample: one trains its weights, one asks for the sample's gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bars.models.supernet import Sample
from bars.space import SearchSpace
from bars.training.graphs import GraphedStep
from bars.training.steps import loss_and_sums
from bars.training.trained import Trained

SampleStep = Callable[[Tensor, Tensor, Sample], tuple[Tensor, ...]]


class WeightStep:
    """Gradient and update of the supernet's weights at a sample; gives [sum of losses, correct, images].

    A weight that a partly one-hot draw left out has gradient zero, as if everything had been computed; one that an
    architecture (all decisions one-hot) leaves out has none, and stays as it is.
    """

    def __init__(self, trained: Trained, space: SearchSpace) -> None:
        self._trained = trained
        self._gradient = _graphed(self._eager, space, trained.capture)

    def __call__(self, images: Tensor, labels: Tensor, sample: Sample) -> Tensor:
        (sums,) = self._gradient(images, labels, sample)
        self._trained.update()
        return sums

    def _eager(self, images: Tensor, labels: Tensor, sample: Sample) -> tuple[Tensor]:
        self._trained.optimizer.zero_grad()
        loss, sums = _loss(self._trained, self._trained.forward, images, labels, sample.without_gradient())
        loss.backward()  # type: ignore[no-untyped-call]
        if not sample.complete:
            for weight in self._trained.weights:
                if weight.grad is None:
                    weight.grad = torch.zeros_like(weight)
        return (sums,)


class SampleGradient:
    """Gives [sum of losses, correct, images], and the loss's gradient by each tensor of a sample of leaves."""

    def __init__(self, trained: Trained, space: SearchSpace) -> None:
        self._trained = trained
        self._gradient = _graphed(self._eager, space, trained.capture)

    def __call__(self, images: Tensor, labels: Tensor, sample: Sample) -> tuple[Tensor, ...]:
        return self._gradient(images, labels, sample)

    def _eager(self, images: Tensor, labels: Tensor, sample: Sample) -> tuple[Tensor, ...]:
        tensors = sample.tensors()
        with _frozen(self._trained.weights):
            loss, sums = _loss(self._trained, self._trained.model, images, labels, sample)
            gradients = torch.autograd.grad(loss, tensors, allow_unused=True)
        return (sums, *(torch.zeros_like(t) if g is None else g for t, g in zip(tensors, gradients, strict=True)))


@torch.no_grad()
def score(trained: Trained, images: Tensor, labels: Tensor, sample: Sample) -> Tensor:
    """[sum of losses, correct, images] of the supernet at a sample, without any gradient."""
    return _loss(trained, trained.model, images, labels, sample)[1]


def _loss(
    trained: Trained, network: nn.Module, images: Tensor, labels: Tensor, sample: Sample
) -> tuple[Tensor, Tensor]:
    with trained.runtime.autocast():
        logits = network(images, sample)
    return loss_and_sums(logits, labels)


@contextmanager
def _frozen(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Without gradients for ``parameters``: what leads only to them is not computed."""
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def _graphed(step: SampleStep, space: SearchSpace, capture: bool) -> SampleStep:
    """``step`` replayed as a CUDA graph, which takes tensors only and computes everything, whatever was drawn.

    An architecture, all of whose decisions are one-hot, is computed as it is: much less work, different in each step.
    """

    def relaxed(images: Tensor, labels: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        left = list(tensors)
        op = left.pop(0)
        depth = left.pop(0) if space.search_depth else None
        return step(images, labels, Sample(op, depth, left.pop(0) if left else None))

    graphed = GraphedStep(relaxed, capture)

    def call(images: Tensor, labels: Tensor, sample: Sample) -> tuple[Tensor, ...]:
        if capture and not sample.complete:
            return graphed(images, labels, *sample.tensors())
        return step(images, labels, sample)

    return call
