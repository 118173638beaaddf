"""Where a search begins: at its budget."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bars.strategy.distribution import Distribution

STEPS = 50
LONGEST = 1.0  # of a step through the logits, so that the way follows the gradient
CLOSE = 1e-3  # of log(E[BiOps] / F)


def move_to_budget(
    distribution: Distribution, expected_biops: Callable[[Tensor, Tensor, Tensor], Tensor], budget: float
) -> None:
    """Move the logits along the gradient of log E[BiOps] until E[BiOps] is ``budget``, or can come no nearer.

    So every decision moves in proportion to what it is worth in operations, and the draws are those of chance at this
    budget. An optimiser that scales its steps (Adam) would move all alike, and mostly primitives, as there are many.
    """
    alphas = [alpha for alpha in distribution.alphas() if alpha is not None]
    for _ in range(STEPS):
        away = torch.log(expected_biops(*distribution.probs()) / budget)
        gradient = torch.autograd.grad(away, alphas)
        length = torch.cat([g.flatten() for g in gradient]).norm().item()
        if abs(away.item()) < CLOSE or not length:
            return
        step = min(max(away.item() / length, -LONGEST), LONGEST) / length
        with torch.no_grad():
            for alpha, g in zip(alphas, gradient, strict=True):
                alpha -= step * g
