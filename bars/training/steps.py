"""One training step of a network's weights, as every network but the supernet is trained."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from bars.binarize.layers import AuxiliaryLoss
from bars.training.graphs import GraphedStep
from bars.training.trained import Trained


def loss_and_sums(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of logits [N, classes], and [sum of losses, correct, images]."""
    logits = logits.float()
    loss = F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    with torch.no_grad():
        # A tensor made on the device, since a number from the host could not be recorded in a graph.
        n = torch.full((), labels.shape[0], device=labels.device)
        return loss, torch.stack([loss.detach() * n, (logits.argmax(1) == labels).sum().float(), n.float()])


class TrainStep:
    """Gradient and update of all weights on one batch; gives [sum of losses, correct, images].

    ``capture``: False where the model changes by a schedule of its own, which a recorded graph would freeze.
    """

    def __init__(self, trained: Trained, label_smoothing: float = 0.0, *, capture: bool = True) -> None:
        self._trained, self._label_smoothing = trained, label_smoothing
        self._auxiliary_loss = AuxiliaryLoss(trained.model)
        self._gradient = GraphedStep(self._eager, capture and trained.capture, trained.model.buffers())

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        (sums,) = self._gradient(images, labels)
        self._trained.update()
        return sums

    def _eager(self, images: Tensor, labels: Tensor) -> tuple[Tensor]:
        self._trained.optimizer.zero_grad()
        with self._trained.runtime.autocast():
            logits = self._trained.forward(images)
        loss, sums = loss_and_sums(logits, labels, self._label_smoothing)
        extra = self._auxiliary_loss()
        (loss if extra is None else loss + extra).backward()  # type: ignore[no-untyped-call]
        return (sums,)
