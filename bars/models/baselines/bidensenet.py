"""BinaryDenseNet (Bethge et al., 2019)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from bars.binarize.activations import SignActivation
from bars.binarize.weights import ScaledSign
from bars.models.baselines.family import Context
from bars.models.blocks import Baseline, GlobalPool, StemKind, binary, relu


class Plan(NamedTuple):
    """Layers per dense block, and by how much each transition divides the channels."""

    layers: tuple[int, int, int, int]
    reduction: tuple[float, float, float]


PLANS = {
    28: Plan((6, 6, 6, 5), (2.7, 2.7, 2.2)),
    37: Plan((6, 8, 12, 6), (3.3, 3.3, 4.0)),
    45: Plan((6, 12, 14, 8), (2.7, 3.3, 4.0)),
}


class DenseLayer(nn.Module):
    """[N, C, H, W] -> [N, C + growth, H, W]: BN, sign, 3x3 without weight scale, appended to the input."""

    def __init__(self, c_in: int, growth: int) -> None:
        super().__init__()
        conv = binary(lambda k: ScaledSign("none", clip=1.3), lambda c: SignActivation(1.3))
        self.unit = nn.Sequential(nn.BatchNorm2d(c_in), conv(c_in, growth, 3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.unit(x)], 1)


class Transition(nn.Module):
    """BN, 2x2 max pooling, ReLU, and a float 1x1 convolution to fewer channels."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        pool = nn.MaxPool2d(2, ceil_mode=True)
        self.transition = nn.Sequential(nn.BatchNorm2d(c_in), pool, nn.ReLU(), nn.Conv2d(c_in, c_out, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.transition(x)
        return y


def bidensenet_xnor(ctx: Context, *, depth: Literal[28, 37, 45] = 45, stem: StemKind | None = None) -> nn.Module:
    """BinaryDenseNet-28, -37 or -45; 45 is nearest to the table's parameters."""
    plan, growth, step = PLANS[depth], ctx.channels(64), ctx.channels(32)
    c = ctx.channels(64)
    first = ctx.stem(stem, "conv7", c, relu)
    layers: list[nn.Module] = []
    for block, count in enumerate(plan.layers):
        for _ in range(count):
            layers.append(DenseLayer(c, growth))
            c += growth
        if block < len(plan.reduction):
            c_out = max(1, round(c // plan.reduction[block] / step)) * step
            layers.append(Transition(c, c_out))
            c = c_out
    return Baseline(
        first,
        nn.Sequential(*layers, nn.BatchNorm2d(c), nn.ReLU(), GlobalPool()),
        nn.Linear(c, ctx.num_classes),
    )
