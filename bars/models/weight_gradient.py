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
from bars.models.native import Native


class QuantiseFunction(Function):
    """beta sign(W) for each W of [E, O, I, k, k]; the gradient is written out because calls, not sizes, are the cost.

    beta is the mean of |W| over a weight, or over an output channel of it (BARS Eq. 1), weighted by ``share``; the
    gradient passes through beta and, straight through where |W| <= clip, the sign; ``unscaled``, through the sign alone
    and not times beta. ``columns`` multiplies the signs. With ``native`` passes the result is of their type.
    """

    @staticmethod
    def forward(
        ctx: Any,
        weight: Tensor,
        columns: Tensor | None,
        share: Tensor | None,
        clip: float,
        scaling: Scaling,
        unscaled: bool = False,
        native: Native | None = None,
    ) -> Tensor:
        dims = (2, 3, 4) if scaling == "channel" else (1, 2, 3, 4)
        beta: Tensor | None = None
        mean: Tensor | None = None
        even = 1.0 / math.prod(weight.shape[dim] for dim in dims)
        if scaling != "none" and share is not None:
            wide = share.expand(1, *weight.shape[1:])
            mean = wide / wide.sum(dims, keepdim=True).clamp_min(torch.finfo(weight.dtype).tiny)
        ctx.clip, ctx.dims, ctx.unscaled, ctx.even, ctx.native = clip, dims, unscaled, even, native
        ctx.scaled, ctx.per_channel = scaling != "none", scaling == "channel"
        if native is not None:
            return _quantised(ctx, weight.contiguous(), columns, None if mean is None else mean.contiguous())
        if scaling != "none":
            beta = (weight.abs() * (even if mean is None else mean)).sum(dims, keepdim=True)
        signs = binary_sign(weight)
        if columns is not None:
            signs *= columns
        ctx.save_for_backward(weight, columns, mean, signs, beta)
        return signs if beta is None else signs * beta

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, columns, mean, signs, beta = ctx.saved_tensors
        if ctx.native is not None:
            return _gradient(ctx, grad.contiguous(), weight, columns, mean, beta), *[None] * 6
        passed = grad if columns is None else grad * columns
        if beta is None or ctx.unscaled:
            return sign_clip_gradient(passed, weight, ctx.clip), *[None] * 6
        d_weight = sign_clip_gradient(passed * beta, weight, ctx.clip)
        d_beta = (grad * signs).sum(ctx.dims, keepdim=True)
        d_weight.addcmul_(weight.sign(), d_beta * (ctx.even if mean is None else mean))
        return d_weight, *[None] * 6


def _quantised(ctx: Any, weight: Tensor, columns: Tensor | None, mean: Tensor | None) -> Tensor:
    count, outputs, *rest = weight.shape
    columns = None if columns is None else columns.expand(1, *rest).contiguous()
    out = torch.empty(weight.shape, dtype=ctx.native.dtype)
    beta = weight.new_empty(count, outputs if ctx.per_channel else 1)
    how, shape = (ctx.even, ctx.scaled, ctx.per_channel), (count, outputs, math.prod(rest))
    ctx.native("quantise", weight, columns, mean, *how, out, beta, *shape)
    ctx.save_for_backward(weight, columns, mean, None, beta)
    return out


def _gradient(
    ctx: Any, grad: Tensor, weight: Tensor, columns: Tensor | None, mean: Tensor | None, beta: Tensor
) -> Tensor:
    count, outputs, *rest = weight.shape
    d_weight, through_beta = torch.empty_like(weight), ctx.scaled and not ctx.unscaled
    how, shape = (ctx.clip * CLOSED, through_beta, ctx.per_channel), (count, outputs, math.prod(rest))
    ctx.native("quantise_backward", grad, weight, columns, mean, ctx.even, beta, *how, d_weight, *shape)
    return d_weight
