"""The full-precision upper bound."""

from __future__ import annotations

from functools import partial

from torch import nn

from bars.models.baselines.family import Context
from bars.models.blocks import ResidualBlock, StemKind, float_conv, relu, strided


def resnet18_float(ctx: Context, *, stem: StemKind | None = None) -> nn.Module:
    """ResNet-18 in full precision. Not in the paper's table."""
    block = partial(ResidualBlock, conv=float_conv, order="conv_bn", span=2, downsample=strided, activation=relu)
    return ctx.resnet(block, (2, 2, 2, 2), stem=stem, imagenet_stem="conv7", activation=relu)
