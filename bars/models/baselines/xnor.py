"""XNOR networks of the BARS authors (ResNet-18, ResNet-34) and of the Beihang line of papers (WRN-40)."""

from __future__ import annotations

from functools import partial
from typing import Literal

from torch import nn

from bars.binarize.activations import SignActivation
from bars.binarize.weights import ScaledSign, Scaling
from bars.cost import RESIDUAL_BLOCKS
from bars.models.baselines.family import Block, Context
from bars.models.blocks import BarsBlock, ResidualBlock, StemKind, bars_template, binary, no_activation, relu, strided
from bars.params import BinarizeParams


def resnet18_xnor(
    ctx: Context,
    *,
    downsample: Literal["float", "binary"] = "float",
    layout: Literal["bars", "plain"] = "bars",
    weight_scale: Scaling | None = None,
    stem: StemKind | None = None,
) -> nn.Module:
    """ResNet-18 in the BARS authors' layout (their re-trained rows); ``plain``: BN, sign, convolution, shortcut, ReLU.

    ``weight_scale``: null takes binarize.weight_scale.
    """
    binarize = _binarize(ctx, weight_scale)
    if layout == "bars":
        block: Block = partial(BarsBlock, template=bars_template(binarize), downsample=downsample)
        return ctx.resnet(block, RESIDUAL_BLOCKS["resnet18-xnor"], stem=stem, imagenet_stem="imagenet", activation=relu)
    conv = binary(
        lambda k: ScaledSign(binarize.weight_scale, binarize.weight_clip, gradient=binarize.weight_gradient),
        lambda c: SignActivation(binarize.activation_clip),
    )

    def binary_down(c_in: int, c_out: int, stride: int) -> nn.Module:
        return nn.Sequential(nn.BatchNorm2d(c_in), conv(c_in, c_out, 3, stride=stride))

    down = strided if downsample == "float" else binary_down
    block = partial(ResidualBlock, conv=conv, order="bn_conv", span=1, downsample=down, activation=relu)
    return ctx.resnet(block, (4, 4, 4, 4), stem=stem, imagenet_stem="imagenet", activation=relu)


def resnet34_xnor(
    ctx: Context,
    *,
    downsample: Literal["float", "binary"] = "float",
    weight_scale: Scaling | None = None,
    stem: StemKind | None = None,
) -> nn.Module:
    """ResNet-34 in the BARS authors' layout."""
    block = partial(BarsBlock, template=bars_template(_binarize(ctx, weight_scale)), downsample=downsample)
    return ctx.resnet(block, RESIDUAL_BLOCKS["resnet34-xnor"], stem=stem, imagenet_stem="imagenet", activation=relu)


def _binarize(ctx: Context, weight_scale: Scaling | None) -> BinarizeParams:
    """The binarisation of params.yaml, with the option's weight scale where it is given."""
    return ctx.binarize if weight_scale is None else ctx.binarize.model_copy(update={"weight_scale": weight_scale})


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
