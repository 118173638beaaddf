"""How close what was written of a network is to the network itself: the same images shown to both."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from bars.data import Part
from bars.packed.runtimes import Runtime

_BATCH = 64


class Agreement(NamedTuple):
    """Images that both were shown, how many got the same class, and the largest distance of two logits."""

    images: int
    same: int
    largest_difference: float


@torch.no_grad()
def agreement(run: Runtime, model: nn.Module, part: Part, at_most: int) -> Agreement:
    """Show both the first images of a part, in its fixed order; ``model`` is in evaluation mode."""
    total = same = 0
    largest = 0.0
    for images, _ in part.batches(min(_BATCH, at_most), device="cpu", augment=False, seed=0, epoch=0, drop_last=False):
        shown = images[: at_most - total]
        ours, theirs = model(shown).numpy(), run(shown.contiguous().numpy())
        total += len(ours)
        same += int((ours.argmax(1) == theirs.argmax(1)).sum())
        largest = max(largest, float(np.abs(ours - theirs).max()))
        if total >= at_most:
            break
    return Agreement(total, same, largest)
