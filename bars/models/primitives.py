"""The candidate operations of an edge, and the one binary unit they and the cell's own convolutions are built from.

A unit is BN -> sign -> binary convolution [+ shortcut] -> ReLU (authors' order). With stride 2 it is two convolutions on
spatially staggered inputs whose outputs are concatenated (BARS Sec. 4.1.2); they are interleaved channel by channel, a
permutation of plain concatenation under which keeping the first channels keeps both halves.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bars.binarize.layers import BinaryConv2d
from bars.binarize.quantizers import ActivationQuantizer, ScaledSign, mean_abs, sign_clip
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

    Weight [out_blocks * c_out, in_blocks * c_in, k, k]. A slice of the widths uses that slice of the weight and its own
    scale beta; masks of a relaxed width and the edge's probability are folded into the (small) weight, so the binary
    activation is left as it is: masking after the sign costs nothing.
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

    def forward(
        self, x: Tensor, source: Width | None = None, target: Width | None = None, scale: Tensor | None = None
    ) -> Tensor:
        """Convolve signs [N, in_blocks * source.channels, H, W]; ``scale`` multiplies the result."""
        weight = self.sliced(source, target)
        if source is None or target is None or (source.mask is None and target.mask is None):
            quantised = self.weight_quantizer(weight)
        else:
            quantised = self._masked(weight, source, target)
        if scale is not None:
            quantised = quantised * scale
        return F.conv2d(x, quantised, None, self.stride, self.padding)

    def sliced(self, source: Width | None, target: Width | None) -> Tensor:
        """The weight of the active channels."""
        out_blocks, c_out, in_blocks, c_in = self.blocks
        active_in = c_in if source is None else source.channels
        active_out = c_out if target is None else target.channels
        if active_in == c_in and active_out == c_out:
            return self.weight
        k = self.kernel_size
        by_node = self.weight.view(out_blocks, c_out, in_blocks, c_in, k, k)[:, :active_out, :, :active_in]
        return by_node.reshape(out_blocks * active_out, in_blocks * active_in, k, k)

    def _masked(self, weight: Tensor, source: Width, target: Width) -> Tensor:
        if not self.mask_activations:
            return torch.as_tensor(self.weight_quantizer(weight))
        binarize: ScaledSign = self.weight_quantizer  # type: ignore[assignment]
        rows, columns = target.per_block(self.blocks[0]), source.per_block(self.blocks[2])
        share = torch.ones((), device=weight.device)
        if rows is not None:
            share = share * rows.view(-1, 1, 1, 1)
        signs = sign_clip(weight, binarize.clip)
        if columns is not None:
            columns = columns.view(1, -1, 1, 1)
            share, signs = share * columns, signs * columns
        return signs * mean_abs(weight, binarize.scaling, share.detach())


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
    share its statistics. With ``norm: node`` there is no affine part and the sign is shared too.
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
        self.clip = template.binarize.activation_clip
        affine = template.norm == "edge"
        self.gain = nn.Parameter(torch.ones(in_blocks * c_in)) if affine else None
        self.bias = nn.Parameter(torch.zeros(in_blocks * c_in)) if affine else None
        half = c_out // stride
        self.convs = nn.ModuleList(
            CellConv2d(c_in, half, kernel, stride, in_blocks, out_blocks, template) for _ in range(stride)
        )

    def affine(self, normed: Tensor, source: Width | None) -> Tensor:
        """gain * x + bias over the active channels; the input itself with ``norm: node``."""
        if self.gain is None or self.bias is None:
            return normed
        gain, bias = self.gain, self.bias
        if source is not None and source.channels != self.c_in:
            gain = gain.view(self.in_blocks, self.c_in)[:, : source.channels].reshape(-1)
            bias = bias.view(self.in_blocks, self.c_in)[:, : source.channels].reshape(-1)
        dtype = normed.dtype
        return torch.addcmul(bias.to(dtype).view(1, -1, 1, 1), normed, gain.to(dtype).view(1, -1, 1, 1))

    def forward(
        self,
        normed: Tensor,
        source: Width | None = None,
        target: Width | None = None,
        scale: Tensor | None = None,
        signs: Tensor | None = None,
    ) -> Tensor:
        """Normalised [N, in, H, W] -> [N, out, H/stride, W/stride], times ``scale`` >= 0 (a relaxed op choice)."""
        x = self.affine(normed, source)
        if signs is None:
            signs = sign_clip(x, self.clip)
        if self.stride == 1:
            y = self.convs[0](signs, source, target, scale)
        else:
            half = None if target is None else target.halved()
            staggered = signs[:, :, 1:, 1:]
            y = interleave(
                self.convs[0](signs, source, half, scale), self.convs[1](staggered, source, half, scale)
            )
        if self.shortcut:
            carried = x if self.stride == 1 else pooled_twice(x)
            y = y + carried if scale is None else torch.addcmul(y, carried, scale.to(y.dtype))
        return F.relu(y)

