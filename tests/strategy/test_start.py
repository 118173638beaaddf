"""A search that begins at its budget begins at chance: what it draws is what uniform draws at that budget are."""

from __future__ import annotations

import random
from statistics import mean

import pytest
import torch

from bars.cost import ExpectedBiops, genotype_cost, max_biops, min_biops
from bars.params import SpaceParams
from bars.space import Genotype, SearchSpace
from bars.strategy.distribution import Distribution
from bars.strategy.objective import AlphaGradient, Objective
from bars.strategy.start import move_to_budget
from bars.training.optimizers import Adam
from tests.architectures import random_genotype, space_params
from tests.blocks import search_params

SPACE = space_params(stages=3, cells_per_stage=2, nodes=4, init_channels=8)


def at_budget(budget: float, space: SpaceParams = SPACE) -> tuple[Distribution, float]:
    """A distribution moved to a budget, and its expectation."""
    distribution = Distribution(SearchSpace.from_params(space), 0.0, torch.Generator())
    expected = ExpectedBiops(space, 16, lambda v: torch.tensor(v, dtype=torch.float64))
    move_to_budget(distribution, expected, budget)
    return distribution, expected(*distribution.probs()).item()


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.8])
def test_the_expectation_is_the_budget(share: float) -> None:
    budget = share * max_biops(SPACE, 16)
    assert at_budget(budget)[1] == pytest.approx(budget, rel=2e-3)


@pytest.mark.parametrize(("search_depth", "search_width"), [(False, True), (True, False), (False, False)])
def test_where_depth_or_width_is_not_searched_too(search_depth: bool, search_width: bool) -> None:
    space = SPACE.model_copy(update={"search_depth": search_depth, "search_width": search_width})
    assert at_budget(0.4 * max_biops(space, 16), space)[1] == pytest.approx(0.4 * max_biops(space, 16), rel=2e-3)


def test_an_expectation_out_of_reach_is_approached_and_nothing_overflows() -> None:
    for budget in (min_biops(SPACE, 16) / 2, max_biops(SPACE, 16) * 2):
        distribution, expected = at_budget(budget)
        assert all(torch.isfinite(alpha).all() for alpha in distribution.alphas() if alpha is not None)
        assert min_biops(SPACE, 16) <= expected <= max_biops(SPACE, 16)


def traits(genotype: Genotype) -> tuple[float, float, float]:
    """Mean depth, mean width, share of convolutions."""
    names = [name for cell in genotype.cells.values() for name in cell.values()]
    stages = genotype.stages
    convs = sum(name.startswith("binary_conv") for name in names) / len(names)
    return mean(s.depth for s in stages), mean(s.width for s in stages), convs


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_its_draws_are_those_of_chance_at_the_budget(share: float) -> None:
    """Uniform architectures within 10 % of the budget, against draws from the moved distribution within it."""
    budget = share * max_biops(SPACE, 16)
    space, rng, noise = SearchSpace.from_params(SPACE), random.Random(0), torch.Generator().manual_seed(0)
    distribution = at_budget(budget)[0]

    def within(draw: list[Genotype]) -> list[tuple[float, float, float]]:
        return [traits(g) for g in draw if abs(genotype_cost(SPACE, g, 16, 10).biops / budget - 1) < 0.1]

    chance = within([random_genotype(space, rng) for _ in range(4000)])
    found = within([distribution.draw(noise) for _ in range(800)])
    assert len(chance) > 40 and len(found) > 40
    for ours, theirs, tolerance in zip(
        zip(*found, strict=True), zip(*chance, strict=True), (0.2, 0.1, 0.1), strict=True
    ):
        assert mean(ours) == pytest.approx(mean(theirs), abs=tolerance)


@pytest.mark.parametrize(("start", "chance"), [("uniform", False), ("budget", True)])
def test_the_budget_alone_decides_nothing_from_there(start: str, chance: bool) -> None:
    """Alpha steps without data. From a uniform start Adam spends three times the operations on convolutions first."""
    expected = ExpectedBiops(SPACE, 16, lambda v: torch.tensor(v, dtype=torch.float64))
    uniform = Distribution(SearchSpace.from_params(SPACE), 0.0, torch.Generator())
    budget = 3.0 * expected(*uniform.probs()).item()
    distribution = uniform if start == "uniform" else at_budget(budget)[0]
    wanted = at_budget(budget)[0].probs()[0][..., 0].mean().item()
    params = search_params(budget={"biops": round(budget)}, capacity_exponent=4.0, capacity_rate=0.02)
    objective = Objective(params, budget)
    optimizer = Adam(distribution.parameters(), 0.05, betas=(0.5, 0.99), weight_decay=0.0)
    parts = AlphaGradient(distribution.alphas())
    for _ in range(150):
        biops = expected(*distribution.probs())
        parts.set(objective.terms(torch.tensor(1.7), 0.0 * biops, biops, distribution.entropy(), 0.0))
        optimizer.step()
    assert expected(*distribution.probs()).item() == pytest.approx(budget, rel=0.1)
    convolutions = distribution.probs()[0][..., 0].mean().item()
    assert (abs(convolutions - wanted) < 0.1) == chance, (convolutions, wanted)
