"""IR-Net (Qin et al., CVPR 2020) and AdaBin (Tu et al., ECCV 2022): gradients that sharpen over training."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import Field
from torch import nn

from bars.binarize.activations import AdaBinActivation, EdeSign
from bars.binarize.weights import AdaBinWeight, LibraSign
from bars.models.baselines.family import Context
from bars.models.blocks import ResidualBlock, StemKind, binary, hardtanh, strided

Positive = Annotated[float, Field(gt=0)]


def resnet18_irnet(
    ctx: Context, *, t_min: Positive = 0.1, t_max: Positive = 10.0, stem: StemKind | None = None
) -> nn.Module:
    """ResNet-18 as in IR-Net's CIFAR code: two convolutions per shortcut, hardtanh, a norm before the classifier."""
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
    """ResNet-18 with AdaBin's two learned levels per layer, a shortcut around every convolution. Not in the table."""
    conv = binary(lambda k: AdaBinWeight(t_min, t_max), lambda c: AdaBinActivation(t_min, t_max))
    block = partial(ResidualBlock, conv=conv, order="conv_bn", span=1, downsample=strided, activation=hardtanh)
    return ctx.resnet(block, (4, 4, 4, 4), stem=stem, imagenet_stem="imagenet")
