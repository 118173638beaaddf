"""Sign functions, each a pure function with its straight-through gradient beside it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

# One step of float32 above 1: makes hardtanh_backward's open window closed, so that a latent weight that was clamped
# to exactly the edge of the window is not frozen there.
CLOSED = 1.0 + 2.0**-23


def binary_sign(x: Tensor) -> Tensor:
    """-1 where x < 0, else +1 (at both zeros, and not a number), in x's dtype and memory format; no gradient."""
    # where(x < 0, -1, 1) says the same, but is not vectorised on CPU: 8 to 12 times slower than these three passes.
    return torch.sign(x).add_(0.5).sign_()


class _SignClip(Function):
    """Identity gradient inside the window, as one fused kernel."""

    @staticmethod
    def forward(x: Tensor, clip: float) -> Tensor:
        return binary_sign(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])
        ctx.clip = inputs[1]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return sign_clip_gradient(grads[0], x, ctx.clip), None


def sign_clip_gradient(grad: Tensor, x: Tensor, clip: float) -> Tensor:
    """grad where |x| <= clip, else 0; one fused kernel."""
    bound = clip * CLOSED
    result: Tensor = torch.ops.aten.hardtanh_backward(grad, x, -bound, bound)
    return result


def sign_clip(x: Tensor, clip: float) -> Tensor:
    """Binary sign whose gradient is 1 where |x| <= clip, else 0 (straight-through; BARS Sec. 3.1)."""
    result: Tensor = _SignClip.apply(x, clip)
    return result


class _SignApprox(Function):
    """Gradient of the piecewise quadratic that approximates the sign."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return binary_sign(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return torch.rsub(x.abs(), 2.0, alpha=2.0).clamp_min_(0.0).mul_(grads[0])


def sign_approx(x: Tensor) -> Tensor:
    """Binary sign whose gradient is max(0, 2 - 2|x|) (Bi-Real Net, ECCV 2018)."""
    result: Tensor = _SignApprox.apply(x)
    return result


class _SignEde(Function):
    """Gradient of k tanh(t x)."""

    @staticmethod
    def forward(x: Tensor, t: Tensor, k: Tensor) -> Tensor:
        return binary_sign(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        x, t, k = ctx.saved_tensors
        slope = torch.ops.aten.tanh_backward(grads[0], torch.tanh(x * t.to(x.dtype)))
        return slope.mul_((k * t).to(x.dtype)), None, None


def sign_ede(x: Tensor, t: Tensor, k: Tensor) -> Tensor:
    """Binary sign whose gradient is k t (1 - tanh^2(t x)), for scalar tensors t and k (IR-Net's EDE, CVPR 2020)."""
    result: Tensor = _SignEde.apply(x, t, k)
    return result


def straight_through(value: Tensor, surrogate: Tensor) -> Tensor:
    """Exactly ``value`` forward, the gradient of ``surrogate`` backward."""
    return value.detach() + (surrogate - surrogate.detach())


class EdeSchedule(nn.Module):
    """t and k of IR-Net's EDE over training: t grows from t_min to t_max exponentially, k = max(1/t, 1)."""

    t: Tensor
    k: Tensor

    def __init__(self, t_min: float = 0.1, t_max: float = 10.0) -> None:
        super().__init__()
        self.t_min, self.t_max = t_min, t_max
        # Tensors, so that a compiled model is not compiled again for each new value; not part of a checkpoint, since
        # they follow from the share of training done and the forward pass does not read them.
        self.register_buffer("t", torch.tensor(t_min), persistent=False)
        self.register_buffer("k", torch.tensor(max(1.0 / t_min, 1.0)), persistent=False)

    def set_progress(self, p: float) -> None:
        """p: share of training done, in [0, 1]."""
        t = math.exp(math.log(self.t_min) + p * (math.log(self.t_max) - math.log(self.t_min)))
        self.t.fill_(t)
        self.k.fill_(max(1.0 / t, 1.0))

    def forward(self, x: Tensor) -> Tensor:
        return sign_ede(x, self.t, self.k)
