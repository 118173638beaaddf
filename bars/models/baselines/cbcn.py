"""CBCN: circulant filters (Liu et al., CVPR 2019)."""

from __future__ import annotations

from functools import partial

from torch import nn

from bars.binarize.activations import ApproxSign
from bars.binarize.weights import Circulant
from bars.cost import RESIDUAL_CHANNELS
from bars.models.baselines.family import Context
from bars.models.blocks import ResidualBlock, StemKind, binary, pooled_first, pooled_last


def resnet18_cbcn(ctx: Context, *, wide: bool = True, stem: StemKind | None = None) -> nn.Module:
    """ResNet-18 of circulant filters with 4 orientations; ``wide``: 64-128-256-512, as Table 2's BiOps ask.

    Not wide: the author code's 64-64-128-256, whose downsampling pools after the 1x1 convolution.
    """
    conv = binary(lambda k: Circulant(4), lambda c: ApproxSign())
    downsample = pooled_first if wide else pooled_last
    block = partial(ResidualBlock, conv=conv, order="bn_conv", span=1, downsample=downsample, activation=nn.PReLU)
    channels = RESIDUAL_CHANNELS if wide else (64, 64, 128, 256)
    return ctx.resnet(block, (4, 4, 4, 4), channels=channels, stem=stem, imagenet_stem="imagenet", activation=nn.PReLU)
