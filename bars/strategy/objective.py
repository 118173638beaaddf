"""What the alphas minimise: validation loss, weighted by capacity, plus entropy (BARS Eq. 6, 7)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from bars.params import SearchParams
from bars.strategy.capacity import Capacity


class Terms(NamedTuple):
    """Scalars whose gradients add up to that of L0 * [E[BiOps] / F] ** theta + lambda * H."""

    data: Tensor
    capacity: Tensor
    entropy: Tensor


class Objective:
    """Loss of an alpha step: L0 * [E[BiOps] / F] ** theta + lambda * H; keeps theta, which may follow the budget."""

    def __init__(self, params: SearchParams, budget_biops: float) -> None:
        self.budget_biops, self.capacity = budget_biops, Capacity(params)
        self.theta = 0.0  # of the last step

    def terms(
        self, loss: Tensor, through_network: Tensor, expected_biops: Tensor, entropy: Tensor, entropy_weight: float
    ) -> Terms:
        """The three terms of one step, all scalars.

        ``loss`` is the value L0, ``through_network`` any scalar with its gradient; lambda = ``entropy_weight`` < 0
        rewards exploring, > 0 confident choices (Sec. 4.2.2).
        """
        ratio = expected_biops / self.budget_biops
        self.theta = self.capacity.theta(math.log(float(ratio.detach())))
        factor = ratio**self.theta
        return Terms(
            through_network.double() * factor.detach(), loss.detach() * factor, entropy_weight * entropy.double()
        )


class AlphaGradient:
    """The gradient of the alphas, term by term: set by each step, and averaged over an epoch."""

    def __init__(self, alphas: Sequence[Tensor | None]) -> None:
        self._alphas = [alpha for alpha in alphas if alpha is not None]
        self._sums = torch.zeros(len(Terms._fields), sum(alpha.numel() for alpha in self._alphas), dtype=torch.float64)
        self._steps = 0

    def set(self, terms: Terms) -> None:
        """Put the gradient of the sum of the terms where the optimiser looks for it."""
        rows = [
            torch.autograd.grad(term, self._alphas, retain_graph=True, allow_unused=True, materialize_grads=True)
            for term in terms
        ]
        for i, row in enumerate(rows):
            self._sums[i] += torch.cat([gradient.flatten().double() for gradient in row])
        for alpha, *gradients in zip(self._alphas, *rows, strict=True):
            alpha.grad = torch.stack(gradients).sum(0)
        self._steps += 1

    def norms(self) -> dict[str, float]:
        """Length of each term's mean gradient over the steps so far; zeros before the first."""
        norms = (self._sums / max(1, self._steps)).norm(dim=1).tolist()
        return {f"gradient_{name}": norm for name, norm in zip(Terms._fields, norms, strict=True)}
