"""One architecture of the ranking: drawn within a search's budget, scored by that search's supernets, seed by seed."""

from __future__ import annotations

import random

import torch
from torch import Tensor

from bars.data import Part
from bars.models.network import Network
from bars.params import BinarizeParams, DeriveParams, RuntimeParams, SpaceParams
from bars.space import SearchSpace
from bars.stages.derive import (
    CostOf,
    DeriveResult,
    Scorer,
    Window,
    candidate_row,
    draw_within,
    uniform_genotype,
)
from bars.strategy.proxies import gradient_norm, naswot
from bars.training.runtime import Runtime
from bars.training.seeds import seed_of

PROXY_IMAGES = 64


def rank(
    space: SpaceParams,
    binarize: BinarizeParams,
    params: DeriveParams,
    runtime: RuntimeParams,
    budget_biops: int,
    valid: Part,
    states: dict[int, dict[str, Tensor]],
    seed: int,
) -> DeriveResult:
    """A uniform draw within the budget, and for each supernet (by the seed of its search) the score that derive gives.

    The predictors without training see a batch of valid and the retraining's initial weights. Raises BudgetError.
    """
    combinations, rng = SearchSpace.from_params(space), random.Random(seed_of(seed, "ranked architecture"))
    window, cost = Window(budget_biops, params.budget_tolerance), CostOf(space, valid.image_size, valid.num_classes)
    (draw,) = draw_within(lambda: uniform_genotype(combinations, rng), 1, window, params.max_draws, cost)
    Runtime.resolve(runtime)
    torch.manual_seed(seed_of(seed, "network"))
    network = Network(space, binarize, draw.genotype, valid.image_size, valid.num_classes)
    batches = valid.batches(PROXY_IMAGES, device="cpu", augment=False, seed=0, epoch=0, drop_last=False)
    images, labels = next(iter(batches))
    proxies = {"gradient_norm": gradient_norm(network, images, labels), "naswot": naswot(network, images)}
    rows = []
    for i, (source, state) in enumerate(states.items()):
        score = Scorer(space, binarize, runtime, state, valid, params)(draw.genotype)
        rows.append(candidate_row(source, draw, cost(draw.genotype), score, chosen=i == 0) | proxies)
    return DeriveResult(draw.genotype, rows)
