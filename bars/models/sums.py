"""What cells do with whole feature maps: add them, each times a scalar, join them, and mask their channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from bars.models.native import LAYOUT, Native, addresses, like, packed, steps
from bars.models.staggered import pooled_twice
from bars.models.width import Width, apply_mask


def add_scaled(
    totals: Sequence[Tensor], x: Tensor, scales: Sequence[Tensor | None], native: Native | None
) -> list[Tensor]:
    """Add x, times each total's scale where it has one, to the totals in place."""
    if native is None or not native.fits(x, *totals) or any(total.shape != x.shape for total in totals):
        pairs = zip(totals, scales, strict=True)
        return [total.add_(x) if scale is None else total.addcmul_(x, scale) for total, scale in pairs]
    given = [scale for scale in scales if scale is not None]
    return list(AddScaledFunction.apply(native, x, torch.stack(given) if given else None, *totals))


class AddScaledFunction(Function):
    """All shortcuts that leave one node: its features are read once, and their gradient is written once."""

    @staticmethod
    def forward(ctx: Any, native: Native, x: Tensor, scale: Tensor | None, *totals: Tensor) -> tuple[Tensor, ...]:
        native("add_scaled", x, addresses(totals), packed(scale), len(totals), x.numel())
        ctx.native = native
        ctx.save_for_backward(x if ctx.needs_input_grad[2] else None, scale)
        ctx.mark_dirty(*totals)
        return totals

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, scale = ctx.saved_tensors
        read = [ctx.native.readable(grad) for grad in grads]
        n, c, h, w = grads[0].shape
        dx = like(read[0], c) if ctx.needs_input_grad[1] else None
        d_scale = None if x is None else torch.empty(len(read))
        shape = (n * h * w, c, len(read))
        ctx.native("add_scaled_backward", addresses(read), steps(read), x, packed(scale), dx, d_scale, *shape)
        return None, dx, None if d_scale is None else d_scale.to(scale.dtype), *grads


def joined(maps: Sequence[Tensor], carried: Tensor | None, native: Native | None) -> Tensor:
    """The nodes' maps [N, C, H, W] side by side, plus ``carried`` of that shape where there is one."""
    if native is None or not native.fits(*maps):
        side_by_side = torch.cat(list(maps), dim=1)
        return side_by_side if carried is None else side_by_side.add_(carried)
    added = carried if carried is not None and native.fits(carried) else None
    out: Tensor = JoinedFunction.apply(native, added, *maps)
    return out if carried is None or added is not None else out.add_(carried)


class JoinedFunction(Function):
    """Maps side by side. Each gets a gradient without gaps: torch adds parts of a map in bfloat16 value by value."""

    @staticmethod
    def forward(ctx: Any, native: Native, carried: Tensor | None, *maps: Tensor) -> Tensor:
        n, c, h, w = maps[0].shape
        out = like(maps[0], len(maps) * c)
        native("joined", addresses(maps), carried, out, n * h * w, c, len(maps))
        ctx.native, ctx.count, ctx.carries = native, len(maps), carried is not None
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        whole = ctx.native.readable(grad).contiguous(memory_format=LAYOUT)
        n, c, h, w = whole.shape
        into = [like(whole, c // ctx.count) for _ in range(ctx.count)]
        ctx.native("joined_backward", whole, addresses(into), n * h * w, c // ctx.count, ctx.count)
        return None, whole if ctx.carries else None, *into


def pooled(x: Tensor, native: Native | None) -> Tensor:
    """``pooled_twice``, by native passes where there are any."""
    if native is None or not native.fits(x) or x.shape[2] % 2 or x.shape[3] % 2:
        return pooled_twice(x)
    out: Tensor = PooledFunction.apply(native, x)
    return out


class PooledFunction(Function):
    """The mean of 2x2 pixels, each channel twice, in one pass."""

    @staticmethod
    def forward(ctx: Any, native: Native, x: Tensor) -> Tensor:
        ctx.native = native
        return native.pooled_twice(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        whole = ctx.native.readable(grad).contiguous(memory_format=LAYOUT)
        return None, ctx.native.pooled_twice_backward(whole)


def masked(x: Tensor, width: Width, blocks: int, native: Native | None) -> Tensor:
    """``apply_mask``, by native passes where there are any."""
    mask = width.per_block(blocks)
    if mask is None or native is None or not native.fits(x) or mask.dtype != torch.float32:
        return apply_mask(x, width, blocks)
    out: Tensor = MaskFunction.apply(native, x, mask)
    return out


class MaskFunction(Function):
    """x * mask; both gradients in one pass."""

    @staticmethod
    def forward(ctx: Any, native: Native, x: Tensor, mask: Tensor) -> Tensor:
        n, c, h, w = x.shape
        out = torch.empty_like(x)
        native("masked", x, packed(mask), out, n * h * w, c)
        ctx.native = native
        ctx.save_for_backward(x, mask)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, mask = ctx.saved_tensors
        n, c, h, w = x.shape
        read, dx = ctx.native.readable(grad), torch.empty_like(x)
        d_mask = mask.new_empty(c) if ctx.needs_input_grad[2] else None
        step = steps([read])[0]
        ctx.native("masked_backward", read, step, x, packed(mask), dx, d_mask, n * h * w, c)
        return None, dx, d_mask
