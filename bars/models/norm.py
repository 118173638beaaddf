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
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        running = self.running_mean, self.running_var
        out: Tensor = NormFunction.apply(x, self.native, *running, self.momentum, self.eps)
        return out


class NormFunction(Function):
    """Normalised features; running statistics, if there are any, are moved. It keeps its output, not its input."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        native: Native,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        momentum: float,
        epsilon: float,
    ) -> Tensor:
        n, c, h, w = x.shape
        out, inverse = torch.empty_like(x), torch.empty(c)
        native("norm", x, out, inverse, running_mean, running_var, momentum, epsilon, n * h * w, c)
        ctx.native = native
        ctx.save_for_backward(out, inverse)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        out, inverse = ctx.saved_tensors
        n, c, h, w = out.shape
        dx = torch.empty_like(out)
        ctx.native("norm_backward", grad.to(out.dtype).contiguous(memory_format=LAYOUT), out, inverse, dx, n * h * w, c)
        return (dx, None, None, None, None, None)
