"""The cell template, written once: with every candidate on its edges it is a supernet cell, with one a derived cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from bars.binarize.quantizers import binary_sign
from bars.models.primitives import BinaryUnit, Template, pooled_twice, quantise_units
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

    @property
    def active(self) -> bool:
        """Whether anything is dropped now."""
        return self.training and self._now > 0.0

    def forward(self, x: Tensor) -> Tensor:
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

    def forward(
        self, total: Tensor, node: NodeState, active: Mapping[str, Tensor | None], weights: Mapping[str, Sequence[Tensor]]
    ) -> Tensor:
        """Add the outputs of the ``active`` candidates, each times its probability if it has one, to the head's total."""
        for name, scale in active.items():
            if name == NONE:
                continue
            if name in self.units:
                total = self._convolve(total, self.units[name], node, scale, weights[name])
            else:
                carried = node.x if self.stride == 1 else node.pooled
                total = total.add_(carried) if scale is None else total.addcmul_(carried, scale)
        return total

    def _convolve(
        self, total: Tensor, unit: nn.Module, node: NodeState, scale: Tensor | None, weights: Sequence[Tensor]
    ) -> Tensor:
        shared = {"scale": scale, "signs": node.signs, "weights": weights}
        if not self.drop_path.active:
            output: Tensor = unit(node.normed, node.width, total=total, **shared)
            return output
        return total.add_(self.drop_path(unit(node.normed, node.width, total=torch.zeros_like(total), **shared)))


class NodeState:
    """A node's features, and what its outgoing edges share: normalised features, signs, pooled features."""

    def __init__(self, x: Tensor, width: Width | None, normalize: nn.Module | None, share_signs: bool) -> None:
        self.x, self.width = x, width
        self._normalize, self._share_signs = normalize, share_signs

    @cached_property
    def normed(self) -> Tensor:
        """Batch-normalised features without affine part."""
        assert self._normalize is not None
        normed: Tensor = self._normalize(self.x)
        return normed

    @cached_property
    def signs(self) -> Tensor | None:
        """Signs with ``norm: node``; None where every edge has its own. The units take care of their gradient."""
        return binary_sign(self.normed.detach()) if self._share_signs else None

    @cached_property
    def pooled(self) -> Tensor:
        """What a strided shortcut carries."""
        return pooled_twice(self.x)


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
        self.norm = template.norm
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
        inner = target if self.stride == 1 or target is None else target.halved()
        normed = self.input_norm(x)
        states = [self._state(0, self.preprocess(normed, source, inner), inner)]
        active = self._active(choice or OpChoice(None), x.dtype)
        weights = self._quantised(active, inner, target, x.dtype)
        n, _, height, width = x.shape
        channels = self.c if target is None else target.channels
        # Written in channels-last, which BN and convolutions on it then keep.
        shape = (n, channels, height // self.stride, width // self.stride)
        like = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        for node in range(1, self.nodes + 1):
            total = torch.zeros_like(like)
            for i, (tail, head) in enumerate(self.edge_list):
                if head == node:
                    total = self.mixed[i](total, states[tail], active[i], weights[i])
            if target is not None:
                total = apply_mask(total, target, 1)
            states.append(self._state(node, total, target))
        out = torch.cat([state.x for state in states[1:]], dim=1)
        carried = self._carried(x, normed, source, target, channels)
        if carried is not None:
            out += carried
        return out if target is None else apply_mask(out, target, self.nodes)

    def _active(self, choice: OpChoice, dtype: torch.dtype) -> list[dict[str, Tensor | None]]:
        """For each edge the candidates that are computed, each with its probability."""
        active: list[dict[str, Tensor | None]] = []
        probs = None if choice.weight is None else choice.weight.to(dtype).flatten().unbind()
        for i, edge in enumerate(self.mixed):
            names = edge.candidates
            chosen = range(len(names)) if choice.index is None else (choice.index[i],)
            active.append({names[j]: None if probs is None else probs[i * len(names) + j] for j in chosen})
        return active

    def _quantised(
        self, active: list[dict[str, Tensor | None]], inner: Width | None, target: Width | None, dtype: torch.dtype
    ) -> list[dict[str, tuple[Tensor, ...]]]:
        """The quantised weights of all active candidates; those of one shape are quantised together."""
        alike: dict[tuple[str, int], list[int]] = {}
        for i, (edge, names) in enumerate(zip(self.mixed, active, strict=True)):
            for name in names:
                if name in edge.units:
                    alike.setdefault((name, edge.stride), []).append(i)
        weights: list[dict[str, tuple[Tensor, ...]]] = [{} for _ in active]
        for (name, stride), edges in alike.items():
            source = target if stride == 1 else inner
            units = [self.mixed[i].units[name] for i in edges]
            for i, quantised in zip(edges, quantise_units(units, source, target, dtype), strict=True):
                weights[i][name] = quantised
        return weights

    def _state(self, node: int, x: Tensor, width: Width | None) -> NodeState:
        normalize = self.node_norms[str(node)] if str(node) in self.node_norms else None
        return NodeState(x, width, normalize, self.norm == "node")

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

