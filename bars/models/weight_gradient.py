"""The quantised weight of a unit, beta sign(W), with its gradient written out."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from bars.binarize.signs import CLOSED, binary_sign, sign_clip_gradient
from bars.binarize.weights import Scaling
from bars.models.native import Native, packed


class QuantiseFunction(Function):
    """beta sign(W) for each W of [E, O, I, k, k]; the gradient is written out because calls, not sizes, are the cost.

    beta is the mean of |W| over a weight, or over an output channel of it (BARS Eq. 1), weighted by the masks
    ``columns`` [I] and ``rows`` [O]; the gradient passes through beta and, straight through where |W| <= clip, the
    sign; ``unscaled``, through the sign alone and not times beta. ``columns`` multiplies the signs, too. With
    ``native`` passes the result is of their type.
    """

    @staticmethod
    def forward(
        ctx: Any,
        weight: Tensor,
        columns: Tensor | None,
        rows: Tensor | None,
        clip: float,
        scaling: Scaling,
        unscaled: bool = False,
        native: Native | None = None,
    ) -> Tensor:
        dims = (2, 3, 4) if scaling == "channel" else (1, 2, 3, 4)
        ctx.clip, ctx.dims, ctx.unscaled, ctx.native = clip, dims, unscaled, native
        ctx.scaled, ctx.per_channel = scaling != "none", scaling == "channel"
        if native is not None:
            return _quantised(ctx, weight.contiguous(), packed(columns), packed(rows))
        beta: Tensor | None = None
        mean: Tensor | None = None
        ctx.even = even = 1.0 / math.prod(weight.shape[dim] for dim in dims)
        columns = None if columns is None else columns.view(1, -1, 1, 1)
        share = columns if rows is None else rows.view(-1, 1, 1, 1) * (1.0 if columns is None else columns)
        if scaling != "none" and share is not None:
            wide = share.expand(1, *weight.shape[1:])
            mean = wide / wide.sum(dims, keepdim=True).clamp_min(torch.finfo(weight.dtype).tiny)
        if scaling != "none":
            beta = (weight.abs() * (even if mean is None else mean)).sum(dims, keepdim=True)
        signs = binary_sign(weight)
        if columns is not None:
            signs *= columns
        ctx.save_for_backward(weight, columns, beta, mean, signs)
        return signs if beta is None else signs * beta

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.native is not None:
            return _gradient(ctx, grad.contiguous(), *ctx.saved_tensors), *[None] * 6
        weight, columns, beta, mean, signs = ctx.saved_tensors
        passed = grad if columns is None else grad * columns
        if beta is None or ctx.unscaled:
            return sign_clip_gradient(passed, weight, ctx.clip), *[None] * 6
        d_weight = sign_clip_gradient(passed * beta, weight, ctx.clip)
        d_beta = (grad * signs).sum(ctx.dims, keepdim=True)
        d_weight.addcmul_(weight.sign(), d_beta * (ctx.even if mean is None else mean))
        return d_weight, *[None] * 6


def _quantised(ctx: Any, weight: Tensor, columns: Tensor | None, rows: Tensor | None) -> Tensor:
    count, outputs, inputs, height, width = weight.shape
    out = torch.empty(weight.shape, dtype=ctx.native.dtype)
    beta = weight.new_empty(count, outputs if ctx.per_channel else 1)
    shape = (count, outputs, inputs, height * width)
    ctx.native("quantise", weight, columns, rows, ctx.scaled, ctx.per_channel, out, beta, *shape)
    ctx.save_for_backward(weight, columns, rows, beta)
    return out


def _gradient(
    ctx: Any, grad: Tensor, weight: Tensor, columns: Tensor | None, rows: Tensor | None, beta: Tensor
) -> Tensor:
    count, outputs, inputs, height, width = weight.shape
    d_weight, through_beta = torch.empty_like(weight), ctx.scaled and not ctx.unscaled
    how, shape = (ctx.clip * CLOSED, through_beta, ctx.per_channel), (count, outputs, inputs, height * width)
    ctx.native("quantise_backward", grad, weight, columns, rows, beta, *how, d_weight, *shape)
    return d_weight
