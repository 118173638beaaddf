"""What a binary unit does around its convolutions, forward and backward, element by element: the plain formulas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from bars.binarize.signs import binary_sign, sign_clip_gradient
from bars.models.staggered import pooled_twice, pooled_twice_backward

Carried = Literal["nothing", "same", "pooled twice"]  # what a unit's own shortcut adds of its input


def _signs(normed: Tensor, gain: Tensor | None, bias: Tensor | None) -> Tensor:
    """What the convolution sees, [N, G * in, H, W]."""
    return binary_sign(_affine(normed, gain, bias))


def _output(
    y: Tensor,
    normed: Tensor,
    gain: Tensor | None,
    bias: Tensor | None,
    carried: Carried,
    totals: Sequence[Tensor],
    scale: Tensor | None,
) -> Tensor:
    """The unit's output from that of its convolution ``y``; it is added to the totals, each times its scale."""
    if carried != "nothing":
        x = _affine(normed, gain, bias)
        y += x if carried == "same" else pooled_twice(x)
    y = y.relu_()
    for i, (total, output) in enumerate(zip(totals, y.chunk(max(1, len(totals)), dim=1), strict=False)):
        _ = total.add_(output) if scale is None else total.addcmul_(output, scale[i])
    return y


def _output_backward(
    grads: Sequence[Tensor],
    y: Tensor,
    normed: Tensor,
    signs: Tensor | None,
    gain: Tensor | None,
    bias: Tensor | None,
    needs_scale: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Gradient of the convolution's output (not yet times the scale), its input before and after the sign once more,
    gradient of the scale.
    """
    grad = grads[0] if len(grads) == 1 else torch.cat(list(grads), dim=1)
    dy = torch.ops.aten.threshold_backward(grad, y, 0.0)
    d_scale = _channel_sums(grad, y).view(len(grads), -1).sum(1) if needs_scale else None
    x = _affine(normed, gain, bias)
    return dy, x, binary_sign(x) if signs is None else signs, d_scale


def _signs_backward(
    dx: Tensor,
    dy: Tensor,
    normed: Tensor,
    x: Tensor,
    signs: Tensor,
    gain: Tensor | None,
    mask: Tensor | None,
    scale: Tensor | None,
    carried: Carried,
    clip: float,
    needs_affine: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of the normalised features, gain, bias and mask, from those of the convolution's input and output."""
    edges = dx.shape[1] // normed.shape[1]
    d_mask = None
    if mask is not None:
        # The mask is inside the weight. Where it is zero nothing passes, and any finite value does.
        through = _channel_sums(dx, signs).view(edges, -1).sum(0)
        d_mask = through / mask.clamp_min(torch.finfo(mask.dtype).tiny)
    dx = sign_clip_gradient(dx, x, clip)
    if carried != "nothing":
        d_carried = dy if carried == "same" else pooled_twice_backward(dy, x)
        if scale is None:
            dx += d_carried
        else:
            dx.addcmul_(d_carried, _per_channel(scale.repeat_interleave(dx.shape[1] // edges), dx))
    d_gain = d_bias = None
    if gain is not None:
        if needs_affine:
            d_gain = _channel_sums(dx, _repeated(normed, edges)).view_as(gain)
            d_bias = dx.sum((0, 2, 3), dtype=gain.dtype).view_as(gain)
        dx *= _per_channel(gain, dx)
    return dx if edges == 1 else _summed(dx, edges), d_gain, d_bias, d_mask


class Kernels(NamedTuple):
    """The elementwise parts of a unit; as they are, or each merged into few kernels by torch.compile."""

    signs: Callable[..., Tensor] = _signs
    output: Callable[..., Tensor] = _output
    output_backward: Callable[..., tuple[Tensor, Tensor, Tensor, Tensor | None]] = _output_backward
    signs_backward: Callable[..., tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]] = _signs_backward


def _repeated(x: Tensor, times: int) -> Tensor:
    return x if times == 1 else torch.cat([x] * times, dim=1)


def _summed(x: Tensor, edges: int) -> Tensor:
    """The gradient of ``_repeated``, channels-last."""
    n, total, height, width = x.shape
    by_edge = x.permute(0, 2, 3, 1).reshape(n, height, width, edges, total // edges)
    return by_edge.sum(3).permute(0, 3, 1, 2)


def _per_channel(vector: Tensor, like: Tensor) -> Tensor:
    return vector.to(like.dtype).reshape(1, -1, 1, 1)


def _channel_sums(a: Tensor, b: Tensor) -> Tensor:
    """Sum of a * b over everything but channels, in float32 at least."""
    return (a * b).sum((0, 2, 3), dtype=torch.promote_types(a.dtype, torch.float32))


def _affine(x: Tensor, gain: Tensor | None, bias: Tensor | None) -> Tensor:
    """The affine part of batch norm of G edges, [N, C, H, W] -> [N, G * C, H, W]; none with ``norm: node``."""
    if gain is None or bias is None:
        return x
    return torch.addcmul(_per_channel(bias, x), _repeated(x, gain.shape[0]), _per_channel(gain, x))
