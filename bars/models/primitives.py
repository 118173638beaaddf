"""The candidate operations of an edge, and the one binary unit they and the cell's own convolutions are built from.

A unit is BN -> sign -> binary convolution [+ shortcut] -> ReLU (authors' order). With stride 2 it is two convolutions on
spatially staggered inputs whose outputs are concatenated (BARS Sec. 4.1.2); they are interleaved channel by channel, a
permutation of plain concatenation under which keeping the first channels keeps both halves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from bars.binarize.layers import BinaryConv2d
from bars.binarize.quantizers import (
    ActivationQuantizer,
    ScaledSign,
    Scaling,
    binary_sign,
    mean_abs,
    sign_clip,
    sign_clip_gradient,
)
from bars.models.width import Width
from bars.pipeline.params import BinarizeParams, SpaceParams


@dataclass(frozen=True)
class Template:
    """What every cell of a network has in common; ``track`` keeps running BN statistics (derived networks only)."""

    nodes: int
    op_shortcut: bool
    cell_shortcut: bool
    reduction_shortcut: str
    norm: str
    binarize: BinarizeParams
    track: bool
    mask_activations: bool

    @classmethod
    def of(cls, space: SpaceParams, binarize: BinarizeParams, *, track: bool, width_mask: str = "activation") -> Template:
        """The template that params.yaml describes."""
        return cls(
            nodes=space.nodes,
            op_shortcut=space.op_shortcut,
            cell_shortcut=space.cell_shortcut,
            reduction_shortcut=space.reduction_shortcut,
            norm=space.norm,
            binarize=binarize,
            track=track,
            mask_activations=width_mask == "activation",
        )

    def normalize(self, channels: int) -> nn.BatchNorm2d:
        """Batch normalisation without affine part; without ``track`` it always uses the batch's own statistics."""
        return nn.BatchNorm2d(channels, affine=False, track_running_stats=self.track)


class Presigned(ActivationQuantizer):
    """The input is binary already: one sign serves several convolutions."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class CellConv2d(BinaryConv2d):
    """A binary convolution of a cell that can run at part of its width; channels are counted per node.

    Weight [out_blocks * c_out, in_blocks * c_in, k, k]. Called with signs and the quantised weight that ``quantise`` made.
    """

    def __init__(
        self, c_in: int, c_out: int, kernel: int, stride: int, in_blocks: int, out_blocks: int, template: Template
    ) -> None:
        super().__init__(
            in_blocks * c_in,
            out_blocks * c_out,
            kernel,
            stride=stride,
            padding=kernel // 2,
            weight_quantizer=ScaledSign(template.binarize.weight_scale, template.binarize.weight_clip),
            activation_quantizer=Presigned(),
        )
        self.blocks = (out_blocks, c_out, in_blocks, c_in)
        self.mask_activations = template.mask_activations

    def forward(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """Convolve signs [N, in_blocks * c, H, W] with the quantised weight of the active channels."""
        if weight is None:
            (weight,) = quantise([self], None, None, x.dtype)
        return F.conv2d(x, weight, None, self.stride, self.padding)

    def gradients(self, grad: Tensor, x: Tensor, weight: Tensor, needs_weight: bool) -> tuple[Tensor, Tensor | None]:
        """What the output's gradient is for the signs and, if it is needed, for the quantised weight."""
        stride, padding = [self.stride] * 2, [self.padding] * 2
        dx, dw, _ = torch.ops.aten.convolution_backward(
            grad, x, weight, None, stride, padding, [1, 1], False, [0, 0], 1, [True, needs_weight, False]
        )
        return dx, dw

    def sliced(self, source: Width | None, target: Width | None) -> Tensor:
        """The latent weight of the active channels."""
        out_blocks, c_out, in_blocks, c_in = self.blocks
        active_in = c_in if source is None else source.channels
        active_out = c_out if target is None else target.channels
        if active_in == c_in and active_out == c_out:
            return self.weight
        k = self.kernel_size
        by_node = self.weight.view(out_blocks, c_out, in_blocks, c_in, k, k)[:, :active_out, :, :active_in]
        return by_node.reshape(out_blocks * active_out, in_blocks * active_in, k, k)


def quantise(
    convs: Sequence[CellConv2d], source: Width | None, target: Width | None, dtype: torch.dtype
) -> tuple[Tensor, ...]:
    """Quantised weights of convolutions of one shape and width, together: tiny tensors cost one launch, not one each.

    Every convolution keeps its own scale beta over its active channels. The input's width mask is folded in here, where it
    costs nothing; its gradient is taken by ``UnitFunction``, so none flows into it through the weight.
    """
    first = convs[0]
    quantizer: ScaledSign = first.weight_quantizer  # type: ignore[assignment]
    weight = torch.stack([conv.sliced(source, target) for conv in convs])  # [E, O, I, k, k]
    signs = sign_clip(weight, quantizer.clip)
    share: Tensor | None = None
    if first.mask_activations:
        rows = None if target is None else target.per_block(first.blocks[0])
        columns = None if source is None else source.per_block(first.blocks[2])
        if columns is not None:
            share = columns.detach().view(1, -1, 1, 1)
            signs = signs * share
        if rows is not None:
            rows = rows.detach().view(-1, 1, 1, 1)
            share = rows if share is None else rows * share
    if quantizer.scaling != "none":
        signs = signs * _scales(weight, quantizer.scaling, share)
    return signs.to(dtype).unbind()


def _scales(weight: Tensor, scaling: Scaling, share: Tensor | None) -> Tensor:
    """mean_abs of each of the stacked weights [E, O, I, k, k], per weight or per output channel of it."""
    kept = 1 if scaling == "tensor" else 2
    mask = None if share is None else share.expand_as(weight).flatten(kept).flatten(0, kept - 1)
    beta = mean_abs(weight.flatten(kept).flatten(0, kept - 1), "channel", mask)
    return beta.view(weight.shape[:kept] + (1,) * (5 - kept))


def interleave(first: Tensor, second: Tensor) -> Tensor:
    """[N, C, H, W] twice -> [N, 2C, H, W] with channels a0 b0 a1 b1 ...; channels-last stays channels-last."""
    stacked = torch.stack([first.permute(0, 2, 3, 1), second.permute(0, 2, 3, 1)], dim=-1)
    return stacked.flatten(3).permute(0, 3, 1, 2)


def pooled_twice(x: Tensor) -> Tensor:
    """The shortcut of a strided operation: 2x2 average, each channel twice. [N, C, H, W] -> [N, 2C, H/2, W/2]."""
    pooled = F.avg_pool2d(x, 2)
    return interleave(pooled, pooled)


class BinaryUnit(nn.Module):
    """[BN affine ->] sign -> binary convolution [+ shortcut] -> ReLU on already normalised features.

    c_in and c_out are channels per node; the normalised input comes from outside because edges that leave the same node
    share its statistics. With ``norm: node`` there is no affine part.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int,
        template: Template,
        *,
        stride: int = 1,
        in_blocks: int = 1,
        out_blocks: int = 1,
        shortcut: bool = False,
    ) -> None:
        super().__init__()
        self.stride, self.shortcut = stride, shortcut
        self.in_blocks, self.c_in = in_blocks, c_in
        self.clip, self.mask_activations = template.binarize.activation_clip, template.mask_activations
        affine = template.norm == "edge"
        self.gain = nn.Parameter(torch.ones(in_blocks * c_in)) if affine else None
        self.bias = nn.Parameter(torch.zeros(in_blocks * c_in)) if affine else None
        half = c_out // stride
        self.convs = nn.ModuleList(
            CellConv2d(c_in, half, kernel, stride, in_blocks, out_blocks, template) for _ in range(stride)
        )

    def quantised(self, source: Width | None, target: Width | None, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """The quantised weights of its convolutions."""
        return quantise_units([self], source, target, dtype)[0]

    def forward(
        self,
        normed: Tensor,
        source: Width | None = None,
        target: Width | None = None,
        *,
        total: Tensor | None = None,
        scale: Tensor | None = None,
        signs: Tensor | None = None,
        weights: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Normalised [N, in, H, W] -> [N, out, H/stride, W/stride].

        With ``total`` the output, times ``scale`` if that is given (a relaxed op choice), is added to it in place.
        ``signs`` and ``weights`` are passed where they were computed for several units together.
        """
        gain, bias = self.gain, self.bias
        if gain is not None and bias is not None and source is not None and source.channels != self.c_in:
            gain = gain.view(self.in_blocks, self.c_in)[:, : source.channels].reshape(-1)
            bias = bias.view(self.in_blocks, self.c_in)[:, : source.channels].reshape(-1)
        if weights is None:
            weights = self.quantised(source, target, normed.dtype)
        mask = source.per_block(self.in_blocks) if source is not None and self.mask_activations else None
        output: Tensor = UnitFunction.apply(self, total, normed, signs, gain, bias, mask, scale, *weights)
        return output


def quantise_units(
    units: Sequence[BinaryUnit], source: Width | None, target: Width | None, dtype: torch.dtype
) -> list[tuple[Tensor, ...]]:
    """Quantised weights of each of several units of one shape, the convolutions of all of them in one go."""
    stride = units[0].stride
    convs = [conv for unit in units for conv in unit.convs]
    weights = quantise(convs, source, target if stride == 1 or target is None else target.halved(), dtype)
    return [weights[i : i + stride] for i in range(0, len(weights), stride)]


class UnitFunction(Function):
    """A binary unit with its gradient written out.

    It keeps the ReLU's output and what the units of a node share, and recomputes affine part and signs: memory that is not
    written costs no time either. Scale and width mask get their gradients from activations that are there anyway, so that
    a step on the alphas needs no convolution for weight gradients.
    """

    @staticmethod
    def forward(
        ctx: Any,
        unit: BinaryUnit,
        total: Tensor | None,
        normed: Tensor,
        signs: Tensor | None,
        gain: Tensor | None,
        bias: Tensor | None,
        mask: Tensor | None,
        scale: Tensor | None,
        *weights: Tensor,
    ) -> Tensor:
        carried = _affine(normed, gain, bias)
        x = binary_sign(carried) if signs is None else signs
        if unit.stride == 1:
            y: Tensor = unit.convs[0](x, weights[0])
        else:
            y = interleave(unit.convs[0](x, weights[0]), unit.convs[1](x[:, :, 1:, 1:], weights[1]))
        if unit.shortcut:
            y = y.add_(carried if unit.stride == 1 else pooled_twice(carried))
        y = y.relu_()
        ctx.unit = unit
        ctx.save_for_backward(normed, signs, gain, bias, mask, scale, y, *weights)
        if total is None:
            return y
        ctx.mark_dirty(total)
        return total.add_(y) if scale is None else total.addcmul_(y, scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        unit: BinaryUnit = ctx.unit
        normed, signs, gain, bias, mask, scale, y, *weights = ctx.saved_tensors
        needs = ctx.needs_input_grad
        d_scale = (grad * y).sum() if needs[7] else None
        dy = torch.ops.aten.threshold_backward(grad, y, 0.0)
        carried = _affine(normed, gain, bias)
        x = binary_sign(carried) if signs is None else signs
        if unit.stride == 1:
            dx, dw = unit.convs[0].gradients(dy, x, weights[0], needs[8])
            d_weights = [dw]
        else:
            halves = [dy[:, i::2].contiguous(memory_format=torch.channels_last) for i in range(2)]
            dx, dw = unit.convs[0].gradients(halves[0], x, weights[0], needs[8])
            staggered, dw_staggered = unit.convs[1].gradients(halves[1], x[:, :, 1:, 1:], weights[1], needs[8])
            dx[:, :, 1:, 1:] += staggered
            d_weights = [dw, dw_staggered]
        d_mask = None
        if needs[6]:
            # The mask is inside the weight; where it is zero nothing passes, and any finite value does.
            d_mask = (dx * x).sum((0, 2, 3)) / mask.clamp_min(torch.finfo(mask.dtype).tiny)
        dx = sign_clip_gradient(dx, carried, unit.clip)
        if unit.shortcut:
            dx += dy if unit.stride == 1 else _unpool(halves[0] + halves[1], carried)
        # From here on everything is per channel, where the scale costs nothing.
        factor = gain
        if scale is not None:
            d_weights = [None if dw is None else dw * scale for dw in d_weights]
            d_mask = None if d_mask is None else d_mask * scale
            factor = scale if gain is None else gain * scale
        d_gain = d_bias = None
        if needs[4]:
            d_gain, d_bias = (dx * normed).sum((0, 2, 3), dtype=gain.dtype), dx.sum((0, 2, 3), dtype=gain.dtype)
            if scale is not None:
                d_gain, d_bias = d_gain * scale, d_bias * scale
        if factor is not None:
            dx *= _per_channel(factor, dx)
        return (None, grad if needs[1] else None, dx, None, d_gain, d_bias, d_mask, d_scale, *d_weights)


def _per_channel(vector: Tensor, like: Tensor) -> Tensor:
    return vector.to(like.dtype).view(1, -1, 1, 1)


def _affine(normed: Tensor, gain: Tensor | None, bias: Tensor | None) -> Tensor:
    """gain * x + bias; the input itself with ``norm: node``."""
    if gain is None or bias is None:
        return normed
    return torch.addcmul(_per_channel(bias, normed), normed, _per_channel(gain, normed))


def _unpool(grad: Tensor, like: Tensor) -> Tensor:
    """Gradient of 2x2 average pooling."""
    unpooled: Tensor = torch.ops.aten.avg_pool2d_backward(grad, like, [2, 2], [2, 2], [0, 0], False, True, None)
    return unpooled
