"""The binary unit that edges, preprocess and cell shortcut are built from.

A unit is BN -> sign -> binary convolution [+ shortcut] -> ReLU (authors' order). With stride 2 it is two convolutions
on spatially staggered inputs whose outputs are concatenated (BARS Sec. 4.1.2); they are interleaved channel by channel,
a permutation of plain concatenation under which keeping the first channels keeps both halves. With ``strided_conv:
plain`` it is one convolution, of as many operations.

Edges that leave one node read the same normalised features, so one module holds the units of all of them: their weights
are quantised together, and where feature maps are tiny they are computed together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bars.models.cell_conv import CellConv2d
from bars.models.native import Native
from bars.models.template import Template
from bars.models.unit_gradient import UnitFunction
from bars.models.unit_passes import FLOAT, Carried, Kernels
from bars.models.width import Width

# Multiply-adds of an edge below which several edges are one grouped convolution: the overhead of a call is larger than
# what the grouped kernel loses. Native passes gain longer, as each of them is one call too. Measured on CPUs
# (docs/PERFORMANCE.md).
TOGETHER_BELOW, TOGETHER_BELOW_NATIVE = 10_000_000, 100_000_000


class BinaryUnit(nn.Module):
    """[BN affine ->] sign -> binary convolution [+ shortcut] -> ReLU of normalised features, for each of some edges.

    c_in and c_out are channels per node. With ``norm: node`` there is no affine part. Where the template is in floats,
    there is no sign, and the convolution is an ordinary one.
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
        self.binary = template.binary
        self.kernels = Kernels() if template.binary else FLOAT
        self.edges, self.in_blocks, self.c_in = edges, in_blocks, c_in
        self.clip = template.binarize.activation_clip if template.binary else math.inf
        self.mask_activations = template.mask_activations
        affine = template.norm == "edge"
        self.gain = nn.Parameter(torch.ones(edges * in_blocks * c_in)) if affine else None
        self.bias = nn.Parameter(torch.zeros(edges * in_blocks * c_in)) if affine else None
        count = stride if template.staggered else 1
        blocks = {"in_blocks": in_blocks, "out_blocks": out_blocks, "edges": edges}
        self.convs = nn.ModuleList(
            CellConv2d(c_in, c_out // count, kernel, stride, template, **blocks) for _ in range(count)
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
        passing: Sequence[bool] | None = None,
    ) -> list[Tensor]:
        """Add the outputs of the edges ``rows`` (None: all) to ``totals`` in place; without totals return the outputs.

        Each is multiplied by its entry of ``scale`` [rows], if that is given (a relaxed op choice). ``signs`` are those
        of the input where edges share them, with ``norm: node``. ``passing`` says of a choice of 1 or 0 for all edges
        which it is: those of 0 pass no gradient on.
        """
        half = target if len(self.convs) == 1 or target is None else target.halved()
        weights = [conv.quantised(rows, source, half, normed.dtype) for conv in self.conv_list()]
        gain, bias = (None if v is None else self.active(v, rows, source) for v in (self.gain, self.bias))
        mask = source.per_block(self.in_blocks) if source is not None and self.mask_activations else None
        together = self._together(normed, weights[0])
        passing = passing if self.kernels.partly else None
        inputs = (normed, signs, gain, bias, mask, scale, *weights, *totals)
        return list(UnitFunction.apply(self, together, passing, *inputs))

    def _together(self, normed: Tensor, weight: Tensor) -> int:
        """How many edges one grouped convolution computes."""
        if self.gain is None or torch.compiler.is_exporting():  # an export is for batches of any size
            return 1
        pixels = normed.shape[0] * normed.shape[2] * normed.shape[3]
        below = TOGETHER_BELOW if self.conv_list()[0].native is None else TOGETHER_BELOW_NATIVE
        small = pixels * weight[0].numel() < self.stride**2 * below
        return weight.shape[0] if small else 1

    def convolve(self, x: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """Signs [N, G * in, H, W] -> [N, G * out, H/stride, W/stride]."""
        convs = self.conv_list()
        if len(convs) == 1:
            y: Tensor = convs[0](x, weights[0])
            return y
        return self.kernels.interleave(convs[0](x, weights[0]), convs[1](x[:, :, 1:, 1:], weights[1]))

    def convolve_backward(
        self, dy: Tensor, x: Tensor, weights: Sequence[Tensor], needs_weights: bool
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Gradients of ``convolve``'s signs and, if needed, weights."""
        convs = self.conv_list()
        if len(convs) == 1:
            dx, dw = convs[0].gradients(dy, x, weights[0], needs_weights)
            return dx, [dw]
        first, second = self.kernels.halves(dy)
        dx, dw = convs[0].gradients(first, x, weights[0], needs_weights)
        dx_staggered, dw_staggered = convs[1].gradients(second, x[:, :, 1:, 1:], weights[1], needs_weights)
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
        """Its convolutions; two with stride 2, if they are staggered."""
        return [conv for conv in self.convs if isinstance(conv, CellConv2d)]


def fuse(model: nn.Module) -> None:
    """Merge the elementwise parts of every unit into few kernels each; the first steps compile, for a minute or so."""
    # One function serves units of many shapes, each compiled for itself.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 256)
    merged: list[Any] = [torch.compile(kernel, dynamic=False) for kernel in Kernels() if callable(kernel)]
    kernels = Kernels(*merged)._replace(partly=False)  # or each choice of edges would be compiled for itself
    for module in model.modules():
        if isinstance(module, BinaryUnit) and module.binary:
            module.kernels = kernels


def use_native(model: nn.Module, native: Native) -> None:
    """Have every unit, batch norm and cell of ``model`` use native passes."""
    for module in model.modules():
        if isinstance(module, BinaryUnit):
            module.kernels = native.kernels() if module.binary else module.kernels
        elif hasattr(type(module), "native"):
            setattr(module, "native", native)  # noqa: B010 - a class that says so, not a submodule
            if isinstance(module, CellConv2d):  # quantised from there, and not convolved with: in the order it is read
                module.weight.data = module.weight.data.contiguous()
