"""The binary convolutions of some edges, with their weights quantised together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bars.binarize.activations import ActivationQuantizer
from bars.binarize.convolution import conv2d, meets_middle_only, middle
from bars.binarize.layers import BinaryConv2d
from bars.binarize.weights import ScaledSign
from bars.models.native import Native
from bars.models.template import Template
from bars.models.weight_gradient import QuantiseFunction
from bars.models.width import Width


class Presigned(ActivationQuantizer):
    """The input is binary already: one sign serves several convolutions."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def _quantizer(template: Template) -> nn.Module:
    if not template.binary:
        return nn.Identity()
    binarize = template.binarize
    return ScaledSign(binarize.weight_scale, binarize.weight_clip, gradient=binarize.weight_gradient)


class CellConv2d(BinaryConv2d):
    """The binary convolutions of some edges, with channels counted per node so that each can run at part of its width.

    Weight [edges * out_blocks * c_out, in_blocks * c_in, k, k]. Called with signs and with what ``quantised`` returned.
    """

    native: Native | None = None

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
            weight_quantizer=_quantizer(template),
            activation_quantizer=Presigned(),
        )
        self.blocks = (edges, out_blocks, c_out, in_blocks, c_in)
        self.mask_activations = template.mask_activations

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:  # type: ignore[override]
        """Signs [N, G * in, H, W] and the quantised weight of G edges [G, out, in, k, k] -> [N, G * out, h, w]."""
        groups = weight.shape[0]
        return conv2d(x, weight.flatten(0, 1), None, self.stride, self.padding, 1, groups)

    def gradients(self, grad: Tensor, x: Tensor, weight: Tensor, needs_weight: bool) -> tuple[Tensor, Tensor | None]:
        """Gradients of the signs and, if needed, of the quantised weight, as ``forward`` takes them."""
        kernel, stride, padding = weight.flatten(0, 1), self.stride, self.padding
        if lone := meets_middle_only(x, self.kernel_size, padding):
            kernel, stride, padding = middle(kernel), 1, 0
        dx, dw, _ = torch.ops.aten.convolution_backward(
            *(grad, x, kernel, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], weight.shape[0]),
            [True, needs_weight, False],
        )
        if lone and needs_weight:
            dw = F.pad(dw, [self.padding] * 4)
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

    def quantised_weight(self) -> Tensor:
        """That of all edges at full width, [E * out, in, k, k]."""
        return self.quantised(None, None, None, self.weight.dtype).flatten(0, 1)

    def quantised(
        self, rows: Sequence[int] | None, source: Width | None, target: Width | None, dtype: torch.dtype
    ) -> Tensor:
        """Signs times scale beta, [E, out, in, k, k]; every edge keeps its own beta over its active channels. Or, in
        floats, the weight itself.

        The input's width mask is folded in here, where it costs nothing; its gradient is taken by ``UnitFunction``.
        """
        quantizer = self.weight_quantizer
        weight = self.active(rows, source, target)
        columns = outputs = None
        if self.mask_activations:
            columns, outputs = self._shares(source, target)
        if not isinstance(quantizer, ScaledSign):
            return (weight if columns is None else weight * columns.view(1, -1, 1, 1)).to(dtype)
        native = self.native
        native = native if native is not None and native.dtype == dtype and native.fits() else None
        result: Tensor = QuantiseFunction.apply(
            weight, columns, outputs, quantizer.clip, quantizer.scaling, quantizer.gradient == "unscaled", native
        )
        return result.to(dtype)

    def _shares(self, source: Width | None, target: Width | None) -> tuple[Tensor | None, Tensor | None]:
        """The masks of relaxed widths: of the input [I], and of the output [O]."""
        columns = None if source is None else source.per_block(self.blocks[3])
        rows = None if target is None else target.per_block(self.blocks[1])
        # Without detaching them the quantised weight would want a gradient in steps on the alphas, too.
        return None if columns is None else columns.detach(), None if rows is None else rows.detach()
