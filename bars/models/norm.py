"""Batch normalisation without affine part, in two passes over memory where there are native passes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from bars.models.native import LAYOUT, Native


class BatchNorm(nn.BatchNorm2d):
    """(x - mean) / sqrt(variance + eps) over batch and pixels; without ``track`` always of the batch itself."""

    native: Native | None = None

    def __init__(self, channels: int, track: bool) -> None:
        super().__init__(channels, affine=False, track_running_stats=track)

    def forward(self, x: Tensor) -> Tensor:
        of_batch = self.training or not self.track_running_stats
        if self.native is None or not of_batch or not self.native.fits(x) or x.numel() == x.shape[1]:
            return super().forward(x)
        out: Tensor
        out, mean, variance = NormFunction.apply(x, self.native, self.eps)
        if self.training and self.track_running_stats:
            self._remember(mean, variance, x.numel() // x.shape[1])
        return out

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, pixels: int) -> None:
        """Move the running statistics, of which the variance is the unbiased one, as torch does."""
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (pixels / (pixels - 1)), self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked += 1


class NormFunction(Function):
    """Normalised features, and the batch's mean and variance without gradient. It keeps its output, not its input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, native: Native, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
        n, c, h, w = x.shape
        out, (mean, variance, inverse) = torch.empty_like(x), torch.empty(3, c)
        native("norm", x, out, mean, variance, inverse, epsilon, n * h * w, c)
        ctx.native = native
        ctx.save_for_backward(out, inverse)
        ctx.mark_non_differentiable(mean, variance)
        return out, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, None, None]:
        out, inverse = ctx.saved_tensors
        n, c, h, w = out.shape
        dx = torch.empty_like(out)
        ctx.native("norm_backward", grad.to(out.dtype).contiguous(memory_format=LAYOUT), out, inverse, dx, n * h * w, c)
        return dx, None, None
