"""Derive: from the architecture distribution to one genotype (BARS Sec. 4.3)."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from bars.cost import genotype_cost
from bars.data import Part
from bars.errors import BudgetError
from bars.models.supernet import Sample, Supernet
from bars.params import BinarizeParams, DeriveParams, RuntimeParams, SpaceParams
from bars.space import Genotype, SearchSpace, StageGenotype
from bars.stages.runtime import Runtime, generator, seed_of
from bars.strategy.distribution import Distribution


@dataclass(frozen=True)
class DeriveResult:
    """The chosen genotype and the rows of candidates.csv."""

    genotype: Genotype
    candidates: list[dict[str, Any]]


def derive(
    space: SpaceParams,
    binarize: BinarizeParams,
    params: DeriveParams,
    runtime: RuntimeParams,
    valid: Part,
    distribution_json: dict[str, Any],
    state: dict[str, torch.Tensor],
    seed: int,
) -> DeriveResult:
    """Draw K architectures, score each with the supernet's weights on all of valid, keep the lowest loss.

    The most likely architecture is scored too and marked; ``method: argmax`` takes it. One-hot architectures are
    scored, with the batch's own BN statistics (the authors scored relaxed samples and ranked them the wrong way round).
    """
    resolved = Runtime.resolve(runtime)
    distribution = Distribution.from_json(distribution_json, SearchSpace.from_params(space))
    supernet = Supernet(space, binarize, valid.image_size, valid.num_classes)
    supernet.load_state_dict(state)
    supernet.to(resolved.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    draws = generator(seed, "derive")
    genotypes = [distribution.draw(draws) for _ in range(params.samples)] + [distribution.argmax()]
    scores = {g: _score(supernet, g, valid, params.batch_size, resolved) for g in dict.fromkeys(genotypes)}
    if params.method == "argmax":
        chosen = len(genotypes) - 1
    else:
        chosen = min(range(params.samples), key=lambda i: scores[genotypes[i]][0])
    rows = []
    for i, genotype in enumerate(genotypes):
        cost = genotype_cost(space, genotype, valid.image_size, valid.num_classes)
        rows.append(
            {
                "index": i,
                "genotype_sha256": genotype.sha256,
                "valid_loss": scores[genotype][0],
                "valid_top1": scores[genotype][1],
                **cost._asdict(),
                "chosen": i == chosen,
                "argmax": i == len(genotypes) - 1,
                "genotype": json.dumps(genotype.to_json(), separators=(",", ":")),
            }
        )
    return DeriveResult(genotypes[chosen], rows)


@torch.no_grad()
def _score(
    supernet: Supernet, genotype: Genotype, valid: Part, batch_size: int, runtime: Runtime
) -> tuple[float, float]:
    """Mean loss and top-1 accuracy of one architecture on all of valid."""
    sample = Sample.one_hot(genotype)
    sums = torch.zeros(2, dtype=torch.float64)
    for images, labels in valid.batches(
        batch_size, device=runtime.device, augment=False, seed=0, epoch=0, drop_last=False
    ):
        with runtime.autocast():
            logits = supernet(images, sample).float()
        loss = F.cross_entropy(logits, labels, reduction="sum")
        sums += torch.stack([loss, (logits.argmax(1) == labels).sum()]).cpu().double()
    loss_sum, correct = sums.tolist()
    return loss_sum / valid.size, correct / valid.size


def random_genotype(
    space: SpaceParams,
    budget_biops: int,
    floor: float,
    image_size: int,
    num_classes: int,
    seed: int,
    tries: int = 200_000,
) -> Genotype:
    """A uniform draw among the architectures that use between ``floor`` and all of the budget. Raises BudgetError."""
    combinations = SearchSpace.from_params(space)
    rng = random.Random(seed_of(seed, "random architecture"))
    for _ in range(tries):
        stages = tuple(
            StageGenotype(rng.choice(combinations.depths), rng.choice(combinations.width_choices))
            for _ in range(combinations.stages)
        )
        cells = {
            name: {e: rng.choice(combinations.primitives) for e in combinations.edges}
            for name in combinations.all_types
        }
        genotype = Genotype(combinations, stages, cells)
        if floor * budget_biops <= genotype_cost(space, genotype, image_size, num_classes).biops <= budget_biops:
            return genotype
    raise BudgetError(
        "no architecture within the budget was drawn",
        where="search.budget",
        got=f"{budget_biops:,} BiOps, at least {floor:.0%} of it used",
        do=f"{tries:,} uniform draws missed it: lower derive.budget_floor or change the budget",
    )
