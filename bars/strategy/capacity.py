"""Capacity regularisation: the exponent of BARS Eq. 7 in its three readings, fixed or adapted to hold the budget."""

from __future__ import annotations

import math

from bars.params import SearchParams

# A budget further away than this pulls no harder, or the data would not be heard on the way to it.
FAR = 0.2
# Signs that theta of [E[BiOps] / F] ** theta may have: above the budget it pushes down, below it (negative) up.
_SIDES = {"target": (-1.0, 1.0), "cap": (0.0, 1.0), "printed": (-1.0, 0.0), "none": (0.0, 0.0)}


class Capacity:
    """theta of [E[BiOps] / F] ** theta (BARS Eq. 7, Sec. 4.2.3), and the multiplier that it accumulates.

    ``printed`` acts below the budget only: with a negative exponent the search is paid for using what it is given.
    ``cap`` acts above it only (the authors' code), ``target`` on both sides. With ``capacity_rate`` > 0 theta is the
    multiplier of the constraint log(E[BiOps] / F) = 0 (<= 0 for cap, >= 0 for printed), ascended at that rate, plus
    ``capacity_exponent`` times the violation (the augmented Lagrangian): no larger than holding the budget takes.
    """

    def __init__(self, params: SearchParams) -> None:
        self.exponent, self.rate = params.capacity_exponent, params.capacity_rate
        self.low, self.high = (math.inf * side if side else 0.0 for side in _SIDES[params.capacity])
        self.multiplier = 0.0

    def theta(self, violation: float) -> float:
        """The exponent at log(E[BiOps] / F) = ``violation``, which the multiplier takes one step along."""
        if self.rate == 0.0:
            return self._allowed(math.copysign(self.exponent, violation))
        violation = min(max(violation, -FAR), FAR)
        self.multiplier = self._allowed(self.multiplier + self.rate * violation)
        return self._allowed(self.multiplier + self.exponent * violation)

    def _allowed(self, theta: float) -> float:
        return min(max(theta, self.low), self.high)
