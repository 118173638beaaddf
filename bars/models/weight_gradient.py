"""The quantised weight of a unit, beta sign(W), with its gradient written out."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from bars.binarize.signs import binary_sign, sign_clip_gradient
from bars.binarize.weights import Scaling


class QuantiseFunction(Function):
    """beta sign(W) for each W of [E, O, I, k, k]; the gradient is written out because calls, not sizes, are the cost.

    beta is the mean of |W| over a weight, or over an output channel of it (BARS Eq. 1), weighted by ``share``; the
    gradient passes through beta and, straight through where |W| <= clip, the sign; ``unscaled``, through the sign alone
    and not times beta. ``columns`` multiplies the signs.
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
    ) -> Tensor:
        dims = (2, 3, 4) if scaling == "channel" else (1, 2, 3, 4)
        beta: Tensor | None = None
        mean: Tensor | None = None
        even = 1.0 / math.prod(weight.shape[dim] for dim in dims)
        if scaling != "none":
            if share is not None:
                wide = share.expand(1, *weight.shape[1:])
                mean = wide / wide.sum(dims, keepdim=True).clamp_min(torch.finfo(weight.dtype).tiny)
            beta = (weight.abs() * (even if mean is None else mean)).sum(dims, keepdim=True)
        signs = binary_sign(weight)
        if columns is not None:
            signs *= columns
        ctx.clip, ctx.dims, ctx.unscaled, ctx.even = clip, dims, unscaled, even
        ctx.save_for_backward(weight, columns, mean, signs, beta)
        return signs if beta is None else signs * beta

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, columns, mean, signs, beta = ctx.saved_tensors
        passed = grad if columns is None else grad * columns
        if beta is None or ctx.unscaled:
            return sign_clip_gradient(passed, weight, ctx.clip), None, None, None, None, None
        d_weight = sign_clip_gradient(passed * beta, weight, ctx.clip)
        d_beta = (grad * signs).sum(ctx.dims, keepdim=True)
        d_weight.addcmul_(weight.sign(), d_beta * (ctx.even if mean is None else mean))
        return d_weight, None, None, None, None, None
