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
    the alphas needs no convolution for weight gradients, and none at all for an edge that is multiplied by zero
    (``passing`` says which are not, and that these are multiplied by one).
    """

    @staticmethod
    def forward(
        ctx: Any,
        unit: BinaryUnit,
        together: int,
        passing: Sequence[bool] | None,
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
        ctx.unit, ctx.adds, ctx.passing = unit, bool(totals), passing
        ctx.parts = _parts(len(weights[0]), together)
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
        _, _, _, _, _, needs_affine, _, needs_mask, needs_scale, needs_weights, *_ = ctx.needs_input_grad
        d_scales: list[Tensor | None] = []  # per part
        found: list[tuple[Tensor | None, ...]] = []  # of mask, gain, bias, weights, per part that passes something on
        d_normed: Tensor | None = None
        for part, y in zip(reversed(ctx.parts), reversed(outputs), strict=True):
            kept = None if ctx.passing is None else [i for i, passes in enumerate(ctx.passing[part]) if passes]
            rows = [part.start + i for i in kept] if kept else part
            factors = scale if kept is None else None  # what is kept is multiplied by one
            edges = Edges(normed, _of(gain, rows), _of(bias, rows), _of(factors, rows), unit.carried)
            through, d_scale = unit.kernels.output_backward(grads[part], y, edges, signs, needs_scale, kept)
            d_scales.insert(0, d_scale)
            if through is None:
                continue
            dy, x, seen = through
            # The scale is multiplied into what is small: the weights, or vectors over channels.
            factor = None if edges.scale is None else edges.scale.view(-1, 1, 1, 1, 1)
            scaled = [_times(_rows(weight, rows), factor) for weight in weights]
            dx, d_weights = unit.convolve_backward(dy, seen, scaled, needs_weights)
            own = unit.kernels.signs_backward(
                dx, dy, x, seen, edges, mask if needs_mask else None, unit.clip, needs_affine, d_normed
            )
            d_normed = own.normed
            d_weights = [None if dw is None else _times(dw, factor) for dw in d_weights]
            found.insert(0, (own.mask, own.gain, own.bias, *d_weights))
        d_masks, *by_edge = zip(*found, strict=True) if found else ((),) * (3 + len(weights))
        d_mask = torch.stack(d_masks).sum(0) if needs_mask and d_masks else None
        d_gain, d_bias, *d_weights = [_spread(_joined(parts), ctx.passing) for parts in by_edge]
        given = (d_gain, d_bias, d_mask, _joined(d_scales, like=scale), *d_weights)
        return (None, None, None, d_normed, None, *given, *(grads if ctx.adds else ()))


def _parts(edges: int, together: int) -> list[slice]:
    """Edges that are computed at once."""
    return [slice(first, first + together) for first in range(0, edges, together)]


def _of(tensor: Tensor | None, rows: slice | list[int]) -> Tensor | None:
    return None if tensor is None else _rows(tensor, rows)


def _rows(tensor: Tensor, rows: slice | list[int]) -> Tensor:
    count = len(rows) if isinstance(rows, list) else rows.stop - rows.start
    if count == len(tensor):
        return tensor
    return torch.stack([tensor[row] for row in rows]) if isinstance(rows, list) else tensor[rows]


def _times(weight: Tensor, factor: Tensor | None) -> Tensor:
    return weight if factor is None else weight * factor


def _joined(parts: Sequence[Tensor | None], like: Tensor | None = None) -> Tensor | None:
    """The gradient of all edges from those of the parts, in the type of ``like``."""
    there = [part for part in parts if part is not None]
    if not there:
        return None
    joined = there[0] if len(there) == 1 else torch.cat(there)
    return joined if like is None else joined.to(like.dtype)


def _spread(grad: Tensor | None, passing: Sequence[bool] | None) -> Tensor | None:
    """The gradient of all edges from that of those that pass it on; the others' is zero."""
    if grad is None or passing is None or len(grad) == len(passing):
        return grad
    rows = torch.tensor([row for row, passes in enumerate(passing) if passes], device=grad.device)
    return grad.new_zeros(len(passing), *grad.shape[1:]).index_copy_(0, rows, grad)
