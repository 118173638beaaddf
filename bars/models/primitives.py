"""The binary unit that edges, preprocess and cell shortcut are built from.

A unit is BN -> sign -> binary convolution [+ shortcut] -> ReLU (authors' order). With stride 2 it is two convolutions
on spatially staggered inputs whose outputs are concatenated (BARS Sec. 4.1.2); they are interleaved channel by channel,
a permutation of plain concatenation under which keeping the first channels keeps both halves.

Edges that leave one node read the same normalised features, so one module holds the units of all of them: their weights
are quantised together, and where feature maps are tiny they are computed together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

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
    sign_clip_gradient,
)
from bars.models.width import Width
from bars.params import BinarizeParams, SpaceParams

Carried = Literal["nothing", "same", "pooled twice"]  # what a unit's own shortcut adds of its input


@dataclass(frozen=True)
class Template:
    """What every cell of a network has in common; ``track`` keeps running BN statistics (derived networks only)."""

    nodes: int
    op_shortcut: bool
    cell_shortcut: bool
    reduction_shortcut: str
    preprocess_shortcut: bool
    norm: str
    binarize: BinarizeParams
    track: bool
    mask_activations: bool

    @classmethod
    def of(
        cls, space: SpaceParams, binarize: BinarizeParams, *, track: bool, width_mask: str = "activation"
    ) -> Template:
        """The template that params.yaml describes."""
        return cls(
            nodes=space.nodes,
            op_shortcut=space.op_shortcut,
            cell_shortcut=space.cell_shortcut,
            reduction_shortcut=space.reduction_shortcut,
            preprocess_shortcut=space.preprocess_shortcut,
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


# Multiply-adds of an edge below which several edges are one grouped convolution: the overhead of a call is larger than
# what the grouped kernel loses. Measured on a CPU (docs/PERFORMANCE.md).
TOGETHER_BELOW = 10_000_000


class CellConv2d(BinaryConv2d):
    """The binary convolutions of some edges, with channels counted per node so that each can run at part of its width.

    Weight [edges * out_blocks * c_out, in_blocks * c_in, k, k]. Called with signs and with what ``quantised`` returned.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int,
        stride: int,
        template: Template,
        *,
        in_blocks: int,
        out_blocks: int,
        edges: int,
    ) -> None:
        super().__init__(
            in_blocks * c_in,
            edges * out_blocks * c_out,
            kernel,
            stride=stride,
            padding=kernel // 2,
            weight_quantizer=ScaledSign(
                template.binarize.weight_scale,
                template.binarize.weight_clip,
                gradient=template.binarize.weight_gradient,
            ),
            activation_quantizer=Presigned(),
        )
        self.blocks = (edges, out_blocks, c_out, in_blocks, c_in)
        self.mask_activations = template.mask_activations

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:  # type: ignore[override]
        """Signs [N, G * in, H, W] and the quantised weight of G edges [G, out, in, k, k] -> [N, G * out, h, w]."""
        groups = weight.shape[0]
        return F.conv2d(x, weight.flatten(0, 1), None, self.stride, self.padding, 1, groups)

    def gradients(self, grad: Tensor, x: Tensor, weight: Tensor, needs_weight: bool) -> tuple[Tensor, Tensor | None]:
        """Gradients of the signs and, if needed, of the quantised weight, as ``forward`` takes them."""
        stride, padding = [self.stride] * 2, [self.padding] * 2
        dx, dw, _ = torch.ops.aten.convolution_backward(
            *(grad, x, weight.flatten(0, 1), None, stride, padding, [1, 1], False, [0, 0], weight.shape[0]),
            [True, needs_weight, False],
        )
        return dx, dw.view_as(weight) if needs_weight else None

    def active(self, rows: Sequence[int] | None, source: Width | None, target: Width | None) -> Tensor:
        """Latent weight [E, out, in, k, k] of some edges (None: all) at their widths: a slice of it."""
        edges, out_blocks, c_out, in_blocks, c_in = self.blocks
        k = self.kernel_size
        out = c_out if target is None else target.channels
        into = c_in if source is None else source.channels
        if rows is None and (out, into) == (c_out, c_in):
            return self.weight.view(edges, out_blocks * c_out, in_blocks * c_in, k, k)
        by_node = self.weight.view(*self.blocks, k, k)
        if rows is not None:
            by_node = torch.stack([by_node[row] for row in rows])
        return by_node[:, :, :out, :, :into].flatten(3, 4).flatten(1, 2)

    def quantised(
        self, rows: Sequence[int] | None, source: Width | None, target: Width | None, dtype: torch.dtype
    ) -> Tensor:
        """Signs times scale beta, [E, out, in, k, k]; every edge keeps its own beta over its active channels.

        The input's width mask is folded in here, where it costs nothing; its gradient is taken by ``UnitFunction``.
        """
        quantizer: ScaledSign = self.weight_quantizer  # type: ignore[assignment]
        weight = self.active(rows, source, target)
        columns = share = None
        if self.mask_activations:
            columns, share = self._shares(source, target)
        result: Tensor = QuantiseFunction.apply(
            weight, columns, share, quantizer.clip, quantizer.scaling, quantizer.gradient == "unscaled"
        )
        return result.to(dtype)

    def _shares(self, source: Width | None, target: Width | None) -> tuple[Tensor | None, Tensor | None]:
        """The masks of relaxed widths: of the input [1, I, 1, 1], and of the whole weight [O or 1, I or 1, 1, 1]."""
        columns = None if source is None else source.per_block(self.blocks[3])
        rows = None if target is None else target.per_block(self.blocks[1])
        # Without detaching them the quantised weight would want a gradient in steps on the alphas, too.
        if columns is not None:
            columns = columns.detach().view(1, -1, 1, 1)
        if rows is None:
            return columns, columns
        rows = rows.detach().view(-1, 1, 1, 1)
        return columns, rows if columns is None else rows * columns


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
        beta = mean = None
        if scaling != "none":
            ones = weight.new_ones(()) if share is None else share
            ones = ones.expand(1, *weight.shape[1:])
            mean = ones / ones.sum(dims, keepdim=True).clamp_min(torch.finfo(weight.dtype).tiny)
            beta = (weight.abs() * mean).sum(dims, keepdim=True)
        signs = binary_sign(weight)
        if columns is not None:
            signs *= columns
        ctx.clip, ctx.dims, ctx.unscaled = clip, dims, unscaled
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
        return d_weight.addcmul_(weight.sign(), d_beta * mean), None, None, None, None, None


def interleave(first: Tensor, second: Tensor) -> Tensor:
    """[N, C, H, W] twice -> [N, 2C, H, W] with channels a0 b0 a1 b1 ...; channels-last stays channels-last."""
    stacked = torch.stack([first.permute(0, 2, 3, 1), second.permute(0, 2, 3, 1)], dim=-1)
    return stacked.flatten(3).permute(0, 3, 1, 2)


def pooled_twice(x: Tensor) -> Tensor:
    """The shortcut of a strided operation: 2x2 average, each channel twice. [N, C, H, W] -> [N, 2C, H/2, W/2]."""
    pooled = F.avg_pool2d(x, 2)
    return interleave(pooled, pooled)


class BinaryUnit(nn.Module):
    """[BN affine ->] sign -> binary convolution [+ shortcut] -> ReLU of normalised features, for each of some edges.

    c_in and c_out are channels per node. With ``norm: node`` there is no affine part.
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
        edges: int = 1,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.carried: Carried = "nothing" if not shortcut else "same" if stride == 1 else "pooled twice"
        self.kernels = Kernels()
        self.edges, self.in_blocks, self.c_in = edges, in_blocks, c_in
        self.clip, self.mask_activations = template.binarize.activation_clip, template.mask_activations
        affine = template.norm == "edge"
        self.gain = nn.Parameter(torch.ones(edges * in_blocks * c_in)) if affine else None
        self.bias = nn.Parameter(torch.zeros(edges * in_blocks * c_in)) if affine else None
        blocks = {"in_blocks": in_blocks, "out_blocks": out_blocks, "edges": edges}
        self.convs = nn.ModuleList(
            CellConv2d(c_in, c_out // stride, kernel, stride, template, **blocks) for _ in range(stride)
        )

    def forward(self, normed: Tensor, source: Width | None = None, target: Width | None = None) -> Tensor:
        """Normalised [N, in, H, W] -> [N, out, H/stride, W/stride], for a unit of one edge."""
        (output,) = self.add_to((), normed, source, target)
        return output

    def add_to(
        self,
        totals: Sequence[Tensor],
        normed: Tensor,
        source: Width | None,
        target: Width | None,
        *,
        rows: Sequence[int] | None = None,
        scale: Tensor | None = None,
        signs: Tensor | None = None,
    ) -> list[Tensor]:
        """Add the outputs of the edges ``rows`` (None: all) to ``totals`` in place; without totals return the outputs.

        Each is multiplied by its entry of ``scale`` [rows], if that is given (a relaxed op choice). ``signs`` are those
        of the input where edges share them, with ``norm: node``.
        """
        half = target if self.stride == 1 or target is None else target.halved()
        weights = [conv.quantised(rows, source, half, normed.dtype) for conv in self.conv_list()]
        gain, bias = (None if v is None else self.active(v, rows, source) for v in (self.gain, self.bias))
        mask = source.per_block(self.in_blocks) if source is not None and self.mask_activations else None
        together = self._together(normed, weights[0])
        split = [_split(t, together, len(weights[0])) for t in (gain, bias, scale, *weights)]
        outputs: list[Tensor] = []
        for i, (gain, bias, scale, *weights) in enumerate(zip(*split, strict=True)):
            into = totals[i * together : (i + 1) * together]
            outputs += UnitFunction.apply(self, normed, signs, gain, bias, mask, scale, *weights, *into)
        return outputs

    def _together(self, normed: Tensor, weight: Tensor) -> int:
        """How many edges one grouped convolution computes."""
        if self.gain is None or torch.compiler.is_exporting():  # an export is for batches of any size
            return 1
        pixels = normed.shape[0] * normed.shape[2] * normed.shape[3]
        small = pixels * weight[0].numel() < self.stride**2 * TOGETHER_BELOW
        return weight.shape[0] if small else 1

    def convolve(self, x: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """Signs [N, G * in, H, W] -> [N, G * out, H/stride, W/stride]."""
        convs = self.conv_list()
        if self.stride == 1:
            y: Tensor = convs[0](x, weights[0])
            return y
        return interleave(convs[0](x, weights[0]), convs[1](x[:, :, 1:, 1:], weights[1]))

    def convolve_backward(
        self, dy: Tensor, x: Tensor, weights: Sequence[Tensor], needs_weights: bool
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Gradients of ``convolve``'s signs and, if needed, weights."""
        convs = self.conv_list()
        if self.stride == 1:
            dx, dw = convs[0].gradients(dy, x, weights[0], needs_weights)
            return dx, [dw]
        halves = [dy[:, i::2].contiguous(memory_format=torch.channels_last) for i in range(2)]
        dx, dw = convs[0].gradients(halves[0], x, weights[0], needs_weights)
        dx_staggered, dw_staggered = convs[1].gradients(halves[1], x[:, :, 1:, 1:], weights[1], needs_weights)
        dx[:, :, 1:, 1:] += dx_staggered
        return dx, [dw, dw_staggered]

    def active(self, vector: Tensor, rows: Sequence[int] | None, source: Width | None) -> Tensor:
        """Entries [E, in] of a parameter [edges * in] for some edges (None: all) at their input's width."""
        into = self.c_in if source is None else source.channels
        if rows is None and into == self.c_in:
            return vector.view(self.edges, -1)
        by_node = vector.view(self.edges, self.in_blocks, self.c_in)
        if rows is not None:
            by_node = torch.stack([by_node[row] for row in rows])
        return by_node[:, :, :into].flatten(1)

    def conv_list(self) -> list[CellConv2d]:
        """Its convolutions; two with stride 2."""
        return [conv for conv in self.convs if isinstance(conv, CellConv2d)]


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


# ---------------------------------------------------------------- what is done around the convolutions
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
        d_carried = dy if carried == "same" else _pooled_twice_backward(dy, x)
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


def fuse(model: nn.Module) -> None:
    """Merge the elementwise parts of every unit into few kernels each; the first steps compile, for a minute or so."""
    # One function serves units of many shapes, each compiled for itself.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 256)
    merged: list[Any] = [torch.compile(kernel, dynamic=False) for kernel in Kernels()]
    kernels = Kernels(*merged)
    for module in model.modules():
        if isinstance(module, BinaryUnit):
            module.kernels = kernels


def _split(tensor: Tensor | None, size: int, edges: int) -> Sequence[Tensor | None]:
    """Parts of ``size`` edges each of a tensor [edges, ...]."""
    if tensor is None or size == edges:
        return [tensor] * (edges // size)
    return torch.split(tensor, size)


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


def _pooled_twice_backward(grad: Tensor, like: Tensor) -> Tensor:
    pooled = grad[:, 0::2] + grad[:, 1::2]
    unpooled: Tensor = torch.ops.aten.avg_pool2d_backward(pooled, like, [2, 2], [2, 2], [0, 0], False, True, None)
    return unpooled
