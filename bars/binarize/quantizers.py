"""Sign functions with their straight-through gradients, and the quantizers of weights and activations built on them.

A sign is a pure function with its gradient beside it. A weight quantizer maps a latent weight [O, I, k, k] to the
weight that the convolution uses; an activation quantizer maps a feature map to what the convolution sees.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd import Function

Scaling = Literal["tensor", "channel", "none"]

# One step of float32 above 1: makes hardtanh_backward's open window closed, so that a latent weight that was clamped
# to exactly the edge of the window is not frozen there.
_CLOSED = 1.0 + 2.0**-23


def binary_sign(x: Tensor) -> Tensor:
    """+1 where x >= 0 (also at -0.0), else -1, in x's dtype and memory format; no gradient of its own."""
    # where(x >= 0, 1, -1) says the same, but is not vectorised on CPU: 8 to 12 times slower than these three passes.
    return torch.sign(x).add_(0.5).sign_()


class _SignClip(Function):
    @staticmethod
    def forward(x: Tensor, clip: float) -> Tensor:
        return binary_sign(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])
        ctx.bound = inputs[1] * _CLOSED

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(grads[0], x, -ctx.bound, ctx.bound), None


def sign_clip(x: Tensor, clip: float) -> Tensor:
    """Binary sign whose gradient is 1 where |x| <= clip, else 0 (straight-through; BARS Sec. 3.1)."""
    result: Tensor = _SignClip.apply(x, clip)
    return result


def mean_abs(weight: Tensor, scaling: Scaling, mask: Tensor | None = None) -> Tensor:
    """Scale beta of a binary weight, broadcastable to it: mean |W| per layer, per output channel, or 1.

    ``mask`` (broadcastable to ``weight``, values >= 0) weights the mean, so that masked-out channels do not enter it.
    """
    if scaling == "none":
        return weight.new_ones((1,) * weight.dim())
    dims = tuple(range(0 if scaling == "tensor" else 1, weight.dim()))
    magnitude = weight.abs()
    if mask is None:
        return magnitude.mean(dims, keepdim=True)
    share = mask.to(magnitude.dtype).expand_as(magnitude)
    total = share.sum(dims, keepdim=True).clamp_min(torch.finfo(magnitude.dtype).tiny)
    return (magnitude * share).sum(dims, keepdim=True) / total


class WeightQuantizer(nn.Module):
    """Base of weight quantizers: forward(latent weight) -> weight of the convolution.

    ``latent_clip``: the layer clamps its latent weight to [-latent_clip, latent_clip] after every step (None: never).
    ``bases``: binary convolutions that one layer costs (ABC-Net: M).
    """

    latent_clip: float | None = None
    bases: int = 1

    def stored_shape(self, out_channels: int, in_channels: int, kernel_size: int) -> tuple[int, ...]:
        """Shape of the latent weight behind an [out, in, k, k] convolution."""
        return (out_channels, in_channels, kernel_size, kernel_size)


class ActivationQuantizer(nn.Module):
    """Base of activation quantizers; ``bases``: binary convolutions that one layer costs (ABC-Net: N)."""

    bases: int = 1


class ScaledSign(WeightQuantizer):
    """beta * sign(W), differentiable through sign and beta (BARS Eq. 1; XNOR-Net with scaling "channel")."""

    def __init__(self, scaling: Scaling = "tensor", clip: float = 1.0) -> None:
        super().__init__()
        self.scaling: Scaling = scaling
        self.clip = clip
        self.latent_clip = clip

    def forward(self, weight: Tensor) -> Tensor:
        signs = sign_clip(weight, self.clip)
        return signs if self.scaling == "none" else signs * mean_abs(weight, self.scaling)

    def extra_repr(self) -> str:
        return f"scaling={self.scaling}, clip={self.clip}"


class SignActivation(ActivationQuantizer):
    """sign(x) with the straight-through window |x| <= clip."""

    def __init__(self, clip: float = 1.0) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, x: Tensor) -> Tensor:
        return sign_clip(x, self.clip)

    def extra_repr(self) -> str:
        return f"clip={self.clip}"
