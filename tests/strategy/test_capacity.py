"""Eq. 7's exponent in its readings, and that the adapted one holds a budget that a fixed one misses."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from bars.params import SearchParams
from bars.strategy.capacity import FAR, Capacity
from bars.strategy.health import judge
from bars.strategy.objective import AlphaGradient, Objective
from tests.stages.test_search import params


def capacity(reading: str, exponent: float = 1.5, rate: float = 0.0) -> Capacity:
    return Capacity(params(capacity=reading, capacity_exponent=exponent, capacity_rate=rate))


@pytest.mark.parametrize(
    ("reading", "below", "above"),
    [("target", -1.5, 1.5), ("cap", 0.0, 1.5), ("printed", -1.5, 0.0), ("none", 0.0, 0.0)],
)
def test_a_fixed_exponent_acts_on_the_sides_of_its_reading(reading: str, below: float, above: float) -> None:
    assert capacity(reading).theta(math.log(0.5)) == below
    assert capacity(reading).theta(math.log(2.0)) == above


@pytest.mark.parametrize(("reading", "signs"), [("target", {-1, 1}), ("cap", {1}), ("printed", {-1}), ("none", set())])
def test_an_adapted_exponent_has_the_signs_of_its_reading(reading: str, signs: set[int]) -> None:
    c = capacity(reading, rate=0.3)
    thetas = [c.theta(violation) for violation in (-0.1, -0.1, 0.1, 0.1, 0.1, 0.1)]
    assert {int(math.copysign(1, theta)) for theta in thetas if theta} == signs


def test_the_multiplier_adds_up_violations_none_of_them_further_than_far() -> None:
    c = capacity("target", exponent=2.0, rate=0.5)
    assert c.theta(-5.0) == pytest.approx(0.5 * -FAR + 2.0 * -FAR)
    assert c.theta(0.1) == pytest.approx(0.5 * (0.1 - FAR) + 2.0 * 0.1)
    assert c.multiplier == pytest.approx(0.5 * (0.1 - FAR))


def at_rest(start: float, pull: float, **options: Any) -> float:
    """E / F where a search ends whose data pull log E with a constant force: one logit that is log E itself."""
    options = {"capacity_exponent": 0.5, "capacity_rate": 0.05} | options
    alpha = torch.tensor([start], dtype=torch.float64, requires_grad=True)
    objective = Objective(params(**options), 1.0)
    optimizer = torch.optim.SGD([alpha], lr=0.05)
    for _ in range(2000):
        gradients = AlphaGradient([alpha])
        terms = objective.terms(torch.tensor(1.0), pull * alpha.sum(), alpha.exp().sum(), 0.0 * alpha.sum(), 0.0)
        gradients.set(terms)
        optimizer.step()
    return math.exp(float(alpha.detach()))


@pytest.mark.parametrize("start", [math.log(0.3), math.log(1.7)])
@pytest.mark.parametrize("pull", [-0.3, 0.3])
def test_the_budget_is_met_from_either_side_against_the_data(start: float, pull: float) -> None:
    assert at_rest(start, pull, capacity="target") == pytest.approx(1.0, abs=0.01)


def test_a_cap_meets_the_budget_only_where_the_data_want_more() -> None:
    assert at_rest(math.log(0.5), -0.3, capacity="cap") == pytest.approx(1.0, abs=0.01)
    assert at_rest(math.log(0.9), 0.3, capacity="cap") < 0.1
    assert at_rest(math.log(0.5), 0.3, capacity="printed") == pytest.approx(1.0, abs=0.01)


HEALTH = {"loss": 0.9, "flips": 0.05, "budget": 0.1, "entropy": 0.8, "entropy_pull": 1.5}
SOUND = {"train_loss": 1.5, "flips": 0.2, "budget_ratio": 1.0, "entropy": 0.5}
SOUND |= {"gradient_entropy": 0.01, "gradient_data": 0.01}


def verdict(status: str = "completed", operations: str = "binary", **row: float) -> list[str]:
    search: SearchParams = params(health=HEALTH, operations=operations)
    failures: list[str] = judge(SOUND | row, status, search, 10)["failures"]
    return failures


@pytest.mark.parametrize(
    ("row", "word"),
    [
        ({"train_loss": 2.0724}, "guessed"),  # the logarithm of ten is 2.302585, nine tenths of it 2.072327
        ({"flips": 0.04}, "stood still"),
        ({"budget_ratio": 0.89}, "missed the budget"),
        ({"budget_ratio": 1.11}, "missed the budget"),
        ({"entropy": 0.81}, "stayed open"),
        ({"gradient_entropy": 0.016}, "1.6 times"),
        ({"gradient_data": 0.0}, "the entropy term decided"),
    ],
)
def test_a_search_that_failed_says_why(row: dict[str, float], word: str) -> None:
    (failure,) = verdict(**row)
    assert word in failure


def test_a_search_just_inside_every_criterion_is_sound() -> None:
    edge = {"train_loss": 2.0723, "flips": 0.05, "budget_ratio": 1.09, "entropy": 0.8, "gradient_entropy": 0.0149}
    assert verdict() == verdict(**edge) == []
    assert verdict("diverged") == ["the search diverged"]
    assert judge({}, "diverged", params(), 10)["failures"] == ["the search diverged"]
    assert verdict(operations="float", flips=0.0) == []  # it has no binary weights
