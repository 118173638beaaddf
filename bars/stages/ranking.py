"""One architecture of the ranking: drawn within a search's budget, scored by that search's supernets, seed by seed."""

from __future__ import annotations

import torch
from torch import Tensor

from bars.cost import genotype_cost
from bars.data import Part
from bars.models.network import Network
from bars.params import BinarizeParams, DeriveParams, RuntimeParams, SpaceParams
from bars.stages.derive import DeriveResult, Scorer, Window, candidate_row, random_candidate
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
    of_images = valid.image_size, valid.num_classes
    draw = random_candidate(space, params, Window.of(params, budget_biops), *of_images, seed, "ranked architecture")
    cost = genotype_cost(space, draw.genotype, *of_images)
    Runtime.resolve(runtime)
    torch.manual_seed(seed_of(seed, "network"))
    network = Network(space, binarize, draw.genotype, *of_images)
    batches = valid.batches(PROXY_IMAGES, device="cpu", augment=False, seed=0, epoch=0, drop_last=False)
    images, labels = next(iter(batches))
    proxies = {"gradient_norm": gradient_norm(network, images, labels), "naswot": naswot(network, images)}
    rows = []
    for i, (source, state) in enumerate(states.items()):
        score = Scorer(space, binarize, runtime, state, valid, params)(draw.genotype)
        rows.append(candidate_row(source, draw, cost, score, chosen=i == 0) | proxies)
    return DeriveResult(draw.genotype, rows)
