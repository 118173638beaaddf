"""What the networks of Table 2 are declared with: stems, shortcuts, residual blocks, the network around them.

A family picks a convolution (``binary(...)`` or ``float_conv``), a block and a stem; sizes that do not halve evenly
round up everywhere, so that no stride breaks a small image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bars.binarize.layers import BinaryConv2d
from bars.models.template import Template
from bars.models.unit import BinaryUnit
from bars.params import BinarizeParams

StemKind = Literal["cifar", "imagenet", "conv7"]
Order = Literal["bn_conv", "conv_bn"]
Activation = Callable[[int], nn.Module]  # channels -> module
Downsample = Callable[[int, int, int], nn.Module]  # c_in, c_out, stride -> module on the shortcut


# ------------------------------------------------------------------------------------------------ convolutions
class ConvFactory(Protocol):
    """Makes the convolutions of a network; padding keeps the size at stride 1."""

    def __call__(self, c_in: int, c_out: int, kernel: int, *, stride: int = 1, dilation: int = 1) -> nn.Module: ...


def binary(
    weight: Callable[[int], nn.Module], activation: Callable[[int], nn.Module], *, bias: bool = False
) -> ConvFactory:
    """Binary convolutions; quantizers of weights are made from the kernel size, of activations from the channels."""

    def conv(c_in: int, c_out: int, kernel: int, *, stride: int = 1, dilation: int = 1) -> nn.Module:
        return BinaryConv2d(
            c_in,
            c_out,
            kernel,
            stride=stride,
            padding=dilation * (kernel // 2),
            dilation=dilation,
            bias=bias,
            weight_quantizer=weight(kernel),
            activation_quantizer=activation(c_in),
        )

    return conv


def float_conv(c_in: int, c_out: int, kernel: int, *, stride: int = 1, dilation: int = 1) -> nn.Module:
    """A full-precision convolution without bias."""
    return nn.Conv2d(c_in, c_out, kernel, stride, dilation * (kernel // 2), dilation, bias=False)


# ------------------------------------------------------------------------------------------------ activations
def no_activation(channels: int) -> nn.Module:
    """Nothing between the units of a block."""
    return nn.Identity()


def relu(channels: int) -> nn.Module:
    """ReLU for any number of channels."""
    return nn.ReLU()


def hardtanh(channels: int) -> nn.Module:
    """Clamp to [-1, 1] for any number of channels."""
    return nn.Hardtanh()


class RPReLU(nn.Module):
    """PReLU with a learned shift per channel before and after it (ReActNet, ECCV 2020)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.before = nn.Parameter(torch.zeros(channels))
        self.prelu = nn.PReLU(channels)
        self.after = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        shape = (1, -1, 1, 1)
        y: Tensor = self.prelu(x - self.before.to(x.dtype).view(shape)) + self.after.to(x.dtype).view(shape)
        return y


# ------------------------------------------------------------------------------------------------ sizes
def even(x: Tensor) -> Tensor:
    """Repeat the last row or column of a feature map with an odd height or width."""
    height, width = x.shape[-2:]
    if height % 2 == 0 and width % 2 == 0:
        return x
    return F.pad(x, (0, width % 2, 0, height % 2), mode="replicate")


def halve() -> nn.Module:
    """2x2 average pooling, rounding up."""
    return nn.AvgPool2d(2, ceil_mode=True)


class GlobalPool(nn.Module):
    """[N, C, H, W] -> [N, C] by averaging."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


# ------------------------------------------------------------------------------------------------ shortcuts
class Pointwise(nn.Conv2d):
    """1x1 convolution of every ``step``-th pixel: what a stride says, of no more than the pixels that count.

    With the stride, oneDNN's AVX2 code (torch 2.14) writes past its memory in the weight's gradient for fewer than 8
    input channels, and the process dies some steps later.
    """

    def __init__(self, c_in: int, c_out: int, step: int) -> None:
        super().__init__(c_in, c_out, 1, bias=False)
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[:, :, :: self.step, :: self.step])


def strided(c_in: int, c_out: int, stride: int) -> nn.Module:
    """Float 1x1 convolution with the stride, batch norm."""
    return nn.Sequential(Pointwise(c_in, c_out, stride), nn.BatchNorm2d(c_out))


def pooled_first(c_in: int, c_out: int, stride: int) -> nn.Module:
    """Average pooling, float 1x1 convolution, batch norm: the same operations as ``strided``."""
    conv = nn.Conv2d(c_in, c_out, 1, bias=False)
    return nn.Sequential(*([halve()] if stride == 2 else []), conv, nn.BatchNorm2d(c_out))


def pooled_last(c_in: int, c_out: int, stride: int) -> nn.Module:
    """Float 1x1 convolution at full size, batch norm, average pooling: four times the operations of ``strided``."""
    conv = nn.Conv2d(c_in, c_out, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out), *([halve()] if stride == 2 else []))


# ------------------------------------------------------------------------------------------------ blocks
class ResidualBlock(nn.Module):
    """``span`` convolutions with batch norm under one shortcut; activation after each unit, the last one after the sum.

    [N, c_in, H, W] -> [N, c_out, H/stride, W/stride]; ``order`` puts the norm before or after the convolution.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        stride: int,
        *,
        conv: ConvFactory,
        order: Order,
        span: int,
        downsample: Downsample,
        activation: Activation = no_activation,
    ) -> None:
        super().__init__()
        units: list[nn.Module] = []
        for i in range(span):
            c = c_in if i == 0 else c_out
            layer = conv(c, c_out, 3, stride=stride if i == 0 else 1)
            units += [nn.BatchNorm2d(c), layer] if order == "bn_conv" else [layer, nn.BatchNorm2d(c_out)]
            if i < span - 1:
                units.append(activation(c_out))
        self.units = nn.Sequential(*units)
        self.downsample = nn.Identity() if stride == 1 and c_in == c_out else downsample(c_in, c_out, stride)
        self.activation = activation(c_out)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(self.units(x) + self.downsample(x))
        return y


class BarsOp(nn.Module):
    """BN, then the unit of BARS's own cells with its shortcut: y = ReLU(bconv(sign z) + S(z)), z = BN(x).

    S is the identity, or with stride 2 the 2x2 average with each channel twice; c_out = stride * c_in.
    """

    def __init__(self, c_in: int, c_out: int, stride: int, template: Template) -> None:
        super().__init__()
        self.stride = stride
        self.norm = template.normalize(c_in)  # the unit holds the affine part
        self.unit = BinaryUnit(c_in, c_out, 3, template, stride=stride, shortcut=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.unit(self.norm(x if self.stride == 1 else even(x)))
        return y


class BarsBlock(nn.Module):
    """The cell of the BARS authors' ResNets: two BarsOps, each with a shortcut around it, so two shortcuts per op.

    The outer shortcut of a strided op is ``downsample``: "float" (1x1, BN, ReLU) or "binary" (another BarsOp).
    """

    def __init__(self, c_in: int, c_out: int, stride: int, *, template: Template, downsample: str) -> None:
        super().__init__()
        self.first = BarsOp(c_in, c_out, stride, template)
        self.second = BarsOp(c_out, c_out, 1, template)
        self.downsample: nn.Module = nn.Identity()
        if stride == 2:
            projection = nn.Sequential(strided(c_in, c_out, stride), nn.ReLU())
            self.downsample = projection if downsample == "float" else BarsOp(c_in, c_out, stride, template)

    def forward(self, x: Tensor) -> Tensor:
        middle: Tensor = self.first(x) + self.downsample(x)
        out: Tensor = self.second(middle) + middle
        return out


def bars_template(binarize: BinarizeParams) -> Template:
    """The template of BARS's units for a network outside its search space."""
    return Template(
        nodes=1,
        op_shortcut=True,
        cell_shortcut=True,
        staggered=True,
        reduction_shortcut="binary_conv",
        preprocess_shortcut=False,
        norm="edge",
        binarize=binarize,
        track=True,
        mask_activations=False,
    )


# ------------------------------------------------------------------------------------------------ stems, networks
def make_stem(kind: StemKind, channels: int, activation: Activation = no_activation) -> nn.Module:
    """Full-precision stem, [N, 3, H, W] -> [N, channels, h, w].

    cifar: 3x3 at full size. imagenet: the BARS authors' two 3x3 with stride 2 (a quarter of the size; nothing after the
    last norm). conv7: the usual 7x7 with stride 2 and 3x3 max pooling (a quarter).
    """
    if kind == "cifar":
        conv = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(channels), activation(channels))
    if kind == "conv7":
        conv = nn.Conv2d(3, channels, 7, 2, 3, bias=False)
        pool = nn.MaxPool2d(3, 2, 1)
        return nn.Sequential(conv, nn.BatchNorm2d(channels), activation(channels), pool)
    half = channels // 2
    return nn.Sequential(
        nn.Conv2d(3, half, 3, 2, 1, bias=False),
        nn.BatchNorm2d(half),
        nn.ReLU(),
        nn.Conv2d(half, channels, 3, 2, 1, bias=False),
        nn.BatchNorm2d(channels),
    )


class Baseline(nn.Module):
    """Images [N, 3, H, W] -> logits [N, classes] through a float stem, a body, and a float head."""

    def __init__(self, stem: nn.Module, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.stem, self.body, self.head = stem, body, head

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(self.stem(images)))
        return logits


def stack(
    block: Callable[[int, int, int], nn.Module], c_in: int, channels: Sequence[int], blocks: Sequence[int]
) -> list[nn.Module]:
    """Stages of blocks; each stage but the first begins with stride 2."""
    layers = []
    for stage, (c_out, count) in enumerate(zip(channels, blocks, strict=True)):
        for i in range(count):
            layers.append(block(c_in, c_out, 2 if stage > 0 and i == 0 else 1))
            c_in = c_out
    return layers
