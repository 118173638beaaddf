"""The binary convolution, and the three broadcasts of what changes over training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from bars.binarize.convolution import conv2d
from bars.binarize.weights import WeightQuantizer


class BinaryConv2d(nn.Module):
    """Convolution of quantised activations [N, I, H, W] with quantised weights [O, I/groups, k, k].

    Padding is zero and comes after the sign, so it adds nothing to any sum.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
        weight_quantizer: nn.Module,
        activation_quantizer: nn.Module,
        init_std: float = 0.05,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel_size
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.weight_quantizer, self.activation_quantizer = weight_quantizer, activation_quantizer
        self.init_std = init_std
        shape: tuple[int, ...] = (out_channels, in_channels // groups, kernel_size, kernel_size)
        if isinstance(weight_quantizer, WeightQuantizer):
            shape = weight_quantizer.stored_shape(out_channels, in_channels // groups, kernel_size)
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the latent weight from N(0, init_std); BARS's code uses 0.05."""
        nn.init.normal_(self.weight, std=self.init_std)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    @property
    def bases(self) -> int:
        """Binary convolutions that this layer costs: M x N with M weight and N activation bases, else 1."""
        return int(getattr(self.weight_quantizer, "bases", 1)) * int(getattr(self.activation_quantizer, "bases", 1))

    def forward(self, x: Tensor) -> Tensor:
        stride = self.stride
        if self.kernel_size == 1:  # as bars.models.blocks.Pointwise, for its reason
            x, stride = x[:, :, ::stride, ::stride], 1
        return conv2d(
            self.activation_quantizer(x),
            self.quantised_weight(),
            self.bias,
            stride,
            self.padding,
            self.dilation,
            self.groups,
        )

    @torch.no_grad()
    def fix_weight(self) -> None:
        """Put the quantised weight in the place of the latent one, for a network that is run and not trained."""
        self.weight = nn.Parameter(self.quantised_weight())
        self.weight_quantizer = nn.Identity()

    def quantised_weight(self) -> Tensor:
        """The weight with which it convolves, [O, I/groups, k, k]."""
        weight: Tensor = self.weight_quantizer(self.weight)
        return weight

    @property
    def has_binary_weight(self) -> bool:
        """Whether its weight is binarised at all."""
        return isinstance(self.weight_quantizer, WeightQuantizer)

    def weight_signs(self) -> Tensor:
        """Whether each binary weight is +1, without gradient."""
        return cast(WeightQuantizer, self.weight_quantizer).before_sign(self.weight.detach()) >= 0

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, groups={self.groups}, bias={self.bias is not None}"
        )


def _having(model: nn.Module, method: str) -> Iterator[Any]:
    """Modules whose class has ``method``; a missing attribute of a module, not of its class, is slow to look up."""
    return (module for module in model.modules() if hasattr(type(module), method))


def set_progress(model: nn.Module, p: float) -> None:
    """Tell every module with ``set_progress`` which share p in [0, 1] of training is done (IR-Net's schedule)."""
    for module in _having(model, "set_progress"):
        module.set_progress(p)


class AfterStep:
    """What a model does after each optimiser step: clamp the latent weights, and call ``after_step`` of what has it.

    The modules are looked up once, and weights with the same straight-through window are clamped together.
    """

    def __init__(self, model: nn.Module) -> None:
        self._clamped: dict[float, list[Tensor]] = {}
        for layer in (module for module in model.modules() if isinstance(module, BinaryConv2d)):
            clip = getattr(layer.weight_quantizer, "latent_clip", None)
            if clip is not None:
                self._clamped.setdefault(clip, []).append(layer.weight)
        self._others: list[Any] = list(_having(model, "after_step"))

    @torch.no_grad()
    def __call__(self) -> None:
        for clip, weights in self._clamped.items():
            torch._foreach_clamp_min_(weights, -clip)
            torch._foreach_clamp_max_(weights, clip)
        for module in self._others:
            module.after_step()


class AuxiliaryLoss:
    """What a model's weight quantizers add to the objective (PCNN), looked up once; None where none adds anything."""

    def __init__(self, model: nn.Module) -> None:
        layers: list[Any] = [module for module in model.modules() if isinstance(module, BinaryConv2d)]
        self._layers = [layer for layer in layers if hasattr(type(layer.weight_quantizer), "weight_loss")]

    def __call__(self) -> Tensor | None:
        losses: list[Tensor] = [layer.weight_quantizer.weight_loss(layer.weight) for layer in self._layers]
        return sum(losses[1:], losses[0]) if losses else None


# The word in a module's path that says what a float convolution does, and Table 2's name for it.
_FLOAT_PARTS = (
    ("cell_shortcut", "FP Cell Shortcut"),
    ("downsample", "FP Downsample"),
    ("transition", "FP Downsample"),
)


def is_float(module: nn.Module) -> bool:
    """Whether a module is a convolution or linear layer with a side that is not quantised."""
    if isinstance(module, BinaryConv2d):
        return isinstance(module.weight_quantizer, nn.Identity) or isinstance(module.activation_quantizer, nn.Identity)
    return isinstance(module, nn.Conv2d | nn.Linear)


def is_fully_binarized(model: nn.Module) -> tuple[bool, str]:
    """Whether every convolution and linear layer outside ``model.stem`` and ``model.head`` is binary.

    The string names the float parts, as in Table 2's column ("FP Downsample"), sorted and comma separated.
    """
    parts: set[str] = set()
    for path, module in model.named_modules():
        names = path.split(".")
        if names[0] in ("stem", "head"):
            continue
        if is_float(module):
            parts.add(next((label for word, label in _FLOAT_PARTS if word in names), "FP Convolution"))
    return not parts, ", ".join(sorted(parts))
