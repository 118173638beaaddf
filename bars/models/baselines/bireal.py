"""Bi-Real Net and its descendants: a shortcut around every convolution, norm after it."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from bars.binarize.activations import ApproxSign, RSign, SignActivation
from bars.binarize.weights import BiRealSign, Projected
from bars.models.baselines.family import Context
from bars.models.blocks import ResidualBlock, RPReLU, StemKind, binary, no_activation, pooled_first


def resnet18_bireal(ctx: Context, *, stem: StemKind | None = None) -> nn.Module:
    """Bi-Real Net-18 (Liu et al., ECCV 2018): triangular sign gradient, no activation function."""
    conv = binary(lambda k: BiRealSign(), lambda c: ApproxSign())
    block = partial(
        ResidualBlock, conv=conv, order="conv_bn", span=1, downsample=pooled_first, activation=no_activation
    )
    return ctx.resnet(block, (4, 4, 4, 4), stem=stem, imagenet_stem="conv7")


def resnet18_react(ctx: Context, *, stem: StemKind | None = None) -> nn.Module:
    """ReActNet-18 (Liu et al., ECCV 2020): Bi-Real Net with learned thresholds and shifts. Not in the paper's table."""
    conv = binary(lambda k: BiRealSign(), RSign)
    block = partial(ResidualBlock, conv=conv, order="conv_bn", span=1, downsample=pooled_first, activation=RPReLU)
    return ctx.resnet(block, (4, 4, 4, 4), stem=stem, imagenet_stem="conv7")


def resnet18_pcnn(
    ctx: Context,
    *,
    projections: Literal[1, 2, 4] = 1,
    penalty: Annotated[float, Field(ge=0)] = 1e-4,
    stem: StemKind | None = None,
) -> nn.Module:
    """PCNN-18 (Gu et al., AAAI 2019): learned projections of the weights, whose loss enters the objective; PReLU."""
    conv = binary(lambda k: Projected(k, projections, penalty), lambda c: SignActivation(1.0))
    block = partial(ResidualBlock, conv=conv, order="conv_bn", span=1, downsample=pooled_first, activation=nn.PReLU)
    return ctx.resnet(block, (4, 4, 4, 4), stem=stem, imagenet_stem="conv7")
