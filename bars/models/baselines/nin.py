"""Network in Network with XNOR binarisation, as in the PyTorch port of XNOR-Net."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from bars.binarize.activations import SignActivation
from bars.binarize.weights import ScaledSign
from bars.models.baselines.family import Context
from bars.models.blocks import Baseline, GlobalPool, StemKind, binary


class BoundedNorm(nn.BatchNorm2d):
    """Batch norm whose scale stays at 0.01 or above, so that it never turns a sign round."""

    @torch.no_grad()
    def after_step(self) -> None:
        self.weight.clamp_min_(0.01)


def nin_xnor(
    ctx: Context, *, dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5, stem: StemKind | None = None
) -> nn.Module:
    """NiN: units of BN, sign, [dropout,] convolution with bias, ReLU; weights centred, scale per channel.

    In training, dropout zeroes half of the signs before the two spatial convolutions.
    """
    c = ctx.channels(192)

    def unit(c_in: int, c_out: int, kernel: int, drop: float = 0.0) -> nn.Module:
        def activation(channels: int) -> nn.Module:
            return nn.Sequential(SignActivation(1.0), nn.Dropout(drop)) if drop else SignActivation(1.0)

        conv = binary(lambda k: ScaledSign("channel", center=True), activation, bias=True)
        return nn.Sequential(BoundedNorm(c_in, eps=1e-4), conv(c_in, c_out, kernel), nn.ReLU())

    second, third = ctx.channels(160), ctx.channels(96)
    body = nn.Sequential(
        unit(c, second, 1),
        unit(second, third, 1),
        nn.MaxPool2d(3, 2, 1),
        unit(third, c, 5, dropout),
        unit(c, c, 1),
        unit(c, c, 1),
        nn.AvgPool2d(3, 2, 1),
        unit(c, c, 3, dropout),
        unit(c, c, 1),
        nn.BatchNorm2d(c, eps=1e-4),
    )
    first = nn.Sequential(nn.Conv2d(3, c, 5, padding=2), nn.BatchNorm2d(c, eps=1e-4, affine=False), nn.ReLU())
    if stem is not None or ctx.slot == "imagenet":
        first = nn.Sequential(ctx.stem(stem, "imagenet", c), nn.ReLU())
    return Baseline(first, body, nn.Sequential(nn.Conv2d(c, ctx.num_classes, 1), nn.ReLU(), GlobalPool()))
