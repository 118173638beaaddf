from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bars.cost import ExpectedBiops, genotype_cost, max_biops, min_biops
from bars.errors import SpaceError
from bars.models.network import Network
from bars.params import BinarizeParams, SpaceParams
from bars.space import Genotype, SearchSpace, StageGenotype
from tests.architectures import one_hot_probs, random_genotype, random_space, space_params
from tests.blocks import block


def expected(params: SpaceParams, image_size: int, *probs: torch.Tensor) -> float:
    arrays = (p.double().numpy() for p in probs)
    return float(ExpectedBiops(params, image_size, lambda v: np.asarray(v, dtype=float))(*arrays))


@given(st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_expected_cost_at_one_hot_is_exact(seed: int) -> None:
    rng = random.Random(seed)
    params = random_space(rng)
    genotype = random_genotype(SearchSpace.from_params(params), rng)
    assert expected(params, 32, *one_hot_probs(genotype)) == genotype_cost(params, genotype, 32, 10).biops


@pytest.mark.parametrize("cells_per_stage", [1, 2])
def test_expected_cost_is_the_mean_over_all_architectures(cells_per_stage: int) -> None:
    """Brute force: enumerate depths and widths, and use linearity for the edges by sampling one-hot ops exactly."""
    params = space_params(stages=2, cells_per_stage=cells_per_stage, nodes=1, widths=(0.5, 1.0))
    space = SearchSpace.from_params(params)
    torch.manual_seed(0)
    op = torch.softmax(torch.randn(len(space.all_types), 1, 3).double(), -1)
    depth = torch.softmax(torch.randn(2, cells_per_stage + 1).double(), -1)
    width = torch.softmax(torch.randn(2, 2).double(), -1)
    mean = 0.0
    ranges = [range(3)] * len(space.all_types) + [range(cells_per_stage + 1)] * 2 + [range(2)] * 2
    for pick in np.ndindex(*(len(r) for r in ranges)):
        ops, depths, widths = pick[: len(space.all_types)], pick[-4:-2], pick[-2:]
        cells = {name: {(0, 1): space.primitives[o]} for name, o in zip(space.all_types, ops, strict=True)}
        stages = tuple(StageGenotype(d, space.widths[w]) for d, w in zip(depths, widths, strict=True))
        p = np.prod([op[t, 0, o] for t, o in enumerate(ops)])
        p *= np.prod([depth[s, d] for s, d in enumerate(depths)]) * np.prod([width[s, w] for s, w in enumerate(widths)])
        mean += float(p) * genotype_cost(params, Genotype(space, stages, cells), 8, 10).biops
    assert expected(params, 8, op, depth, width) == pytest.approx(mean, rel=1e-9)


def test_expected_cost_has_gradients_everywhere() -> None:
    params = space_params()
    space = SearchSpace.from_params(params)
    logits = [torch.zeros(4, 10, 3), torch.zeros(3, 3), torch.zeros(3, 4)]
    probs = [torch.softmax(v.double().requires_grad_(), -1) for v in logits]
    for p in probs:
        p.retain_grad()
    ExpectedBiops(params, 32, lambda v: torch.tensor(v, dtype=torch.float64))(*probs).backward()
    conv = space.primitives.index("binary_conv_3x3")
    assert (probs[0].grad[..., conv] > 0).all()
    assert (probs[2].grad > 0).all()
    assert probs[1].grad.abs().sum() > 0


# The three architectures of the 72-channel space that agree with Table 2's printed counts: widths, depths,
# convolutions per cell of each stage, convolutions of the reduction cell leaving node 0 and between nodes.
PRINTED = [
    ((0.75, 0.25, 0.5), (3, 1, 2), (5, 2, 1), (2, 0), (2, 1027, 2.77)),
    ((0.5, 1.0, 0.5), (3, 3, 3), (1, 1, 1), (2, 3), (2, 2096, 6.07)),
    ((1.0, 0.75, 0.75), (2, 2, 3), (8, 6, 0), (3, 6), (3, 3747, 10.76)),
]


@pytest.mark.parametrize(("widths", "depths", "convs", "reduction", "printed"), PRINTED)
def test_reconstructions_have_the_printed_counts(
    widths: tuple[float, ...],
    depths: tuple[int, ...],
    convs: tuple[int, ...],
    reduction: tuple[int, int],
    printed: tuple[int, int, float],
) -> None:
    params = space_params(init_channels=72, cells_per_stage=3)
    space = SearchSpace.from_params(params)

    def pick(edges: list[tuple[int, int]], n: int) -> dict[tuple[int, int], str]:
        return {e: "binary_conv_3x3" if i < n else "shortcut" for i, e in enumerate(edges)}

    cells = {f"normal-{s + 1}": pick(list(space.edges), n) for s, n in enumerate(convs)}
    leaving = [e for e in space.edges if e[0] == 0]
    between = [e for e in space.edges if e[0] != 0]
    cells["reduction"] = pick(leaving, reduction[0]) | pick(between, reduction[1])
    stages = tuple(StageGenotype(d, w) for d, w in zip(depths, widths, strict=True))
    cost = genotype_cost(params, Genotype(space, stages, cells), 32, 10)
    assert (cost.flops // 10**6, cost.biops // 10**6) == printed[:2]
    assert cost.params / 1e6 == pytest.approx(printed[2], abs=0.005)


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_parameters_equal_those_of_the_built_network(seed: int) -> None:
    rng = random.Random(seed)
    params = random_space(rng)
    genotype = random_genotype(SearchSpace.from_params(params), rng)
    network = Network(params, block(BinarizeParams), genotype, 32, 10)
    assert genotype_cost(params, genotype, 32, 10).params == sum(p.numel() for p in network.parameters())


def test_largest_and_smallest() -> None:
    params = space_params()
    rng = random.Random(1)
    space = SearchSpace.from_params(params)
    drawn = [genotype_cost(params, random_genotype(space, rng), 32, 10).biops for _ in range(200)]
    assert min_biops(params, 32) <= min(drawn) and max(drawn) <= max_biops(params, 32)


@pytest.mark.parametrize(("changes", "size"), [({"init_channels": 3}, 32), ({}, 30), ({"stem": "imagenet"}, 8)])
def test_impossible_shapes_are_refused(changes: dict[str, object], size: int) -> None:
    with pytest.raises(SpaceError):
        max_biops(space_params(**changes), size)
