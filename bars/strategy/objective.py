"""What the alphas minimise: validation loss, weighted by capacity, plus entropy (BARS Eq. 6, 7)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bars.params import SearchParams


def capacity_factor(expected_biops: Tensor, budget: float, over: float, under: float) -> Tensor:
    """[E[BiOps] / F] ** theta (BARS Eq. 7), theta = ``over`` at or above the budget F and ``under`` below it.

    As printed the exponents stand on the wrong sides (no penalty above the budget); the authors' code has them here.
    """
    ratio = expected_biops / budget
    exponent = over if float(ratio.detach()) >= 1.0 else under
    return ratio**exponent


@dataclass(frozen=True)
class Objective:
    """Loss of an alpha step: L0 * capacity + lambda * entropy."""

    params: SearchParams
    budget_biops: float

    def __call__(self, loss: Tensor, expected_biops: Tensor, entropy: Tensor, entropy_weight: float) -> Tensor:
        """All scalars; ``entropy_weight`` < 0 rewards exploring, > 0 confident choices (Sec. 4.2.2)."""
        factor = capacity_factor(
            expected_biops, self.budget_biops, self.params.capacity_exponent, self.params.capacity_exponent_under
        )
        return loss * factor.to(loss) + entropy_weight * entropy.to(loss)
