"""What a binary unit does around its convolutions, forward and backward, element by element: the plain formulas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from bars.binarize.signs import binary_sign, sign_clip_gradient
from bars.models.staggered import halves, interleave, pooled_twice, pooled_twice_backward

Carried = Literal["nothing", "same", "pooled twice"]  # what a unit's own shortcut adds of its input


class Edges(NamedTuple):
    """What G edges of a unit read: normalised features [N, in, H, W]; gain, bias [G, in] and scale [G], or None."""

    normed: Tensor
    gain: Tensor | None
    bias: Tensor | None
    scale: Tensor | None
    carried: Carried


def signs_of(edges: Edges) -> Tensor:
    """What the convolution sees, [N, G * in, H, W]."""
    return binary_sign(affine(edges))


def add_output(y: Tensor, edges: Edges, totals: Sequence[Tensor]) -> Tensor:
    """The unit's output, from that of its convolution ``y``, in place; it is added to the totals, times the scale."""
    if edges.carried != "nothing":
        x = affine(edges)
        y += x if edges.carried == "same" else pooled_twice(x)
    y = y.relu_()
    for i, (total, output) in enumerate(zip(totals, y.chunk(max(1, len(totals)), dim=1), strict=False)):
        _ = total.add_(output) if edges.scale is None else total.addcmul_(output, edges.scale[i])
    return y


class Through(NamedTuple):
    """Gradient of a convolution's output, and its input once more before (None: computed again) and after the sign."""

    dy: Tensor
    x: Tensor | None
    signs: Tensor


def output_backward(
    grads: Sequence[Tensor],
    y: Tensor,
    edges: Edges,
    signs: Tensor | None,
    needs_scale: bool,
    kept: Sequence[int] | None = None,
) -> tuple[Through | None, Tensor | None]:
    """What goes on through the convolution, not yet times the scale, and the gradient of the scale.

    The former of the edges ``kept`` alone, if that is given, which ``edges`` then are; None without any.
    """
    grad = grads[0] if len(grads) == 1 else torch.cat(list(grads), dim=1)
    d_scale = _channel_sums(grad, y).view(len(grads), -1).sum(1) if needs_scale else None
    if kept is not None and len(kept) < len(grads):
        if not kept:
            return None, d_scale
        grad, y = (torch.cat([v.chunk(len(grads), dim=1)[i] for i in kept], dim=1) for v in (grad, y))
    dy = torch.ops.aten.threshold_backward(grad, y, 0.0)
    x = affine(edges)
    return Through(dy, x, binary_sign(x) if signs is None else signs), d_scale


class Gradients(NamedTuple):
    """Of the normalised features, gain, bias and width mask."""

    normed: Tensor
    gain: Tensor | None = None
    bias: Tensor | None = None
    mask: Tensor | None = None


def signs_backward(
    dx: Tensor,
    dy: Tensor,
    x: Tensor | None,
    signs: Tensor,
    edges: Edges,
    mask: Tensor | None,
    clip: float,
    needs_affine: bool,
    added_to: Tensor | None,
) -> Gradients:
    """From the gradients of the convolution's input and output; that of the features is added to ``added_to``."""
    x = affine(edges) if x is None else x
    normed, gain, scale = edges.normed, edges.gain, edges.scale
    count = dx.shape[1] // normed.shape[1]
    d_mask = None
    if mask is not None:
        d_mask = mask_gradient(_channel_sums(dx, signs).view(count, -1).sum(0), mask)
    dx = sign_clip_gradient(dx, x, clip)
    if edges.carried != "nothing":
        d_carried = dy if edges.carried == "same" else pooled_twice_backward(dy, x)
        if scale is None:
            dx += d_carried
        else:
            dx.addcmul_(d_carried, _per_channel(scale.repeat_interleave(dx.shape[1] // count), dx))
    d_gain = d_bias = None
    if gain is not None:
        if needs_affine:
            d_gain = _channel_sums(dx, _repeated(normed, count)).view_as(gain)
            d_bias = dx.sum((0, 2, 3), dtype=gain.dtype).view_as(gain)
        dx *= _per_channel(gain, dx)
    d_normed = dx if count == 1 else _summed(dx, count)
    return Gradients(d_normed if added_to is None else added_to.add_(d_normed), d_gain, d_bias, d_mask)


def mask_gradient(through: Tensor, mask: Tensor) -> Tensor:
    """Gradient of a width mask from the sum of dx * sign, where the mask is inside the weight.

    Where it is zero nothing passes, and any finite value does.
    """
    return through / mask.clamp_min(torch.finfo(mask.dtype).tiny)


class Kernels(NamedTuple):
    """The elementwise parts of a unit; as they are, or each merged into few kernels by torch.compile.

    ``partly``: whether gradients of some of the edges can be asked for.
    """

    signs_of: Callable[[Edges], Tensor] = signs_of
    add_output: Callable[[Tensor, Edges, Sequence[Tensor]], Tensor] = add_output
    output_backward: Callable[..., tuple[Through | None, Tensor | None]] = output_backward
    signs_backward: Callable[..., Gradients] = signs_backward
    interleave: Callable[[Tensor, Tensor], Tensor] = interleave
    halves: Callable[[Tensor], tuple[Tensor, Tensor]] = halves
    partly: bool = True


def _repeated(x: Tensor, times: int) -> Tensor:
    return x if times == 1 else torch.cat([x] * times, dim=1)


def _summed(x: Tensor, edges: int) -> Tensor:
    """The gradient of ``_repeated``, channels-last."""
    n, total, height, width = x.shape
    by_edge = x.permute(0, 2, 3, 1).reshape(n, height, width, edges, total // edges)
    return by_edge.sum(3).permute(0, 3, 1, 2)


def _per_channel(vector: Tensor, like: Tensor) -> Tensor:
    if vector.dtype != like.dtype:  # an export would write down a cast that changes nothing, too
        vector = vector.to(like.dtype)
    return vector.reshape(1, -1, 1, 1)


def _channel_sums(a: Tensor, b: Tensor) -> Tensor:
    """Sum of a * b over everything but channels, in float32 at least."""
    return (a * b).sum((0, 2, 3), dtype=torch.promote_types(a.dtype, torch.float32))


def affine(edges: Edges) -> Tensor:
    """The affine part of batch norm of G edges, [N, G * C, H, W]; none with ``norm: node``."""
    x, gain, bias = edges.normed, edges.gain, edges.bias
    if gain is None or bias is None:
        return x
    return torch.addcmul(_per_channel(bias, x), _repeated(x, gain.shape[0]), _per_channel(gain, x))


def _float_output_backward(
    grads: Sequence[Tensor], y: Tensor, edges: Edges, _signs: Tensor | None, *how: Any
) -> tuple[Through | None, Tensor | None]:
    return output_backward(grads, y, edges, affine(edges), *how)


# A unit in floats: its convolution sees the affine part as it is.
FLOAT = Kernels(signs_of=affine, output_backward=_float_output_backward)
