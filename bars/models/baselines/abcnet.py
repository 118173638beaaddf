"""ABC-Net: linear combinations of binary bases (Lin et al., NIPS 2017)."""

from __future__ import annotations

from functools import partial
from typing import Literal

from torch import nn

from bars.binarize.activations import ABCActivation
from bars.binarize.weights import Bases
from bars.models.baselines.family import Context
from bars.models.blocks import ResidualBlock, StemKind, binary, no_activation
from bars.params import PositiveInt


def resnet18_abc(
    ctx: Context, *, weight_bases: PositiveInt = 1, activation_bases: Literal[1, 3, 5] = 1, stem: StemKind | None = None
) -> nn.Module:
    """ResNet-18 with M weight and N activation bases; the shortcuts' 1x1 convolutions are binary too."""
    conv = binary(lambda k: Bases(weight_bases), lambda c: ABCActivation(activation_bases))

    def downsample(c_in: int, c_out: int, stride: int) -> nn.Module:
        return nn.Sequential(conv(c_in, c_out, 1, stride=stride), nn.BatchNorm2d(c_out))

    block = partial(ResidualBlock, conv=conv, order="bn_conv", span=1, downsample=downsample, activation=no_activation)
    return ctx.resnet(block, (4, 4, 4, 4), stem=stem, imagenet_stem="imagenet")
