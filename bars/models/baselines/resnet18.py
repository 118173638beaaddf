"""ResNet-18 as others have made it binary, by quantizers, order of norm, shortcuts and activation; and in floats."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from bars.binarize.activations import ABCActivation, AdaBinActivation, ApproxSign, EdeSign, RSign, SignActivation
from bars.binarize.weights import AdaBinWeight, Bases, BiRealSign, Circulant, LibraSign, Projected
from bars.cost import RESIDUAL_CHANNELS
from bars.models.baselines.family import Context
from bars.models.blocks import (
    ResidualBlock,
    RPReLU,
    StemKind,
    binary,
    float_conv,
    hardtanh,
    pooled_first,
    pooled_last,
    relu,
    strided,
)
from bars.params import PositiveInt

Positive = Annotated[float, Field(gt=0)]


def resnet18_bireal(ctx: Context, *, stem: StemKind | None = None) -> nn.Module:
    """Bi-Real Net-18 (Liu et al., ECCV 2018): triangular sign gradient, no activation function."""
    conv = binary(lambda k: BiRealSign(), lambda c: ApproxSign())
    block = partial(ResidualBlock, conv=conv, order="conv_bn", span=1, downsample=pooled_first)
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


def resnet18_abc(
    ctx: Context, *, weight_bases: PositiveInt = 1, activation_bases: Literal[1, 3, 5] = 1, stem: StemKind | None = None
) -> nn.Module:
    """ABC-Net-18 (Lin et al., NIPS 2017): M weight and N activation bases; binary shortcuts."""
    conv = binary(lambda k: Bases(weight_bases), lambda c: ABCActivation(activation_bases))

    def downsample(c_in: int, c_out: int, stride: int) -> nn.Module:
        return nn.Sequential(conv(c_in, c_out, 1, stride=stride), nn.BatchNorm2d(c_out))

    block = partial(ResidualBlock, conv=conv, order="bn_conv", span=1, downsample=downsample)
    return ctx.resnet(block, (4, 4, 4, 4), stem=stem, imagenet_stem="imagenet")


def resnet18_cbcn(ctx: Context, *, wide: bool = True, stem: StemKind | None = None) -> nn.Module:
    """CBCN-18 (Liu et al., CVPR 2019): circulant filters; ``wide``: 64-128-256-512, as Table 2's BiOps ask.

    Not wide: the author code's 64-64-128-256, whose downsampling pools after the 1x1 convolution.
    """
    conv = binary(lambda k: Circulant(4), lambda c: ApproxSign())
    downsample = pooled_first if wide else pooled_last
    block = partial(ResidualBlock, conv=conv, order="bn_conv", span=1, downsample=downsample, activation=nn.PReLU)
    channels = RESIDUAL_CHANNELS if wide else (64, 64, 128, 256)
    return ctx.resnet(block, (4, 4, 4, 4), channels=channels, stem=stem, imagenet_stem="imagenet", activation=nn.PReLU)


def resnet18_irnet(
    ctx: Context, *, t_min: Positive = 0.1, t_max: Positive = 10.0, stem: StemKind | None = None
) -> nn.Module:
    """IR-Net (Qin et al., CVPR 2020), its CIFAR code: two convolutions per shortcut, a norm before the classifier."""
    conv = binary(lambda k: LibraSign(t_min, t_max), lambda c: EdeSign(t_min, t_max))
    block = partial(ResidualBlock, conv=conv, order="conv_bn", span=2, downsample=strided, activation=hardtanh)
    return ctx.resnet(
        block,
        (2, 2, 2, 2),
        stem=stem,
        imagenet_stem="imagenet",
        head=lambda c, classes: nn.Sequential(nn.BatchNorm1d(c), nn.Linear(c, classes)),
    )


def resnet18_adabin(
    ctx: Context, *, t_min: Positive = 0.1, t_max: Positive = 10.0, stem: StemKind | None = None
) -> nn.Module:
    """AdaBin (Tu et al., ECCV 2022): two learned levels per layer, a shortcut per convolution. Not in the table."""
    conv = binary(lambda k: AdaBinWeight(t_min, t_max), lambda c: AdaBinActivation(t_min, t_max))
    block = partial(ResidualBlock, conv=conv, order="conv_bn", span=1, downsample=strided, activation=hardtanh)
    return ctx.resnet(block, (4, 4, 4, 4), stem=stem, imagenet_stem="imagenet")


def resnet18_float(ctx: Context, *, stem: StemKind | None = None) -> nn.Module:
    """ResNet-18 in full precision. Not in the paper's table."""
    block = partial(ResidualBlock, conv=float_conv, order="conv_bn", span=2, downsample=strided, activation=relu)
    return ctx.resnet(block, (2, 2, 2, 2), stem=stem, imagenet_stem="conv7", activation=relu)
