"""The cell template, written once: with every candidate on its edges it is a supernet cell, with one a derived cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bars.binarize.quantizers import sign_clip
from bars.models.primitives import BinaryUnit, Template, pooled_twice
from bars.models.width import Width, apply_mask, fit_channels
from bars.space import NONE, SHORTCUT, Edge, kernel_size


@dataclass(frozen=True)
class OpChoice:
    """Draw of the primitives of one cell: probabilities [edges, candidates], and the drawn index where it is one-hot."""

    weight: Tensor | None
    index: Sequence[int] | None = None


class DropPath(nn.Module):
    """Drops a sample's whole edge output; the probability rises linearly to ``rate`` over training."""

    def __init__(self) -> None:
        super().__init__()
        self.rate, self._now = 0.0, 0.0

    def set_progress(self, progress: float) -> None:
        """``progress`` in [0, 1] is the share of training done."""
        self._now = self.rate * progress

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self._now == 0.0:
            return x
        keep = torch.rand(x.shape[0], 1, 1, 1, device=x.device) >= self._now
        return x * keep.to(x.dtype) / (1.0 - self._now)


class MixedEdge(nn.Module):
    """An edge with its candidate primitives; ``none`` computes nothing, ``shortcut`` has no weights."""

    def __init__(self, candidates: Sequence[str], c_in: int, c_out: int, stride: int, template: Template) -> None:
        super().__init__()
        self.candidates, self.stride = tuple(candidates), stride
        self.units = nn.ModuleDict()
        for name in candidates:
            kernel = kernel_size(name)
            if kernel is not None:
                self.units[name] = BinaryUnit(
                    c_in, c_out, kernel, template, stride=stride, shortcut=template.op_shortcut
                )
        self.drop_path = DropPath()

    def forward(self, node: NodeState, target: Width | None, choice: OpChoice, edge: int) -> list[Tensor]:
        """Outputs of the active candidates, each already weighted; their sum is the edge's output."""
        active = range(len(self.candidates)) if choice.index is None else (choice.index[edge],)
        outputs = []
        for i in active:
            scale = None if choice.weight is None else choice.weight[edge, i]
            output = self._candidate(self.candidates[i], node, target, scale)
            if output is not None:
                outputs.append(output)
        return outputs

    def _candidate(self, name: str, node: NodeState, target: Width | None, scale: Tensor | None) -> Tensor | None:
        if name == NONE:
            return None
        if name == SHORTCUT:
            carried = node.x if self.stride == 1 else node.pooled
            return carried if scale is None else carried * scale.to(carried.dtype)
        output: Tensor = self.units[name](node.normed, node.width, target, scale, node.signs)
        return self.drop_path(output)


class NodeState:
    """A node's features, and what its outgoing edges share: normalised features, signs, pooled features."""

    def __init__(self, x: Tensor, width: Width | None, normalize: nn.Module | None, sign: Callable[[Tensor], Tensor] | None):
        self.x, self.width = x, width
        self._normalize, self._sign = normalize, sign
        self._normed: Tensor | None = None
        self._signs: Tensor | None = None
        self._pooled: Tensor | None = None

    @property
    def normed(self) -> Tensor:
        """Batch-normalised features without affine part, computed once."""
        if self._normed is None:
            assert self._normalize is not None
            self._normed = self._normalize(self.x)
        return self._normed

    @property
    def signs(self) -> Tensor | None:
        """Shared signs with ``norm: node``; None where every edge has its own."""
        if self._signs is None and self._sign is not None:
            self._signs = self._sign(self.normed)
        return self._signs

    @property
    def pooled(self) -> Tensor:
        """What a strided shortcut carries."""
        if self._pooled is None:
            self._pooled = pooled_twice(self.x)
        return self._pooled


class Cell(nn.Module):
    """One preprocess, dense edges between ``nodes`` nodes, their concatenation, and a shortcut across (BARS Sec. 4.1.2).

    Input [N, nodes * c_in, H, W], output [N, nodes * c, H/stride, W/stride]. ``candidates`` names the primitives of each
    edge: all of the space in a supernet, the chosen one in a derived network.
    """

    def __init__(
        self,
        edges: Sequence[Edge],
        candidates: Sequence[Sequence[str]],
        c_in: int,
        c: int,
        stride: int,
        template: Template,
    ) -> None:
        super().__init__()
        nodes, inner = template.nodes, c // stride
        self.nodes, self.stride, self.c = nodes, stride, c
        self.edge_list = tuple(edges)
        self.clip, self.norm = template.binarize.activation_clip, template.norm
        self.input_norm = template.normalize(nodes * c_in)
        self.preprocess = BinaryUnit(c_in, inner, 1, template, in_blocks=nodes)
        self.mixed = nn.ModuleList(
            MixedEdge(names, inner if source == 0 else c, c, stride if source == 0 else 1, template)
            for (source, _), names in zip(edges, candidates, strict=True)
        )
        convolving = {s for (s, _), names in zip(edges, candidates, strict=True) if any(map(kernel_size, names))}
        self.node_norms = nn.ModuleDict(
            {str(node): template.normalize(inner if node == 0 else c) for node in sorted(convolving)}
        )
        self.shortcut: BinaryUnit | None = None
        self.shortcut_kind = "none" if not template.cell_shortcut else "identity" if stride == 1 else template.reduction_shortcut
        if self.shortcut_kind == "binary_conv":
            self.shortcut = BinaryUnit(c_in, c, 3, template, stride=2, in_blocks=nodes, out_blocks=nodes)

    def forward(
        self, x: Tensor, source: Width | None = None, target: Width | None = None, choice: OpChoice | None = None
    ) -> Tensor:
        """``source`` and ``target`` are the widths of input and output; a derived cell needs none of the arguments."""
        if choice is None:
            choice = OpChoice(None)
        inner = target if self.stride == 1 or target is None else target.halved()
        normed = self.input_norm(x)
        states = [self._state(0, self.preprocess(normed, source, inner), inner)]
        channels = self.c if target is None else target.channels
        for node in range(1, self.nodes + 1):
            incoming: list[Tensor] = []
            for i, (tail, head) in enumerate(self.edge_list):
                if head == node:
                    incoming += self.mixed[i](states[tail], target, choice, i)
            total = _sum(incoming, states[0].x, channels, self.stride)
            if target is not None:
                total = apply_mask(total, target, 1)
            states.append(self._state(node, total, target))
        out = torch.cat([state.x for state in states[1:]], dim=1)
        carried = self._carried(x, normed, source, target, channels)
        if carried is not None:
            out = out + carried
        return out if target is None else apply_mask(out, target, self.nodes)

    def _state(self, node: int, x: Tensor, width: Width | None) -> NodeState:
        normalize = self.node_norms[str(node)] if str(node) in self.node_norms else None
        sign = (lambda normed: sign_clip(normed, self.clip)) if self.norm == "node" else None
        return NodeState(x, width, normalize, sign)

    def _carried(
        self, x: Tensor, normed: Tensor, source: Width | None, target: Width | None, channels: int
    ) -> Tensor | None:
        """The shortcut across the cell, fitted to the output's width node by node."""
        if self.shortcut_kind == "none":
            return None
        if self.shortcut_kind == "identity":
            return fit_channels(x, self.nodes, channels)
        if self.shortcut is not None:
            carried: Tensor = self.shortcut(normed, source, target)
            return carried
        return fit_channels(pooled_twice(x), self.nodes, channels)


def _sum(terms: list[Tensor], like: Tensor, channels: int, stride: int) -> Tensor:
    """Sum of an edge list; a node without active edges is zero."""
    if not terms:
        return like.new_zeros(like.shape[0], channels, like.shape[2] // stride, like.shape[3] // stride)
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
