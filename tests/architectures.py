"""Random spaces and architectures for tests."""

from __future__ import annotations

import random

import torch

from bars.models.supernet import Sample
from bars.params import SpaceParams
from bars.space import Genotype, SearchSpace, StageGenotype
from tests.blocks import block

PRIMITIVES = ("binary_conv_3x3", "shortcut", "none")


def space_params(**changes: object) -> SpaceParams:
    values: dict[str, object] = {"stages": 3, "cells_per_stage": 2, "init_channels": 8, "primitives": PRIMITIVES}
    return block(SpaceParams, **(values | changes))


def random_space(rng: random.Random) -> SpaceParams:
    return space_params(
        stages=rng.choice([1, 2, 3]),
        cells_per_stage=rng.choice([1, 2, 3]),
        cell_types=rng.choice(["stage", "shared", "cell"]),
        norm=rng.choice(["edge", "node"]),
        op_shortcut=rng.random() < 0.7,
        cell_shortcut=rng.random() < 0.7,
        reduction_shortcut=rng.choice(["binary_conv", "avgpool"]),
        preprocess_shortcut=rng.random() < 0.3,
        head_norm=rng.random() < 0.3,
        stem=rng.choice(["cifar", "imagenet"]),
        stem_expand=rng.choice(["tile", "conv1x1"]),
        search_depth=rng.random() < 0.8,
        search_width=rng.random() < 0.8,
        primitives=rng.choice([PRIMITIVES, ("binary_conv_3x3", "binary_conv_5x5", "shortcut", "none")]),
    )


def random_genotype(space: SearchSpace, rng: random.Random) -> Genotype:
    stages = tuple(
        StageGenotype(rng.choice(space.depths), rng.choice(space.width_choices)) for _ in range(space.stages)
    )
    cells = {name: {edge: rng.choice(space.primitives) for edge in space.edges} for name in space.all_types}
    return Genotype(space, stages, cells)


def one_hot_probs(genotype: Genotype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Probabilities one and zero that pick the genotype: op, depth, width."""
    space = genotype.space
    op = [[[float(genotype.cells[t][e] == p) for p in space.primitives] for e in space.edges] for t in space.all_types]
    depth = [[float(s.depth == k) for k in range(space.cells_per_stage + 1)] for s in genotype.stages]
    width = [[float(s.width == w) for w in space.width_choices] for s in genotype.stages]
    return torch.tensor(op), torch.tensor(depth), torch.tensor(width)


def one_hot_sample(genotype: Genotype) -> Sample:
    """The genotype as a relaxed sample, which goes through the supernet's mask-and-sum path."""
    op, depth, width = one_hot_probs(genotype)
    space = genotype.space
    return Sample(op, depth if space.search_depth else None, width if space.search_width else None)
