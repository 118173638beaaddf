"""Images whose right architecture is known beforehand, and the search that has to find it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from bars.cost import ExpectedBiops
from bars.params import BinarizeParams, Budget, Health, Ramp, RuntimeParams, SearchParams, SpaceParams
from bars.space import Genotype, SearchSpace, StageGenotype
from bars.stages.search import Search
from bars.training.checkpoint import NoCheckpoint
from bars.training.progress import Silent
from tests.architectures import one_hot_probs, space_params
from tests.blocks import block

SIZE, COUNT, DISTANCE, PAIRS = 8, 512, 3, 3
SPACE: SpaceParams = space_params(stages=1, cells_per_stage=1, nodes=2, init_channels=8, widths=(0.25, 0.5, 1.0))


def far_pattern(seed: int) -> tuple[Tensor, Tensor]:
    """Two classes of bright pairs of dots: side by side or one above the other, three places apart.

    No 3x3 window holds both dots of a pair, so neither the stem nor a pooled channel tells the classes apart: only a
    convolution after the stem does.
    """
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (COUNT,), generator=g)
    images = torch.zeros(COUNT, SIZE, SIZE)
    for i in range(COUNT):
        for _ in range(PAIRS):
            row, column = torch.randint(0, SIZE, (2,), generator=g).tolist()
            other = (row, (column + DISTANCE) % SIZE) if labels[i] else ((row + DISTANCE) % SIZE, column)
            images[i, row, column] = images[i, other[0], other[1]] = 1.0
    return images[:, None].expand(-1, 3, -1, -1).contiguous(), labels


def mean_colour(seed: int) -> tuple[Tensor, Tensor]:
    """Two classes that differ in the mean of the first colour: linear in pooled channels, no convolution is needed."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (COUNT,), generator=g)
    images = torch.randn(COUNT, 3, SIZE, SIZE, generator=g)
    images[:, 0] += (labels.float() - 0.5)[:, None, None]
    return images, labels


class Planted:
    """Fixed images as a Part."""

    size, image_size, num_classes, name = COUNT, SIZE, 2, "planted"

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def steps(self, batch_size: int, drop_last: bool) -> int:
        return self.size // batch_size

    def batches(self, batch_size: int, *, epoch: int, **options: Any) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(self.size, generator=torch.Generator().manual_seed(epoch))
        for rows in order.split(batch_size):
            yield self.images[rows], self.labels[rows]


def cost_of(space: SpaceParams, depth: int, convolutions: int) -> int:
    """BiOps of a one-stage network of so many cells, each with so many convolutions, at its only width."""
    searched = SearchSpace.from_params(space)
    cell = {e: "binary_conv_3x3" if i < convolutions else "none" for i, e in enumerate(searched.edges)}
    genotype = Genotype(searched, (StageGenotype(depth, 1.0),), {name: cell for name in searched.all_types})
    expected = ExpectedBiops(space, SIZE, lambda v: torch.tensor(v, dtype=torch.float64))
    return round(float(expected(*(probs.double() for probs in one_hot_probs(genotype)))))


def found(task: Any, seed: int, space: SpaceParams = SPACE, **changes: Any) -> dict[str, float]:
    """Search, without a budget unless one is given: final probabilities of what was planted, and accuracy."""
    values: dict[str, Any] = {
        "epochs": 16,
        "batch_size": 32,
        "warmup_epochs": 6,
        "straight_through": ("op", "depth"),
        "alpha_start": "uniform",  # there is no budget
        "temperature": Ramp(start=2.0, end=0.5, shape="exponential"),
        "entropy_weight": Ramp(start=0.0, end=0.0, shape="constant"),
        "budget": Budget(biops=1),
        "capacity": "none",
        "capacity_exponent": 0.0,
        "capacity_rate": 0.0,
        "weight_optimizer": "adam",
        "weight_sampling": "same",
        "weight_momentum": 0.9,
        "weight_decay": 0.0,
        "weight_lr": 0.01,
        "weight_lr_end": 0.001,
        "grad_clip": None,
        "alpha_lr": 0.05,
        "health": Health(loss=0.98, flips=0.0, budget=1.0, entropy=1.0, entropy_pull=1e9),
    }
    parts: Any = [Planted(*task(100 * seed + i)) for i in range(2)]
    runtime = block(RuntimeParams, device="cpu")
    search = Search(space, block(BinarizeParams), block(SearchParams, **(values | changes)), runtime, *parts, seed)
    result = search.run(NoCheckpoint(), Silent())
    op, depth, width = (probs.detach() for probs in search.distribution.probs())
    names = {name: i for i, name in enumerate(search.space.primitives)}
    from_input = op[0, 0]  # the edge that every path through all nodes takes first
    return {
        "top1": result.epochs[-1]["valid_top1"],
        "conv": float(op[0, :, names["binary_conv_3x3"]].mean()),
        "conv_first": float(from_input[names["binary_conv_3x3"]]),
        "depth": float(depth[0, -1]),
        "no_cell": float(depth[0, 0]),
        "width": float((width[0] * torch.tensor(search.space.width_choices, dtype=width.dtype)).sum()),
        "ratio": result.epochs[-1]["budget_ratio"],
        "guessed": float(any("guessed" in failure for failure in result.distribution["verdict"]["failures"])),
    }
