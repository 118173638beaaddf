"""The plain formulation that bars is measured against: the same mathematics, written as one would first write it.

Every edge has its own batch norm, sign and convolution; every candidate is computed, multiplied by its probability and
summed; all of it composed of standard autograd operations. ``kind`` says what a convolution is made of:

    composed   signs with a straight-through gradient by detaching, scales as ordinary arithmetic
    float      no binarisation: what the same network costs with ordinary float convolutions
"""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bars.binarize.layers import BinaryConv2d
from bars.binarize.weights import ScaledSign, Scaling, mean_abs
from bars.models.blocks import BarsOp, even
from bars.models.cell import Cell, OpChoice
from bars.models.network import Network
from bars.models.staggered import interleave, pooled_twice
from bars.models.supernet import Supernet
from bars.models.unit import BinaryUnit
from bars.models.width import Width, apply_mask, fit_channels
from bars.space import NONE, SHORTCUT

Kind = Literal["composed", "float"]


def composed_sign(x: Tensor, clip: float) -> Tensor:
    """Sign forward, clamp backward."""
    signs, surrogate = torch.where(x >= 0, 1.0, -1.0).to(x.dtype), x.clamp(-clip, clip)
    return signs + (surrogate - surrogate.detach())


class ReferenceUnit(nn.Module):
    """One edge of a BinaryUnit: its own affine batch norm, sign, convolution, shortcut, ReLU."""

    def __init__(self, unit: BinaryUnit, row: int, kind: Kind, track: bool) -> None:
        super().__init__()
        self.kind, self.stride, self.carried, self.clip = kind, unit.stride, unit.carried, unit.clip
        self.in_blocks, self.mask_activations = unit.in_blocks, unit.mask_activations
        convs = unit.conv_list()
        self.out_blocks, self.kernel = convs[0].blocks[1], convs[0].kernel_size
        quantizer = convs[0].weight_quantizer
        assert isinstance(quantizer, ScaledSign)
        self.scaling, self.weight_clip = quantizer.scaling, quantizer.clip
        self.norm = nn.BatchNorm2d(unit.in_blocks * unit.c_in, affine=unit.gain is not None, track_running_stats=track)
        self.weights = nn.ParameterList(conv.active([row], None, None)[0].detach().clone() for conv in convs)
        if unit.gain is not None and unit.bias is not None:
            self.norm.weight.data.copy_(unit.active(unit.gain, [row], None)[0])
            self.norm.bias.data.copy_(unit.active(unit.bias, [row], None)[0])

    def forward(self, x: Tensor, source: Width | None = None, target: Width | None = None) -> Tensor:
        """As BinaryUnit's, but on features that are not normalised yet."""
        x = self.norm(x)
        signs = x if self.kind == "float" else composed_sign(x, self.clip)
        if source is not None and self.mask_activations:
            signs = apply_mask(signs, source, self.in_blocks)
        if len(self.weights) == 1:
            y = self._conv(signs, self.weights[0], source, target)
        else:
            half = None if target is None else target.halved()
            y = interleave(
                self._conv(signs, self.weights[0], source, half),
                self._conv(signs[:, :, 1:, 1:], self.weights[1], source, half),
            )
        if self.carried != "nothing":
            y = y + (x if self.carried == "same" else pooled_twice(x))
        return F.relu(y)

    def _conv(self, x: Tensor, weight: Tensor, source: Width | None, target: Width | None) -> Tensor:
        if self.kind == "composed":
            share = self._share(source, target) if self.mask_activations else None
            weight = composed_sign(weight, self.weight_clip) * mean_abs(weight, self.scaling, share)
        return F.conv2d(x, weight, None, self.stride, self.kernel // 2)

    def _share(self, source: Width | None, target: Width | None) -> Tensor | None:
        columns = None if source is None else source.per_block(self.in_blocks)
        rows = None if target is None else target.per_block(self.out_blocks)
        share: Tensor | None = None
        if columns is not None:
            share = columns.detach().view(1, -1, 1, 1)
        if rows is not None:
            share = rows.detach().view(-1, 1, 1, 1) * (1.0 if share is None else share)
        return share


class ReferenceCell(nn.Module):
    """A Cell with the same signature; relaxed choices and derived cells, no slices of a hard draw."""

    def __init__(self, cell: Cell, kind: Kind) -> None:
        super().__init__()
        self.nodes, self.stride, self.c = cell.nodes, cell.stride, cell.c
        self.edges, self.candidates = cell.edges, cell.candidates
        self.shortcut_kind = cell.shortcut_kind
        track = cell.input_norm.track_running_stats
        self.preprocess = ReferenceUnit(cell.preprocess, 0, kind, track)
        self.units = nn.ModuleDict()
        for node in range(cell.nodes):
            for name, unit in cell.units_of(node).items():
                for row, edge in enumerate(cell.edges_of(node, name)):
                    self.units[f"{edge}-{name}"] = ReferenceUnit(unit, row, kind, track)
        self.shortcut = None if cell.shortcut is None else ReferenceUnit(cell.shortcut, 0, kind, track)

    def forward(
        self, x: Tensor, source: Width | None = None, target: Width | None = None, choice: OpChoice | None = None
    ) -> Tensor:
        """As Cell's."""
        inner = target if self.stride == 1 or target is None else target.halved()
        nodes = [self.preprocess(x, source, inner)]
        for node in range(1, self.nodes + 1):
            total: Tensor | None = None
            for i, (tail, head) in enumerate(self.edges):
                if head != node:
                    continue
                for j, name in enumerate(self.candidates[i]):
                    output = self._candidate(name, i, tail, nodes[tail], inner if tail == 0 else target, target)
                    if choice is not None and choice.weight is not None:
                        output = output * choice.weight[i, j].to(output.dtype)
                    total = output if total is None else total + output
            assert total is not None
            nodes.append(total if target is None else apply_mask(total, target, 1))
        out = torch.cat(nodes[1:], dim=1)
        if self.shortcut is not None:
            out = out + self.shortcut(x, source, target)
        elif self.shortcut_kind != "none":
            carried = x if self.stride == 1 else pooled_twice(x)
            out = out + fit_channels(carried, self.nodes, self.c)
        return out if target is None else apply_mask(out, target, self.nodes)

    def _candidate(
        self, name: str, edge: int, tail: int, x: Tensor, source: Width | None, target: Width | None
    ) -> Tensor:
        strided = tail == 0 and self.stride == 2
        if name == SHORTCUT:
            return pooled_twice(x) if strided else x
        if name == NONE:
            return torch.zeros_like(pooled_twice(x) if strided else x)
        output: Tensor = self.units[f"{edge}-{name}"](x, source, target)
        return output


class ReferenceOp(nn.Module):
    """A BarsOp of a baseline."""

    def __init__(self, op: BarsOp, kind: Kind) -> None:
        super().__init__()
        self.stride = op.stride
        self.unit = ReferenceUnit(op.unit, 0, kind, op.norm.track_running_stats)

    def forward(self, x: Tensor) -> Tensor:
        """As BarsOp's."""
        output: Tensor = self.unit(x if self.stride == 1 else even(x))
        return output


class ReferenceConv(nn.Module):
    """A BinaryConv2d of a baseline in composed operations or in float."""

    def __init__(self, conv: BinaryConv2d, kind: Kind) -> None:
        super().__init__()
        self.kind, self.weight, self.bias = kind, conv.weight, conv.bias
        self.arguments = (conv.stride, conv.padding, conv.dilation, conv.groups)
        self.clip = float(getattr(conv.activation_quantizer, "clip", 1.0))
        self.binary_input = not isinstance(conv.activation_quantizer, nn.Identity)
        quantizer = conv.weight_quantizer
        self.scaling: Scaling = getattr(quantizer, "scaling", "channel")
        self.weight_clip = float(getattr(quantizer, "clip", 1.0))

    def forward(self, x: Tensor) -> Tensor:
        """Convolution of signs with scaled signs, or of the values themselves."""
        weight: Tensor = self.weight
        if self.kind == "composed":
            x = composed_sign(x, self.clip) if self.binary_input else x
            weight = composed_sign(weight, self.weight_clip) * mean_abs(weight, self.scaling)
        return F.conv2d(x, weight, self.bias, *self.arguments)


def reference_of(model: nn.Module, kind: Kind = "composed") -> nn.Module:
    """A copy of a supernet, derived network or baseline with the same weights in the plain formulation."""
    model = copy.deepcopy(model)
    if isinstance(model, Supernet | Network):
        lists = [model.reductions, *model.stages] if isinstance(model, Supernet) else [model.cells]
        for cells in lists:
            for i, cell in enumerate(cells):
                cells[i] = ReferenceCell(cell, kind)
        return model
    for parent in [m for m in model.modules() if not isinstance(m, BarsOp | BinaryUnit)]:
        for name, child in list(parent.named_children()):
            if isinstance(child, BarsOp):
                setattr(parent, name, ReferenceOp(child, kind))
            elif isinstance(child, BinaryConv2d):
                setattr(parent, name, ReferenceConv(child, kind))
    return model
