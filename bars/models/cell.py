"""The cell template, written once: with every candidate on its edges it is a supernet cell, with one a derived cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from bars.binarize.signs import binary_sign
from bars.models.native import Native
from bars.models.sums import add_scaled, joined, masked, pooled
from bars.models.template import Template
from bars.models.unit import BinaryUnit
from bars.models.width import Width, fit_channels
from bars.space import SHORTCUT, Edge, kernel_size


@dataclass(frozen=True)
class OpChoice:
    """Draw of the primitives of one cell: probabilities [edges, candidates], and the drawn index where it is hard.

    ``passing`` is the drawn index where all candidates are computed, and the others are multiplied by zero.
    """

    weight: Tensor | None
    index: Sequence[int] | None = None
    passing: Sequence[int] | None = None


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
        if not self.active:
            return x
        keep = torch.rand(x.shape[0], 1, 1, 1, device=x.device) >= self._now
        return x * keep.to(x.dtype) / (1.0 - self._now)


class Cell(nn.Module):
    """One preprocess, dense edges between ``nodes`` nodes, their concatenation, a cell shortcut (BARS Sec. 4.1.2).

    Input [N, nodes * c_in, H, W], output [N, nodes * c, H/stride, W/stride]. ``candidates`` names the primitives of
    each edge: all of the space in a supernet, the chosen one in a derived network.
    """

    native: Native | None = None

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
        self.edges, self.candidates = tuple(edges), tuple(map(tuple, candidates))
        self.shares_signs = template.norm == "node" and template.binary
        self.input_norm = template.normalize(nodes * c_in)
        self.preprocess = BinaryUnit(c_in, inner, 1, template, in_blocks=nodes)
        self.node_norms, self.units = nn.ModuleDict(), nn.ModuleDict()
        for node in range(nodes):
            c_node, node_stride = (inner, stride) if node == 0 else (c, 1)
            units = nn.ModuleDict()
            for name in dict.fromkeys(name for names in self.candidates for name in names):
                kernel, count = kernel_size(name), len(self.edges_of(node, name))
                if kernel is not None and count:
                    units[name] = BinaryUnit(
                        c_node, c, kernel, template, stride=node_stride, shortcut=template.op_shortcut, edges=count
                    )
            if units:
                self.node_norms[str(node)] = template.normalize(c_node)
                self.units[str(node)] = units
        self.drop_path = DropPath()
        self.preprocess_shortcut = template.preprocess_shortcut
        self.shortcut: BinaryUnit | None = None
        self.shortcut_kind = "none" if not template.cell_shortcut else "identity"
        if template.cell_shortcut and stride == 2:
            self.shortcut_kind = template.reduction_shortcut
        if self.shortcut_kind == "binary_conv":
            self.shortcut = BinaryUnit(c_in, c, 3, template, stride=2, in_blocks=nodes, out_blocks=nodes)

    def edges_of(self, node: int, name: str) -> list[int]:
        """The edges that leave ``node`` and have the candidate ``name``, in the order in which its unit has them."""
        leaving = zip(self.edges, self.candidates, strict=True)
        return [i for i, ((tail, _), names) in enumerate(leaving) if tail == node and name in names]

    def units_of(self, node: int) -> dict[str, BinaryUnit]:
        """The units of the edges that leave ``node``, by primitive."""
        if str(node) not in self.units:
            return {}
        return {name: cast(BinaryUnit, unit) for name, unit in cast(nn.ModuleDict, self.units[str(node)]).items()}

    def forward(
        self, x: Tensor, source: Width | None = None, target: Width | None = None, choice: OpChoice | None = None
    ) -> Tensor:
        """``source`` and ``target`` are the widths of input and output; a derived cell needs none of the arguments."""
        inner = target if self.stride == 1 or target is None else target.halved()
        normed = self.input_norm(x)
        features = self._preprocessed(x, normed, source, inner)
        channels = self.c if target is None else target.channels
        totals = _zeros(self.nodes, x, channels, self.stride)
        choice = choice or OpChoice(None)
        active = self._active(choice, x.dtype)
        for node in range(self.nodes):
            width = inner if node == 0 else target
            if node > 0:
                # Nothing is added to this node any more: all its edges come from nodes before it.
                features = totals[node - 1]
                if width is not None:
                    features = totals[node - 1] = masked(features, width, 1, self.native)
            self._send_shortcuts(node, features, active, totals)
            self._send_units(node, features, (width, target), active, choice.passing, totals)
        if target is not None:
            totals[-1] = masked(totals[-1], target, 1, self.native)
        out = joined(totals, self._carried(x, normed, source, target, channels), self.native)
        return out if target is None else masked(out, target, self.nodes, self.native)

    def _preprocessed(self, x: Tensor, normed: Tensor, source: Width | None, inner: Width | None) -> Tensor:
        """The first node's features [N, inner, H, W], with the mean of the nodes of ``x`` where the template asks."""
        features: Tensor = self.preprocess(normed, source, inner)
        if not self.preprocess_shortcut:
            return features
        carried = fit_channels(torch.stack(x.chunk(self.nodes, 1)).mean(0), 1, features.shape[1])
        return features + (carried if inner is None else masked(carried, inner, 1, self.native))

    def _active(self, choice: OpChoice, dtype: torch.dtype) -> list[dict[str, Tensor | None]]:
        """For each edge the candidates that are computed, each with its probability."""
        active: list[dict[str, Tensor | None]] = []
        probs = None if choice.weight is None else choice.weight.to(dtype).flatten().unbind()
        for i, names in enumerate(self.candidates):
            chosen = range(len(names)) if choice.index is None else (choice.index[i],)
            active.append({names[j]: None if probs is None else probs[i * len(names) + j] for j in chosen})
        return active

    def _send_shortcuts(
        self, node: int, features: Tensor, active: Sequence[Mapping[str, Tensor | None]], totals: list[Tensor]
    ) -> None:
        """Add the shortcuts that leave ``node`` to the totals of the nodes behind it."""
        leaving = zip(self.edges, active, strict=True)
        sent = [(head - 1, names[SHORTCUT]) for (tail, head), names in leaving if tail == node and SHORTCUT in names]
        if not sent:
            return
        carried = pooled(features, self.native) if node == 0 and self.stride == 2 else features
        heads, scales = zip(*sent, strict=True)
        sums = add_scaled([totals[head] for head in heads], carried, scales, self.native)
        for head, total in zip(heads, sums, strict=True):
            totals[head] = total

    def _send_units(
        self,
        node: int,
        features: Tensor,
        widths: tuple[Width | None, Width | None],
        active: Sequence[Mapping[str, Tensor | None]],
        passing: Sequence[int] | None,
        totals: list[Tensor],
    ) -> None:
        """Add the binary convolutions that leave ``node`` to the totals; ``widths`` are those of input and output."""
        normed: Tensor | None = None
        signs: Tensor | None = None
        for name, unit in self.units_of(node).items():
            edges = self.edges_of(node, name)
            rows = [row for row, edge in enumerate(edges) if name in active[edge]]
            if not rows:
                continue
            if normed is None:
                normed = self.node_norms[str(node)](features)
                signs = binary_sign(normed.detach()) if self.shares_signs else None
            heads = [self.edges[edges[row]][1] - 1 for row in rows]
            drawn = None if passing is None else [self.candidates[e][passing[e]] for e in (edges[row] for row in rows)]
            scales = [active[edges[row]][name] for row in rows]
            given = [scale for scale in scales if scale is not None]
            into = [totals[head] for head in heads]
            if self.drop_path.active:
                into = [torch.zeros_like(total) for total in into]
            outputs = unit.add_to(
                into,
                normed,
                *widths,
                rows=None if len(rows) == len(edges) else rows,
                scale=torch.stack(given) if given else None,
                signs=signs,
                passing=None if drawn is None else [chosen == name for chosen in drawn],
            )
            for head, output in zip(heads, outputs, strict=True):
                totals[head] = totals[head].add_(self.drop_path(output)) if self.drop_path.active else output

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
        return fit_channels(pooled(x, self.native), self.nodes, channels)


def _zeros(count: int, like: Tensor, channels: int, stride: int) -> list[Tensor]:
    """Where edges are summed, for ``count`` nodes: [N, channels, H/stride, W/stride], channels-last, which BN keeps."""
    n, _, height, width = like.shape
    shape = (n, channels, height // stride, width // stride)
    layout = torch.channels_last
    empty = [torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=layout) for _ in range(count)]
    return [total.zero_() for total in empty]
