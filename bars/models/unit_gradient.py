"""Binary units as one function of tensors, with its gradient written out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from bars.models.unit_passes import Edges

if TYPE_CHECKING:
    from bars.models.unit import BinaryUnit


class UnitFunction(Function):
    """Binary units of all edges that leave one node, with their gradient written out; ``together`` run at once.

    It keeps the ReLU's output and what the edges share, and computes affine part and signs again: memory that is not
    written costs no time. Scale and width mask get their gradients from activations that are there anyway, so a step on
    the alphas needs no convolution for weight gradients.
    """

    @staticmethod
    def forward(
        ctx: Any,
        unit: BinaryUnit,
        together: int,
        normed: Tensor,
        signs: Tensor | None,
        gain: Tensor | None,
        bias: Tensor | None,
        mask: Tensor | None,
        scale: Tensor | None,
        *weights_and_totals: Tensor,
    ) -> tuple[Tensor, ...]:
        convs = len(unit.convs)
        weights, totals = weights_and_totals[:convs], weights_and_totals[convs:]
        ctx.unit, ctx.adds, ctx.parts = unit, bool(totals), _parts(len(weights[0]), together)
        outputs = []
        for part in ctx.parts:
            edges = Edges(normed, _of(gain, part), _of(bias, part), _of(scale, part), unit.carried)
            x = unit.kernels.signs_of(edges) if signs is None else signs
            y = unit.convolve(x, [_rows(weight, part) for weight in weights])
            outputs.append(unit.kernels.add_output(y, edges, totals[part]))
        ctx.save_for_backward(normed, signs, gain, bias, mask, scale, *weights, *outputs)
        if not totals:
            return tuple(output for y in outputs for output in y.chunk(together, dim=1))
        ctx.mark_dirty(*totals)
        return totals

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        unit: BinaryUnit = ctx.unit
        normed, signs, gain, bias, mask, scale, *others = ctx.saved_tensors
        weights, outputs = others[: len(unit.convs)], others[len(unit.convs) :]
        _, _, _, _, needs_affine, _, needs_mask, needs_scale, needs_weights, *_ = ctx.needs_input_grad
        found = []  # per part: gradients of gain, bias, mask, scale, weights
        d_normed: Tensor | None = None
        for part, y in reversed(list(zip(ctx.parts, outputs, strict=True))):
            edges = Edges(normed, _of(gain, part), _of(bias, part), _of(scale, part), unit.carried)
            dy, x, seen, d_scale = unit.kernels.output_backward(grads[part], y, edges, signs, needs_scale)
            # The scale is multiplied into what is small: the weights, or vectors over channels.
            factor = 1.0 if edges.scale is None else edges.scale.view(-1, 1, 1, 1, 1)
            scaled = [_rows(weight, part) if scale is None else _rows(weight, part) * factor for weight in weights]
            dx, d_weights = unit.convolve_backward(dy, seen, scaled, needs_weights)
            own = unit.kernels.signs_backward(
                dx, dy, x, seen, edges, mask if needs_mask else None, unit.clip, needs_affine, d_normed
            )
            d_normed = own.normed
            d_weights = [dw if dw is None or scale is None else dw * factor for dw in d_weights]
            found.append((own.gain, own.bias, own.mask, d_scale, *d_weights))
        d_gain, d_bias, d_masks, d_scales, *all_weights = zip(*reversed(found), strict=True)
        d_mask = None if d_masks[0] is None else torch.stack(d_masks).sum(0)
        joined = [_joined(d_gain), _joined(d_bias), d_mask, _joined(d_scales, like=scale)]
        joined += [_joined(dw) for dw in all_weights]
        return (None, None, d_normed, None, *joined, *(grads if ctx.adds else ()))


def _parts(edges: int, together: int) -> list[slice]:
    """Edges that are computed at once."""
    return [slice(first, first + together) for first in range(0, edges, together)]


def _of(tensor: Tensor | None, part: slice) -> Tensor | None:
    return None if tensor is None else _rows(tensor, part)


def _rows(tensor: Tensor, part: slice) -> Tensor:
    return tensor if part.stop - part.start == len(tensor) else tensor[part]


def _joined(parts: Sequence[Tensor | None], like: Tensor | None = None) -> Tensor | None:
    """The gradient of all edges from those of the parts, in the type of ``like``."""
    there = [part for part in parts if part is not None]
    if not there:
        return None
    joined = there[0] if len(there) == 1 else torch.cat(there)
    return joined if like is None else joined.to(like.dtype)
