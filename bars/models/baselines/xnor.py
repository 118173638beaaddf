"""XNOR networks of the BARS authors (ResNet-18, ResNet-34) and of the Beihang line of papers (WRN-40)."""

from __future__ import annotations

from functools import partial
from typing import Literal

from torch import nn

from bars.binarize.quantizers import ScaledSign, Scaling, SignActivation
from bars.models.baselines.family import Block, Context
from bars.models.blocks import BarsBlock, ResidualBlock, StemKind, bars_template, binary, no_activation, relu, strided


def resnet18_xnor(
    ctx: Context,
    *,
    downsample: Literal["float", "binary"] = "float",
    layout: Literal["bars", "plain"] = "bars",
    weight_scale: Scaling | None = None,
    stem: StemKind | None = None,
    blocks: tuple[int, int, int, int] = (2, 2, 2, 2),
) -> nn.Module:
    """ResNet-18 in the BARS authors' layout (their re-trained rows); ``plain``: BN, sign, convolution, shortcut, ReLU.

    ``weight_scale``: null takes binarize.weight_scale. The plain layout has float downsampling only.
    """
    binarize = ctx.binarize if weight_scale is None else ctx.binarize.model_copy(update={"weight_scale": weight_scale})
    block: Block = partial(BarsBlock, template=bars_template(binarize), downsample=downsample)
    if layout == "plain":
        conv = binary(
            lambda k: ScaledSign(binarize.weight_scale, binarize.weight_clip),
            lambda c: SignActivation(binarize.activation_clip),
        )
        block = partial(ResidualBlock, conv=conv, order="bn_conv", span=1, downsample=strided, activation=relu)
        blocks = (2 * blocks[0], 2 * blocks[1], 2 * blocks[2], 2 * blocks[3])
    return ctx.resnet(block, blocks, stem=stem, imagenet_stem="imagenet", activation=relu)


def resnet34_xnor(
    ctx: Context,
    *,
    downsample: Literal["float", "binary"] = "float",
    weight_scale: Scaling | None = None,
    stem: StemKind | None = None,
) -> nn.Module:
    """ResNet-34 in the BARS authors' layout."""
    return resnet18_xnor(ctx, downsample=downsample, weight_scale=weight_scale, stem=stem, blocks=(3, 4, 6, 3))


def wrn40_xnor(ctx: Context, *, stem: StemKind | None = None) -> nn.Module:
    """WRN-40 with kernel stages 64-64-128-256: BN before each sign, two convolutions per shortcut, channel scale."""
    conv = binary(lambda k: ScaledSign("channel"), lambda c: SignActivation(1.0))
    block = partial(ResidualBlock, conv=conv, order="bn_conv", span=2, downsample=strided, activation=no_activation)
    return ctx.resnet(
        block,
        (6, 6, 6),
        channels=(64, 128, 256),
        stem=stem,
        imagenet_stem="imagenet",
        tail=lambda c: (nn.BatchNorm2d(c), nn.ReLU()),
    )
