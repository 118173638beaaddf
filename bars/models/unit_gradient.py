"""Binary units as one function of tensors, with its gradient written out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from bars.models.unit import BinaryUnit


class UnitFunction(Function):
    """Binary units of G edges that leave one node, with their gradient written out.

    It keeps the ReLU's output and what the edges share, and computes affine part and signs again: memory that is not
    written costs no time. Scale and width mask get their gradients from activations that are there anyway, so a step on
    the alphas needs no convolution for weight gradients.
    """

    @staticmethod
    def forward(
        ctx: Any,
        unit: BinaryUnit,
        normed: Tensor,
        signs: Tensor | None,
        gain: Tensor | None,
        bias: Tensor | None,
        mask: Tensor | None,
        scale: Tensor | None,
        *weights_and_totals: Tensor,
    ) -> tuple[Tensor, ...]:
        weights, totals = weights_and_totals[: unit.stride], weights_and_totals[unit.stride :]
        x = unit.kernels.signs(normed, gain, bias) if signs is None else signs
        y = unit.kernels.output(unit.convolve(x, weights), normed, gain, bias, unit.carried, totals, scale)
        ctx.unit, ctx.adds = unit, bool(totals)
        ctx.save_for_backward(normed, signs, gain, bias, mask, scale, y, *weights)
        if not totals:
            return y.chunk(weights[0].shape[0], dim=1)
        ctx.mark_dirty(*totals)
        return totals

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        unit: BinaryUnit = ctx.unit
        normed, signs, gain, bias, mask, scale, y, *weights = ctx.saved_tensors
        _, _, _, needs_affine, _, needs_mask, needs_scale, needs_weights, *_ = ctx.needs_input_grad
        dy, x, signs, d_scale = unit.kernels.output_backward(grads, y, normed, signs, gain, bias, needs_scale)
        if scale is not None and d_scale is not None:
            d_scale = d_scale.to(scale.dtype)
        # The scale is multiplied into what is small: the weights, or vectors over channels.
        factor = None if scale is None else scale.view(-1, 1, 1, 1, 1)
        scaled = weights if factor is None else [weight * factor for weight in weights]
        dx, d_weights = unit.convolve_backward(dy, signs, scaled, needs_weights)
        if factor is not None:
            d_weights = [None if dw is None else dw * factor for dw in d_weights]
        mask = mask if needs_mask else None
        d_normed, d_gain, d_bias, d_mask = unit.kernels.signs_backward(
            dx, dy, normed, x, signs, gain, mask, scale, unit.carried, unit.clip, needs_affine
        )
        return (None, d_normed, None, d_gain, d_bias, d_mask, d_scale, *d_weights, *(grads if ctx.adds else ()))
