from __future__ import annotations

import math
import random

import pytest
import torch

from bars.errors import RecordError
from bars.models.supernet import DECISIONS
from bars.params import Ramp
from bars.space import SearchSpace
from bars.strategy.distribution import Distribution, relax, straight_through
from bars.strategy.schedules import cosine, ramp
from tests.architectures import random_space, space_params


def distribution(**changes: object) -> Distribution:
    return Distribution(SearchSpace.from_params(space_params(**changes)), 1.0, torch.Generator().manual_seed(0))


def test_gumbel_softmax_draws_the_categorical_distribution() -> None:
    """argmax of (alpha + g) / tau has probabilities softmax(alpha), whatever tau is."""
    alpha = torch.tensor([1.0, 0.0, -1.0, 0.5])
    generator = torch.Generator().manual_seed(0)
    drawn = relax(alpha.expand(40_000, 4), 0.7, generator)
    torch.testing.assert_close(drawn.sum(-1), torch.ones(40_000))
    frequency = torch.bincount(drawn.argmax(-1), minlength=4) / 40_000
    torch.testing.assert_close(frequency, torch.softmax(alpha, 0), atol=0.01, rtol=0)


@pytest.mark.parametrize("temperature", [0.05, 100.0])
def test_temperature_sharpens_and_flattens(temperature: float) -> None:
    drawn = relax(torch.zeros(2_000, 3), temperature, torch.Generator().manual_seed(0))
    largest = drawn.max(-1).values.mean()
    assert largest > 0.95 if temperature < 1 else largest < 0.36


def test_plain_softmax_draws_nothing() -> None:
    alpha = torch.tensor([[0.0, math.log(3)]])
    torch.testing.assert_close(relax(alpha, 1.0, None), torch.tensor([[0.25, 0.75]]))


def test_straight_through_is_one_hot_with_the_relaxed_gradient() -> None:
    alpha = torch.tensor([0.3, -0.2, 0.9], requires_grad=True)
    relaxed = torch.softmax(alpha, -1)
    hard = straight_through(relaxed)
    assert torch.equal((hard > 0.5).float(), torch.tensor([0.0, 0.0, 1.0]))
    weight = torch.tensor([1.0, 2.0, -3.0])
    (got,) = torch.autograd.grad((hard * weight).sum(), alpha, retain_graph=True)
    (wanted,) = torch.autograd.grad((relaxed * weight).sum(), alpha)
    torch.testing.assert_close(got, wanted)


def test_entropy_is_that_of_the_probabilities() -> None:
    d = distribution()
    total = 0.0
    for p in (torch.softmax(a, -1) for a in d.alphas() if a is not None):
        total += float(-(p * p.log()).sum().detach())
    assert float(d.entropy()) == pytest.approx(total, rel=1e-5)
    d.alpha_op.data.zero_()
    assert d.alpha_depth is not None and d.alpha_width is not None
    d.alpha_depth.data.zero_()
    d.alpha_width.data.zero_()
    assert d.mean_entropy() == pytest.approx(1.0)


@pytest.mark.parametrize("weight", [-1.0, 1.0])
def test_the_sign_of_the_entropy_weight_acts(weight: float) -> None:
    """Negative weight explores (entropy grows), positive weight decides (it shrinks): both phases of Sec. 4.2.2."""
    d = distribution()
    before = d.mean_entropy()
    optimizer = torch.optim.SGD(d.parameters(), lr=0.5)
    for _ in range(20):
        optimizer.zero_grad()
        (weight * d.entropy()).backward()
        optimizer.step()
    assert d.mean_entropy() > before if weight < 0 else d.mean_entropy() < before


def test_draws_follow_the_probabilities_and_argmax_is_the_mode() -> None:
    d = distribution(stages=1, cells_per_stage=1, nodes=1)
    generator = torch.Generator().manual_seed(0)
    draws = [d.draw(generator) for _ in range(4_000)]
    share = sum(g.cells["normal-1"][(0, 1)] == "binary_conv_3x3" for g in draws) / 4_000
    assert share == pytest.approx(float(d.probs()[0][0, 0, 0]), abs=0.03)
    assert d.argmax().stages[0].width == d.space.widths[int(d.probs()[2][0].argmax())]


def test_decisions_that_are_not_searched_are_fixed() -> None:
    d = distribution(search_depth=False, search_width=False)
    genotype = d.draw(torch.Generator().manual_seed(0))
    assert [(s.depth, s.width) for s in genotype.stages] == [(2, 1.0)] * 3
    assert d.probs()[1].tolist() == [[0.0, 0.0, 1.0]] * 3
    sample = d.sample("gumbel", 1.0, torch.Generator().manual_seed(0))
    assert sample.depth is None and sample.width is None


@pytest.mark.parametrize("kind", ["op", "depth", "width"])
def test_a_draw_may_be_one_hot_in_some_decisions_only(kind: str) -> None:
    d = distribution()
    relaxed, mixed = (d.sample("gumbel", 2.0, torch.Generator().manual_seed(1), chosen) for chosen in ((), (kind,)))
    for name, alpha in zip(("op", "depth", "width"), d.alphas(), strict=True):
        soft, drawn = getattr(relaxed, name), getattr(mixed, name)
        if name == kind:
            assert torch.allclose(drawn, torch.nn.functional.one_hot(soft.argmax(-1), soft.shape[-1]).float())
        else:
            assert torch.equal(drawn, soft)
        weights = torch.randn(soft.shape, generator=torch.Generator().manual_seed(2))
        gradients = [torch.autograd.grad((weights * t).sum(), alpha)[0] for t in (soft, drawn)]
        torch.testing.assert_close(*gradients)
    assert relaxed.genotype is None and mixed.genotype is not None
    computed = [name for name in DECISIONS if mixed.chosen(name) is not None]
    assert computed == ([] if kind == "width" else [kind])  # a relaxed depth mixes widths
    assert not mixed.complete and mixed.whole().chosen(kind) is None


def test_what_is_not_drawn_is_relaxed_and_what_is_hard_is_one_hot_throughout() -> None:
    d = distribution()
    noise = torch.Generator().manual_seed(1)
    assert torch.equal(d.sample("softmax", 1.0, noise, ("depth",)).depth, torch.softmax(d.alpha_depth, -1))
    assert all(set(t.round(decimals=5).unique().tolist()) == {0.0, 1.0} for t in d.sample("hard", 1.0, noise).tensors())


@pytest.mark.parametrize("seed", range(5))
def test_distribution_survives_json(seed: int) -> None:
    space = SearchSpace.from_params(random_space(random.Random(seed)))
    d = Distribution(space, 1.0, torch.Generator().manual_seed(seed))
    again = Distribution.from_json(d.to_json("completed", 3), space)
    for a, b in zip(d.alphas(), again.alphas(), strict=True):
        assert (a is None and b is None) or torch.equal(a, b)


@pytest.mark.parametrize(
    "damage", [{"op": {}}, {"op": None}, {"depth": None}, {"width": [[1.0]]}, {"op": "x"}, {"space": {}}]
)
def test_damaged_distribution_is_refused(damage: dict[str, object]) -> None:
    d = distribution()
    with pytest.raises(RecordError):
        Distribution.from_json(d.to_json("completed", 1) | damage, d.space)


def test_ramps() -> None:
    linear = Ramp(start=-0.01, end=0.01, shape="linear")
    assert [ramp(linear, e, 3) for e in range(3)] == pytest.approx([-0.01, 0.0, 0.01])
    exponential = Ramp(start=5.0, end=0.05, shape="exponential")
    assert [ramp(exponential, e, 3) for e in range(3)] == pytest.approx([5.0, 0.5, 0.05])
    assert ramp(Ramp(start=2.0, end=9.0, shape="constant"), 5, 10) == 2.0
    assert ramp(linear, 0, 1) == 0.01
    assert [cosine(1.0, 0.0, s) for s in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.5, 0.0])
