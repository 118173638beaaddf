"""Test accuracy: the only stage that is handed the test split."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from bars.data import Part
from bars.params import EvaluateParams, RuntimeParams
from bars.stages.runtime import Runtime


@dataclass(frozen=True)
class EvaluateResult:
    """Top-1 accuracy (a fraction) and mean cross-entropy over ``n_examples`` test images."""

    n_examples: int
    top1: float
    loss: float


@torch.no_grad()
def evaluate(model: nn.Module, params: EvaluateParams, runtime: RuntimeParams, test: Part) -> EvaluateResult:
    """Evaluate ``model`` with its running BN statistics."""
    resolved = Runtime.resolve(runtime)
    model.to(resolved.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    loss_sum, correct = 0.0, 0
    for images, labels in test.batches(
        params.batch_size, device=resolved.device, augment=False, seed=0, epoch=0, drop_last=False
    ):
        with resolved.autocast():
            logits = model(images).float()
        loss_sum += float(F.cross_entropy(logits, labels, reduction="sum").double())
        correct += int((logits.argmax(1) == labels).sum())
    return EvaluateResult(test.size, correct / test.size, loss_sum / test.size)
